"""The app over real ports, with a small world in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from flockiq.serve.app import application
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from tests.serve.sample import fill, now_us


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """The seven ports, empty."""
    opened = connect(Settings(data=tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def sample(services: Services) -> Services:
    """The seven ports with the sample world in them."""
    await fill(services, now_us())
    return services


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A program that asks the app."""
    transport = httpx.ASGITransport(application(lambda: services))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7071") as asking:
        yield asking
