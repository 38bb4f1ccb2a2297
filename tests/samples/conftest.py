"""Sample systems to test against: real processes, ended by their own process ids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from flockiq.local.samples import systems
from flockiq.local.samples.gateway import ROOT as ERP_ROOT
from flockiq.local.samples.gateway import USER
from flockiq.local.samples.systems import Systems
from tests.samples.app import App

NOBODY = "http://127.0.0.1:9"  # the discard port: nobody takes webhooks there


class Sampled:
    """The running sample systems of a folder, and clients that know their secrets."""

    def __init__(self, data: Path, running: Systems) -> None:
        self.data, self.running = data, running
        given = running.environment
        self.crm_headers = {"Authorization": f"Bearer {given['FLOCKIQ_SECRET_SAMPLE_CRM_TOKEN']}"}
        self.crm_url = given["FLOCKIQ_SAMPLE_CRM_URL"] + "/api/data/v9.2"
        self.erp_url = given["FLOCKIQ_SAMPLE_ERP_URL"] + ERP_ROOT
        self.erp_auth = (USER, given["FLOCKIQ_SECRET_SAMPLE_ERP_PASSWORD"])


@pytest.fixture(scope="session")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sampled]:
    """Systems in which nothing happens by itself: no story, and nobody edits unless told to."""
    data = tmp_path_factory.mktemp("data")
    running = asyncio.run(systems.start(data, 7, NOBODY, story=False, rate=0.0))
    asyncio.run(systems.control(data, "crm", throttle_one_in=0))
    yield Sampled(data, running)
    asyncio.run(systems.stop(data))


@pytest.fixture
async def crm(sampled: Sampled) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the CRM that is let in."""
    async with httpx.AsyncClient(base_url=sampled.crm_url, headers=sampled.crm_headers, trust_env=False) as client:
        yield client


@pytest.fixture
async def erp(sampled: Sampled) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the ERP that is let in and wants JSON."""
    wishes = {"Accept": "application/json"}
    async with httpx.AsyncClient(
        base_url=sampled.erp_url, auth=sampled.erp_auth, headers=wishes, trust_env=False
    ) as client:
        yield client


@pytest.fixture
def app() -> Iterator[App]:
    """An app that listens."""
    with ExitStack() as stack:
        found = App()
        stack.enter_context(found.listening())
        yield found


async def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until it holds; AssertionError if it takes longer than ``within_s``."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        await asyncio.sleep(0.02)
