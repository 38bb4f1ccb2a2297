"""How far each function has come on each partition: noted by those that work, read by those that tell how far behind.

A note is a registry document ``progress/{tenant}/{function}/{partition}``. A function whose state is in a log notes
what that has committed (``shared.owner``), the others what they have worked off (``shared.triggers``).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from flockiq.shared import telemetry
from flockiq.shared.errors import FlockIQError
from flockiq.shared.ports import Bounds, EventStream
from flockiq.shared.services import Services

log = logging.getLogger("flockiq.progress")

NOTE_S: Final = 1.0  # between the notes of a partition
REMEMBERED: Final = 1_000  # earlier ends of a partition
CONSUMERS: Final[Mapping[str, str]] = {
    "changes": "merge_changes",
    "resolved": "process_resolved",
    "work": "capture_slice",
    "files": "capture_file",
}
"""The function that reads each hub; hubs entities and deltas are for others to read."""


class Progress(msgspec.Struct, frozen=True):
    """What is noted of a function and partition."""

    sequence: int  # the last sequence number whose effects are committed
    at_us: int = 0
    duplicates: int = 0  # events and records that were told again and changed nothing
    fences_lost: int = 0
    too_late: int = 0  # rows that came beyond lateness


class Notes:
    """Notes the progress of one function on one partition, once in NOTE_S at most; the last is always noted."""

    def __init__(self, services: Services, function: str, partition: int | str) -> None:
        self._registry = services.registry
        self._key = f"{_prefix(services)}{function}/{partition}"
        self._noted = 0.0
        self._latest: Progress | None = None
        self._task: asyncio.Task[None] | None = None

    async def note(self, progress: Progress) -> None:
        """Note it now, or soon if another note is fresh. What the registry does not take is left for the next."""
        self._latest = progress
        wait_s = self._noted + NOTE_S - time.monotonic()
        if wait_s <= 0:
            await self._write()
        elif self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_in(wait_s))

    async def _write_in(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        await self._write()

    async def _write(self) -> None:
        if self._latest is None:
            return
        latest, self._latest = self._latest, None
        self._noted = time.monotonic()
        try:
            known = await self._registry.get(self._key)
            await self._registry.put(self._key, msgspec.json.encode(latest), known.etag if known else None)
        except FlockIQError:
            log.debug("%s was not noted", self._key, exc_info=True)


class PartitionLag(NamedTuple):
    """How far a function is behind on a partition."""

    partition: int
    retained: int  # events
    events: int | None  # not yet worked off; None while the function has noted nothing anywhere on the hub
    oldest_us: int  # when the oldest of those was enqueued; 0 when there is none


async def noted(services: Services) -> dict[tuple[str, int], Progress]:
    """{(function, partition): how far}; a document that can't be read counts as not written."""
    prefix = _prefix(services)
    found: dict[tuple[str, int], Progress] = {}
    for key, document in (await services.registry.list(prefix)).items():
        function, _, partition = key.removeprefix(prefix).partition("/")
        try:
            found[function, int(partition)] = msgspec.json.decode(document.value, type=Progress)
        except (ValueError, msgspec.DecodeError):
            continue
    return found


async def lags(events: EventStream, hub: str, done: Mapping[tuple[str, int], Progress]) -> list[PartitionLag]:
    """How far the function of ``hub`` is behind, by partition, from their bounds and what was noted."""
    function = CONSUMERS.get(hub, "")
    count = await events.partition_count(hub)
    reads = any((function, partition) in done for partition in range(count))

    async def lag(partition: int) -> PartitionLag:
        bounds = await events.bounds(hub, partition)
        retained = bounds.end - bounds.first
        if not reads:
            return PartitionLag(partition, retained, None, 0)
        start = _start(bounds, done.get((function, partition)))
        if start >= bounds.end:
            return PartitionLag(partition, retained, 0, 0)
        waiting = await events.read(hub, partition, start, 1)
        return PartitionLag(partition, retained, bounds.end - start, waiting[0].enqueued_us if waiting else 0)

    return await asyncio.gather(*(lag(partition) for partition in range(count)))


class Behind:
    """Tells, as metrics, how far every function is behind on every partition. No event is read for that.

    How old the oldest waiting event is follows from where each partition ended at earlier tellings: so it is as old
    as the first of them that knew of it, or up to one interval older.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ends: dict[tuple[str, int], deque[tuple[int, int]]] = defaultdict(deque)  # when, and where it ended

    async def tell(self, now_us: int) -> None:
        """Tell it. Raises what the ports raise."""
        done = await noted(self._services)
        await asyncio.gather(*(self._tell(hub, function, done, now_us) for hub, function in CONSUMERS.items()))

    async def _tell(self, hub: str, function: str, done: Mapping[tuple[str, int], Progress], now_us: int) -> None:
        events = self._services.events
        count = await events.partition_count(hub)
        if not any((function, partition) in done for partition in range(count)):
            return  # it has noted nothing yet: it may have nothing to do
        found = await asyncio.gather(*(events.bounds(hub, partition) for partition in range(count)))
        for partition, bounds in enumerate(found):
            start = _start(bounds, done.get((function, partition)))
            oldest_us = self._first_known(hub, partition, start, bounds.end, now_us)
            where = {"hub": hub, "partition": str(partition), "function": function}
            telemetry.level(telemetry.LAG_EVENTS, max(0, bounds.end - start), **where)
            telemetry.level(telemetry.LAG, (now_us - oldest_us) / 1e6, **where)

    def _first_known(self, hub: str, partition: int, start: int, end: int, now_us: int) -> int:
        """Since when it is known that there is an event at ``start``; now if there is none."""
        ends = self._ends[hub, partition]
        if not ends or end > ends[-1][1]:
            ends.append((now_us, end))
        while ends and ends[0][1] <= start:
            ends.popleft()
        while len(ends) > REMEMBERED:
            del ends[1]  # the first says how long, the others only how long it will be said
        return min(ends[0][0], now_us) if ends else now_us


def _start(bounds: Bounds, at: Progress | None) -> int:
    """The first event that is not worked off."""
    return max(bounds.first, at.sequence + 1) if at else bounds.first


def _prefix(services: Services) -> str:
    return f"progress/{services.settings.tenant}/"
