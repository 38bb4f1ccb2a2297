"""The same over Azure's stores: state in append blobs, alerts and notes in Cosmos DB, history in an Eventhouse."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from flockiq.shared.alerts import AlertQuery
from flockiq.shared.erasure import Erasure, erase
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import read
from tests.erasure.world import MAIL, MARK, TENANT, People, fill, write_config
from tests.peers.peers import Peers
from tests.peers.storage.azurite import Missing

PORTS = ("state", "alerts", "registry", "analytics", "blobs")


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Azure on this machine."""
    with Peers((TENANT,)) as opened:
        yield opened


@pytest.fixture
def environment(peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings that name Azure's stores, and hubs in a folder."""
    try:
        settings = peers.environment(PORTS)
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    given = {"FLOCKIQ_DATA": str(tmp_path / "data"), **settings}
    given |= {f"FLOCKIQ_ADAPTERS_{port.upper()}": "azure" for port in PORTS}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return {**os.environ}


async def _erased(people: People) -> Erasure:
    """The erasure of her, carried out to its end."""
    while True:
        asked = erase(people.services, people.config, MAIL, "", time.time_ns() // 1000, within_s=0)
        erasure = await asked
        if erasure.done:
            return erasure
        await people.work()


async def _left(services: Services) -> list[str]:
    """Where the mark still is."""
    found = [f"state {log}" for log in await services.state.logs() if MARK.encode() in await _log(services, log)]
    found += [
        f"blob {name}" for name in await services.blobs.list("") if MARK.encode() in await services.blobs.get(name)
    ]
    for table in ("Changes", "Entities", "Deltas", "Alerts", "DeadLetters"):
        rows = (await services.analytics.query(table)).rows
        found += [f"row of {table}" for row in rows if MARK in str(row).lower()]
    page = await services.alerts.query(TENANT, AlertQuery())
    return found + [f"alert {alert.id}" for alert in page.alerts if MARK in str(alert)]


async def _log(services: Services, log: str) -> bytes:
    """What a state log holds, unpacked."""
    held = await services.state.read(log)
    unpack = zstandard.ZstdDecompressor().decompress
    return b"".join(unpack(body) for body in (held.snapshot or b"", *held.entries) if body)


async def test_nothing_of_her_is_left_in_any_store(peers: Peers, environment: dict[str, str], tmp_path: Path) -> None:
    """And the others keep all of theirs; what an admin has to do is said, if the app may not."""
    services = connect(read(environment), environment)
    people = People(services, write_config(tmp_path / "config"))
    await fill(people)
    await services.analytics.flush()
    left = await _left(services)
    assert {one.partition(" ")[0] for one in left} == {"state", "blob", "row", "alert"}
    peers.eventhouse.admin = False
    refused = await _erased(people)
    assert refused.failed
    assert any(".delete table Changes records <|" in line.failed for line in refused.lines)
    assert {one.partition(" ")[0] for one in await _left(services)} <= {"row", "blob"}
    peers.eventhouse.admin = True
    document = next(iter(await services.registry.list(f"erasure/{TENANT}/")))
    await services.registry.delete(document)  # as if half a minute had passed
    erasure = await _erased(people)
    assert erasure.done
    assert not erasure.failed
    assert await _left(services) == []
    assert any("soft delete" in line.remains for line in erasure.lines)
    assert set(await people.golden()) == {"eve@example.org"}
    await asyncio.wait_for(services.close(), 30)
