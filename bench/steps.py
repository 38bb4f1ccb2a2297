"""CPU of each step of the pipeline, per record: the functions' own owners, run one batch after another."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import batched
from pathlib import Path
from typing import Any

from flockiq.bench.history import Size
from flockiq.bench.workload import CACHE, config, workload
from flockiq.local.folding import Share, shares
from flockiq.merge.changes import Changes
from flockiq.pipeline import resolved
from flockiq.pipeline.told import Telling
from flockiq.pipeline.types import TypeState
from flockiq.shared import owner
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings

TIMED: tuple[tuple[str, Any, str], ...] = (
    ("merge: fold", Changes, "fold"),
    ("process: decode lines", resolved, "lines_of"),
    ("process: into columns", resolved, "rows_of"),
    ("process: fold, compare, signal", TypeState, "process"),
    ("process: tell", Telling, "tell"),
    ("process: pack the outbox", Telling, "outbox"),
    ("process: encode the commit", resolved, "_encode"),
    ("owner: compress the commit", owner, "_pack"),
)
"""What is timed, where the pipeline looks it up."""


def steps(size: Size) -> dict[str, float]:
    """CPU microseconds per record by step; "the rest" is what no step accounts for (stores, tables, hubs)."""
    work = workload(size, "changes")
    CACHE.mkdir(exist_ok=True)
    spent: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, _watched(spent):
        whole = asyncio.run(replayed(Path(folder), size))
    found = {name: round(seconds / work.facts.lines * 1e6, 1) for name, seconds in spent.items()}
    return found | {
        "the rest: stores, hubs, tables": round((whole - sum(spent.values())) / work.facts.lines * 1e6, 1),
        "all": round(whole / work.facts.lines * 1e6, 1),
    }


async def replayed(folder: Path, size: Size) -> float:
    """The CPU seconds that ``changes`` and then ``resolved`` take, one batch of one partition after another's.

    Partitions take turns, as they go on side by side in the app: were one read to its end first, most of what the
    others bring would come late.
    """
    opened = connect(Settings(data=folder))
    for some in batched(workload(size, "changes").timed(), 64, strict=False):
        await opened.events.publish("changes", [OutgoingEvent(one.partition, one.body) for one in some])
    owned = await shares(opened, config())
    begin = time.process_time()
    for partitions in owned.values():
        await _fold(opened, partitions)
    await opened.close()
    return time.process_time() - begin


async def _fold(opened: Services, partitions: Sequence[Share]) -> None:
    at = {one: (await opened.events.bounds(one.hub, one.partition)).first for one in partitions}
    while at:
        for one in list(at):
            then = await one.fold(opened.events, at[one])
            if then > at[one]:
                at[one] = then
            else:
                del at[one]


@contextmanager
def _watched(spent: dict[str, float]) -> Iterator[None]:
    """Time every call of the steps on its own thread; none of them calls another."""
    before = [(where, name, getattr(where, name)) for _, where, name in TIMED]

    def timed(step: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **kwargs: object) -> object:
            begin = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                spent[step] += time.thread_time() - begin

        return run

    for (step, where, name), (_, _, call) in zip(TIMED, before, strict=True):
        setattr(where, name, timed(step, call))
    try:
        yield
    finally:
        for where, name, call in before:
            setattr(where, name, call)
