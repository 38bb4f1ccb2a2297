"""Reading a service's records into the log as capture does, and the least that reading them can cost."""

from __future__ import annotations

import asyncio
import importlib
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import msgspec

from flockiq.bench.pages import PAGE
from flockiq.bench.workload import CACHE
from flockiq.capture.cursor import Cursors
from flockiq.capture.slice import read_slice
from flockiq.capture.sources import Capture
from flockiq.shared import wire
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.shared.status import StreamStatus, statuses

SOURCE: Final = "service"
STREAM: Final = "accounts"
HUB: Final = "changes"


class Address(msgspec.Struct):
    """Where an account is."""

    street: str
    zip: str


class Account(msgspec.Struct):
    """A record, every field named and typed."""

    id: str
    name: str
    tax_id: str
    status: str
    payment_terms: str
    credit_limit: str
    risk: float
    employees: int
    active: bool
    founded: str
    city: str
    country: str
    owner_id: str
    phone: str | None
    address: Address
    updated_at: str


class Page(msgspec.Struct):
    """An answer of the service."""

    items: list[Account]
    next: str | None


class Read(NamedTuple):
    """One way of reading, over all records."""

    records: int
    cpu_s: float
    wall_s: float
    peak_rss_mb: float

    @property
    def us(self) -> float:
        """CPU per record."""
        return self.cpu_s / self.records * 1e6


class Held(NamedTuple):
    """What the log then holds, and what a peer would tell of the same: key and time of every record, as a hash."""

    records: int
    told: dict[str, Any]


def source(base_url: str) -> SourceFile:
    """The service as config describes it."""
    return SourceFile.model_validate(
        {
            "source": SOURCE,
            "connector": "rest",
            "connection": {"base_url": base_url, "allow_private": True},
            "streams": {
                STREAM: {
                    "path": "/records",
                    "records": "items",
                    "paginate": {"kind": "next_url", "next": "next"},
                    "page_size": PAGE,
                    "primary_key": ["id"],
                    "modified": "updated_at",
                    "incremental": {"kind": "watermark", "query": {"since": "{since}"}},
                    "entity": "account",
                    "fields": {"name": "name"},
                }
            },
        }
    )


def floor(base_url: str) -> Read:
    """Ask for every page with httpx, decode it with msgspec, forget it."""
    decode = msgspec.json.Decoder(Page).decode

    async def run() -> int:
        records = 0
        async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
            link: str | None = "/records"
            while link:
                page = decode((await client.get(link)).content)
                records += len(page.items)
                link = page.next
        return records

    began = time.process_time(), time.monotonic()
    records = asyncio.run(run())
    return _read(records, began)


def captured(base_url: str) -> tuple[Read, Held]:
    """Capture every record into an empty log; what it cost, and what the log then holds."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        return asyncio.run(_captured(base_url, Path(folder)))


async def _captured(base_url: str, folder: Path) -> tuple[Read, Held]:
    opened = connect(Settings(data=folder))
    capture = Capture(opened, {SOURCE: source(base_url)}, {})
    try:
        began = time.process_time(), time.monotonic()
        cursors = Cursors(opened.registry, capture.tenant, SOURCE, STREAM)
        while (await cursors.load()).reading != "since":  # the first read, of everything, is not over
            status = await _slice(capture)
        read = _read(status.records, began)
        return read, await _held(opened)
    finally:
        await capture.close()
        await opened.close()


async def _slice(capture: Capture) -> StreamStatus:
    """Read one slice, which ends at the last page or after limits.slice_time."""
    now_us = capture.now_us()
    await read_slice(capture, wire.WorkData(source=SOURCE, stream=STREAM, due_us=now_us, sent_us=now_us))
    status = (await statuses(capture.services))[SOURCE, STREAM]
    if status.error:
        raise RuntimeError(f"the service was not read: {status.error}")
    return status


def _read(records: int, began: tuple[float, float]) -> Read:
    cpu_s, wall_s = time.process_time() - began[0], time.monotonic() - began[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return Read(records, cpu_s, wall_s, peak)


async def _held(opened: Services) -> Held:
    decode = msgspec.json.Decoder(wire.Change).decode_lines
    lines: list[tuple[str, int]] = []
    for partition in range(await opened.events.partition_count(HUB)):
        at = 0
        while events := await opened.events.read(HUB, partition, at, 100):
            at = events[-1].sequence + 1
            for event in events:
                lines += [(line.data.key, line.data.ts_us) for line in decode(wire.unpack(event.body))]
    told: dict[str, Any] = importlib.import_module("flockiq.bench.peers.told").digest(lines)
    return Held(len(lines), told)
