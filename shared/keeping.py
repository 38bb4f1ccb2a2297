"""Keeping raw history: what comes onto hub ``changes`` is read beside the functions, and kept by day.

One process at a time does it, under a lease. A blob holds the lines of one partition from one look to the next; its
name says which events those are, so that writing it again after a crash changes nothing. How far a partition has been
kept is a document of the registry, written after the blob.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from typing import Final

import msgspec

from flockiq.shared import rawhistory, wire
from flockiq.shared.erased import tombstones
from flockiq.shared.errors import BadRecord
from flockiq.shared.instants import rfc3339
from flockiq.shared.ports import StoredEvent
from flockiq.shared.services import Services
from flockiq.shared.tombstones import Tombstones

log = logging.getLogger("flockiq.keeping")

HUB: Final = "changes"
LEASE_S: Final = 60.0
_READ: Final = 64  # events at a time
_DAY_US: Final = 86_400_000_000


class Kept(msgspec.Struct):
    """How far a partition has been kept: the next event's sequence number."""

    next: int


async def keep(services: Services, within_s: float = LEASE_S / 2) -> bool:
    """Keep what has come since the last time; whether all that is there now is kept. False if another does it."""
    lease = await services.registry.acquire(f"raw/{services.settings.tenant}", uuid.uuid4().hex, LEASE_S)
    if lease is None:
        return False
    try:
        until = time.monotonic() + within_s
        stones = await tombstones(services, time.time_ns() // 1000)
        partitions = range(await services.events.partition_count(HUB))
        return all(await asyncio.gather(*(_partition(services, partition, until, stones) for partition in partitions)))
    finally:
        await services.registry.release(lease)


async def forget_old(services: Services, now_us: int) -> int:
    """Remove the blobs whose days are over; how many."""
    tenant, days = services.settings.tenant, services.settings.raw_days
    first = rfc3339(now_us - days * _DAY_US)[:10]
    removed = 0
    for hub in (HUB, "resolved"):
        start = rawhistory.folder(tenant, hub)
        while names := await services.blobs.list(start, limit=_READ):
            old = [name for name in names if name.removeprefix(start)[:10] < first]
            for name in old:
                await services.blobs.delete(name)
            removed += len(old)
            if len(old) < len(names):
                break
    return removed


async def _partition(services: Services, partition: int, until: float, stones: Tombstones) -> bool:
    key = f"raw/{services.settings.tenant}/{HUB}/{partition}"
    document = await services.registry.get(key)
    bounds = await services.events.bounds(HUB, partition)
    at = max(msgspec.json.decode(document.value, type=Kept).next if document else 0, bounds.first)
    if document is not None and at > bounds.end:
        at = bounds.first  # the hub was made anew
    etag = document.etag if document else None
    while at < bounds.end and time.monotonic() < until:
        some = await _some(services, partition, at, bounds.end)
        if not some:
            break
        new = [event for event in some if rawhistory.REPLAYED not in event.properties]
        lines = [line for event in new for line in _lines(event.body) if not _erased(line, stones)]
        if lines:
            name = f"{partition}-{some[0].sequence}-{some[-1].sequence}"
            path = rawhistory.path(services.settings.tenant, HUB, some[0].enqueued_us, name)
            await services.blobs.put(path, await asyncio.to_thread(rawhistory.packed, lines))
        at = some[-1].sequence + 1
        etag = await services.registry.put(key, msgspec.json.encode(Kept(at)), etag)
    return at >= bounds.end


async def _some(services: Services, partition: int, start: int, end: int) -> Sequence[StoredEvent]:
    """Events of one day, as many as one blob is to hold."""
    found: list[StoredEvent] = []
    size = 0
    while start < end and size < rawhistory.BLOB_BYTES // 8:  # they are compressed, to about a tenth
        batch = await services.events.read(HUB, partition, start, _READ)
        if not batch:
            break
        first = (found or batch)[0].enqueued_us // _DAY_US
        mine = [event for event in batch if event.enqueued_us // _DAY_US == first]
        found += mine
        size += sum(len(event.body) for event in mine)
        start = batch[-1].sequence + 1
        if len(mine) < len(batch):
            break
    return found


def _lines(body: bytes) -> Sequence[bytes]:
    """The lines of an event that are records'; what can't be read is a dead letter, and no history."""
    try:
        return [line for line in wire.unpack(body).split(b"\n") if b'"flockiq.change"' in line]
    except BadRecord as error:
        log.debug("an event is not kept: %s", error)
        return []


def _erased(line: bytes, stones: Tombstones) -> bool:
    """Whether a line is about a record that was erased, and from before that."""
    if not stones:
        return False
    name, from_us = rawhistory.record_of(line)
    return from_us <= stones.latest_us and from_us <= stones.until_us(name)
