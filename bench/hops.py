"""Where a change's time goes on its way from hub ``changes`` to the alert store, hop by hop.

The processes that run the functions stamp each batch (``stamp``, called by bench/stamped_app.py) and write their
stamps to the app's data folder when they end. Which batch a change was part of is known by the sequence number of its
event: hubs keep their events, and when each came in (``timeline``).
"""

from __future__ import annotations

import atexit
import functools
import os
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import msgspec

from flockiq.merge.changes import Changes
from flockiq.pipeline.resolved import Resolved
from flockiq.shared import wire
from flockiq.shared.owner import Input, Owner
from flockiq.shared.ports import EventStream
from flockiq.shared.settings import read

STAMPS = "stamps"  # the folder of the processes' stamps
READ = 500  # events at a time


class Batch(msgspec.Struct, array_like=True):
    """One batch of one partition: its events' sequence numbers, and times in seconds since 1970 (0.0: never).

    cpu_s: of the thread that folded it.
    """

    function: str
    partition: int
    first: int
    last: int
    handed: float
    folding: float = 0.0
    folded: float = 0.0
    committed: float = 0.0
    cpu_s: float = 0.0

    @property
    def times(self) -> tuple[float, float, float, float]:
        """Its stamps in their order."""
        return self.handed, self.folding, self.folded, self.committed


class Event(NamedTuple):
    """One event of a hub: where it stands, and when it came in."""

    partition: int
    sequence: int
    at: float


HOPS: tuple[str, ...] = (
    "in hub changes",
    "handed to merge",
    "merge begins",
    "merge folded",
    "merge committed",
    "in hub resolved",
    "handed to process",
    "process begins",
    "process folded",
    "process committed",
    "alert stored",
)
"""What happens to a change, in order; the first after its publication."""

_batch: ContextVar[Batch | None] = ContextVar("_batch", default=None)


def stamp() -> None:
    """Stamp every batch that this process folds from now on."""
    batches: list[Batch] = []
    folder = read().data / STAMPS
    process = Owner.process

    async def processed(
        owner: Owner, batch: Sequence[Input], hook: Callable[[str], Awaitable[None]] | None = None
    ) -> None:
        function, _, partition = owner.name.rpartition("/")
        mine = Batch(function, int(partition), batch[0].sequence, batch[-1].sequence, time.time())
        batches.append(mine)

        async def stamped(reached: str) -> None:
            if reached == "committed":
                mine.committed = time.time()
            if hook is not None:
                await hook(reached)

        token = _batch.set(mine)
        try:
            await process(owner, batch, stamped)
        finally:
            _batch.reset(token)

    def write() -> None:
        folder.mkdir(exist_ok=True)
        (folder / str(os.getpid())).write_bytes(msgspec.msgpack.encode(batches))

    setattr(Owner, "process", processed)  # noqa: B010 - a checker is right to refuse it
    for owned in (Changes, Resolved):
        setattr(owned, "fold", _stamped(owned.fold))  # noqa: B010 - see above
    atexit.register(write)


def _stamped[**P, R](fold: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(fold)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        mine = _batch.get()
        if mine is None:
            return fold(*args, **kwargs)
        mine.folding, began = time.time(), time.thread_time()
        try:
            return fold(*args, **kwargs)
        finally:
            mine.folded, mine.cpu_s = time.time(), time.thread_time() - began

    return run


def stamps(data: Path) -> list[Batch]:
    """What the processes of an app that has ended stamped."""
    decode = msgspec.msgpack.Decoder(list[Batch]).decode
    return [batch for path in (data / STAMPS).iterdir() for batch in decode(path.read_bytes())]


async def timeline(
    events: EventStream, batches: Sequence[Batch], published: Mapping[str, float], stored: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """How long each hop took, and its end since the publication, of changes that gave an alert: p50 and p99 in ms.

    ``published`` and ``stored``: when, in seconds since 1970, by the ids of changes.
    """
    by_log: dict[tuple[str, int], list[Batch]] = defaultdict(list)
    for batch in sorted(batches, key=lambda one: one.last):
        if batch.committed:
            by_log[batch.function, batch.partition].append(batch)
    wanted = published.keys() & stored.keys()
    changes, resolved = [await _events(events, hub, wanted) for hub in ("changes", "resolved")]
    ways: list[tuple[float, ...]] = []
    for change in wanted & changes.keys() & resolved.keys():
        came, went = changes[change], resolved[change]
        merge = _of(by_log["merge_changes", came.partition], came.sequence)
        process = _of(by_log["process_resolved", went.partition], went.sequence)
        if merge is not None and process is not None:
            ways.append((published[change], came.at, *merge.times, went.at, *process.times, stored[change]))
    return {
        hop: {
            **_percentiles("", [way[at + 1] - way[at] for way in ways]),
            **_percentiles("since_", [way[at + 1] - way[0] for way in ways]),
        }
        for at, hop in enumerate(HOPS)
        if ways
    }


def _percentiles(prefix: str, seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        f"{prefix}p50_ms": round(ordered[len(ordered) // 2] * 1e3, 1),
        f"{prefix}p99_ms": round(ordered[len(ordered) * 99 // 100] * 1e3, 1),
    }


def _of(batches: Sequence[Batch], sequence: int) -> Batch | None:
    """The batch that an event was part of."""
    at = bisect_left(batches, sequence, key=lambda one: one.last)
    return batches[at] if at < len(batches) and batches[at].first <= sequence else None


class _Line(msgspec.Struct):
    id: str


_line = msgspec.json.Decoder(_Line).decode


async def _events(events: EventStream, hub: str, wanted: AbstractSet[str]) -> dict[str, Event]:
    """The first event of a hub that holds a line of each of the wanted ids."""
    found: dict[str, Event] = {}
    for partition in range(await events.partition_count(hub)):
        at = (await events.bounds(hub, partition)).first
        while some := await events.read(hub, partition, at, READ):
            at = some[-1].sequence + 1
            for one in some:
                for line in wire.unpack(one.body).splitlines():
                    change = _line(line).id
                    if change in wanted:
                        found.setdefault(change, Event(partition, one.sequence, one.enqueued_us / 1e6))
    return found
