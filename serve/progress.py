"""How far each function has come on each partition, and how much is left."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from flockiq.shared.ports import EventStream
from flockiq.shared.services import Services

CONSUMERS = {
    "changes": "merge_changes",
    "resolved": "process_resolved",
    "work": "capture_slice",
    "files": "capture_file",
}
"""The function that reads each hub; hubs entities and deltas are for others to read."""


class Progress(msgspec.Struct, frozen=True):
    """A registry document ``progress/{tenant}/{function}/{partition}``."""

    sequence: int  # the last sequence number whose effects are committed
    at_us: int = 0
    duplicates: int = 0  # events and records that were told again and changed nothing


class HubLag(NamedTuple):
    """What a hub retains, and how far its function is behind."""

    hub: str
    function: str  # "" when nothing here reads it
    partitions: int
    events: int  # retained
    lag: int | None  # events not yet worked off; None when the function keeps no progress
    oldest_us: int  # when the oldest of those was enqueued; 0 when there is none


async def progress(services: Services) -> dict[tuple[str, int], Progress]:
    """{(function, partition): how far}; a document that can't be read counts as not written."""
    prefix = f"progress/{services.settings.tenant}/"
    found: dict[tuple[str, int], Progress] = {}
    for key, document in (await services.registry.list(prefix)).items():
        function, _, partition = key.removeprefix(prefix).partition("/")
        try:
            found[function, int(partition)] = msgspec.json.decode(document.value, type=Progress)
        except (ValueError, msgspec.DecodeError):
            continue
    return found


async def hub_lag(events: EventStream, hub: str, done: dict[tuple[str, int], Progress]) -> HubLag:
    """One hub's lag from its partitions' bounds and its function's progress."""
    partitions = await events.partition_count(hub)
    function = CONSUMERS.get(hub, "")
    known = [done.get((function, partition)) for partition in range(partitions)]
    bounds = await asyncio.gather(*(events.bounds(hub, partition) for partition in range(partitions)))
    retained = sum(each.end - each.first for each in bounds)
    if not any(known):
        return HubLag(hub, function, partitions, retained, None, 0)
    lag, oldest = 0, 0
    for partition, (each, at) in enumerate(zip(bounds, known, strict=True)):
        start = max(each.first, at.sequence + 1 if at else each.first)
        if start >= each.end:
            continue
        lag += each.end - start
        waiting = await events.read(hub, partition, start, 1)
        if waiting:
            oldest = min(oldest or waiting[0].enqueued_us, waiting[0].enqueued_us)
    return HubLag(hub, function, partitions, retained, lag, oldest)
