"""A capture over the embedded adapters, and what it published, read back from the hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.functions.meta import Datum

from flockiq.capture import functions, schedule, slice  # noqa: A004 - the design's word
from flockiq.capture.sources import Capture, clock_us
from flockiq.shared import triggers, wire
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.shared.status import StreamStatus, statuses

_change = msgspec.json.Decoder(wire.Change)


FROM_HOST = {"PartitionContext": Datum('{"PartitionId": "0"}', "json")}  # what the host says of a batch


def leased(services: Services, lease_s: float) -> Services:
    """The same with leases of another length."""
    return services._replace(settings=msgspec.structs.replace(services.settings, lease_s=lease_s))


class World:
    """A capture and its surroundings."""

    def __init__(self, services: Services, *sources: dict[str, Any], environment: dict[str, str] | None = None) -> None:
        self.services = services
        self.ahead_us = 0
        named = {source["source"]: SourceFile.model_validate(source) for source in sources}
        self.capture = Capture(services, named, environment or {}, lambda: clock_us() + self.ahead_us)

    def serve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be what the functions and their triggers find in this process."""
        monkeypatch.setattr(functions, "capture", lambda: self.capture)
        monkeypatch.setattr(triggers, "services", lambda: self.services)

    async def poll(self, seconds: float = 60.0) -> int:
        """Let time pass, send what is due and read it all; how many slices were sent."""
        self.ahead_us += int(seconds * 1e6)
        sent = await schedule.send_due(self.capture)
        await self.work()
        return sent

    async def work(self) -> None:
        """Read every slice on hub work, again and again as often as the test calls it."""
        works = []
        for partition in range(await self.services.events.partition_count("work")):
            for event in await self.services.events.read("work", partition, 0, 10_000):
                works += [msgspec.json.decode(line, type=wire.Work) for line in wire.unpack(event.body).splitlines()]
        await slice.work_off(
            self.capture, list({(each.data.source, each.data.stream): each for each in works}.values())
        )
        while self.capture.running:
            await asyncio.gather(*self.capture.running.values(), return_exceptions=True)
            await asyncio.sleep(0)

    async def changes(self) -> list[wire.Change]:
        """Everything published, in the order of runs and rows."""
        found = []
        for partition in range(await self.services.events.partition_count("changes")):
            for event in await self.services.events.read("changes", partition, 0, 100_000):
                found += [_change.decode(line) for line in wire.unpack(event.body).splitlines()]
        return sorted(found, key=lambda change: (change.data.run, change.data.row))

    async def final(self) -> dict[str, Any]:
        """{key: record} by the greatest position, deleted ones left out: what a fold would hold."""
        newest: dict[str, wire.Change] = {}
        for change in await self.changes():
            held = newest.get(change.data.key)
            if held is None or _position(held) <= _position(change):
                newest[change.data.key] = change
        return {key: msgspec.json.decode(change.data.after) for key, change in newest.items() if change.data.op != "d"}

    async def letters(self) -> list[dict[str, Any]]:
        """Every dead letter."""
        names = await self.services.blobs.list("dead-letters/")
        return [msgspec.json.decode(await self.services.blobs.get(name)) for name in names]

    async def status(self, source: str, stream: str) -> StreamStatus:
        """A stream's status."""
        return (await statuses(self.services))[source, stream]


def _position(change: wire.Change) -> tuple[int, int, int]:
    return change.data.ts_us, change.data.run, change.data.row


Open = Callable[..., AbstractAsyncContextManager[World]]


class Ledger:
    """Table → rows as they were ingested: opening a DuckDB for every test would take most of its time."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}

    async def ingest(self, table: str, rows: bytes) -> None:
        """Keep the rows."""
        self.rows.setdefault(table, []).extend(msgspec.json.decode(row) for row in rows.splitlines())

    async def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def ledger() -> Ledger:
    """What was told to Analytics."""
    return Ledger()


@pytest.fixture
async def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> AsyncIterator[Services]:
    """The embedded adapters over an empty folder, Analytics aside."""
    monkeypatch.setenv("FLOCKIQ_SECRET_TOKEN", "correct horse")
    opened = connect(Settings(data=tmp_path))._replace(analytics=ledger)  # type: ignore[arg-type]
    yield opened
    await opened.close()


@pytest.fixture
def world(services: Services) -> Open:
    """Opens a capture of given sources; a second one over the same data is the app started again."""

    @asynccontextmanager
    async def opened(*sources: dict[str, Any], environment: dict[str, str] | None = None) -> AsyncIterator[World]:
        made = World(services, *sources, environment=environment)
        try:
            yield made
        finally:
            await made.capture.close()

    return opened


@pytest.fixture
def accounts() -> Callable[..., dict[str, Any]]:
    """A Dataverse source with one stream, as YAML would give it; limits and stream settings to taste."""

    def source(url: str, *, limits: dict[str, Any] | None = None, **stream: Any) -> dict[str, Any]:
        return {
            "source": "crm",
            "connector": "dataverse",
            "connection": {
                "base_url": f"{url}/api/data/v9.2",
                "allow_private": True,
                "connect_timeout": "2s",
                "read_timeout": "500ms",
                "request_timeout": "2s",
            },
            "auth": {"kind": "bearer", "token": {"secret": "token"}},
            "limits": {"attempts": 2, "longest_wait": "300ms"} | (limits or {}),
            "every": "2s",
            "streams": {
                "accounts": {
                    "path": "accounts",
                    "primary_key": ["accountid"],
                    "modified": "modifiedon",
                    "incremental": {"kind": "delta"},
                    "entity": "company",
                    "fields": {"name": "name"},
                }
                | stream
            },
        }

    return source
