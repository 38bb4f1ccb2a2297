"""CPU of each step of the pipeline, per record: the functions' own owners, run one batch after another."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import threading
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
from flockiq.pipeline import compiled, resolved
from flockiq.pipeline.told import Telling
from flockiq.pipeline.types import TypeState
from flockiq.shared import owner
from flockiq.shared.adapters.embedded.database import Database
from flockiq.shared.adapters.embedded.intake import Intake
from flockiq.shared.adapters.embedded.spool import Spool
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.shared.triggers import GARBAGE

WARM = Size(2_000, 200)  # goes before what is measured: files are opened and machine code is loaded

TIMED: tuple[tuple[str, Any, str], ...] = (
    ("merge: fold", Changes, "fold"),
    ("process: decode lines", resolved, "lines_of"),
    ("process: into columns", resolved, "rows_of"),
    ("process: fold, compare, signal", TypeState, "process"),
    ("process: tell", Telling, "tell"),
    ("process: pack the outbox", Telling, "outbox"),
    ("process: encode the commit", resolved, "_encode"),
    ("process: the rest of its fold", resolved.Resolved, "fold"),
    ("owner: compress the commit", owner, "_pack"),
    ("{file}: write", Database, "_commit_waiting"),
    ("{file}: read", Database, "_read"),
    ("history: leave rows", Spool, "_write_waiting"),
    ("history: into DuckDB", Intake, "take"),
)
"""What is timed, where the pipeline looks it up; ``{file}``: what the sqlite file keeps."""

KEPT = {"events": "hubs", "logs": "state logs", "alerts": "alerts", "registry": "cursors"}
"""What the sqlite files keep, by their names."""

COLLECTOR, LOOP, CLOSING, REST = "the cycle collector", "the event loop", "closing the stores", "the rest"


class Watch:
    """CPU seconds by step. A step within another is taken off it; every thread has its own."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._adding = threading.Lock()
        self._under_way = threading.local()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        self.begin()
        try:
            yield
        finally:
            self.end(name)

    def begin(self) -> None:
        """A step begins on this thread."""
        self._steps().append((time.thread_time(), 0.0))

    def end(self, name: str) -> None:
        """The step that began last on this thread ends."""
        steps = self._steps()
        began, within = steps.pop()
        took = time.thread_time() - began
        if steps:
            before, others = steps[-1]
            steps[-1] = before, others + took
        with self._adding:
            self.spent[name] += took - within

    def collected(self, phase: str, _info: object) -> None:
        """What the cycle collector calls before and after its work."""
        if phase == "start":
            self.begin()
        else:
            self.end(COLLECTOR)

    def _steps(self) -> list[tuple[float, float]]:
        """The steps under way on this thread: when each began, and the seconds of those within it."""
        under_way: list[tuple[float, float]] = self._under_way.__dict__.setdefault("steps", [])
        return under_way


def steps(size: Size) -> dict[str, float]:
    """CPU microseconds per record by step, with machine code; ``REST`` is what no step accounts for."""
    compiled.use("wait")
    gc.set_threshold(*GARBAGE)  # as in the app
    work = workload(size, "changes")
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        asyncio.run(replayed(Path(folder), WARM))
    watch = Watch()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, _watched(watch):
        whole = asyncio.run(replayed(Path(folder), size, watch))
    found = {name: round(seconds / work.facts.lines * 1e6, 1) for name, seconds in watch.spent.items()}
    return found | {
        REST: round((whole - sum(watch.spent.values())) / work.facts.lines * 1e6, 1),
        "all": round(whole / work.facts.lines * 1e6, 1),
    }


async def replayed(folder: Path, size: Size, watch: Watch | None = None) -> float:
    """The CPU seconds that ``changes`` and then ``resolved`` take, one batch of one partition after another's.

    Partitions take turns, as they go on side by side in the app: were one read to its end first, most of what the
    others bring would come late.
    """
    watch = watch or Watch()
    opened = connect(Settings(data=folder))
    for some in batched(workload(size, "changes").timed(), 64, strict=False):
        await opened.events.publish("changes", [OutgoingEvent(one.partition, one.body) for one in some])
    owned = await shares(opened, config())
    watch.spent.clear()
    begin = time.process_time()
    with watch.step(LOOP):
        for partitions in owned.values():
            await _fold(opened, partitions)
        await opened.analytics.flush()
    folded, known = time.process_time(), sum(watch.spent.values())
    await opened.close()
    ended = time.process_time()
    watch.spent[CLOSING] += ended - folded - (sum(watch.spent.values()) - known)
    return ended - begin


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
def _watched(watch: Watch) -> Iterator[None]:
    """Time every call of the steps, and the cycle collector's."""
    before = [(where, name, getattr(where, name)) for _, where, name in TIMED]

    def timed(step: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **kwargs: object) -> object:
            with watch.step(_named(step, args)):
                return call(*args, **kwargs)

        return run

    for (step, where, name), (_, _, call) in zip(TIMED, before, strict=True):
        setattr(where, name, timed(step, call))
    gc.callbacks.append(watch.collected)
    try:
        yield
    finally:
        gc.callbacks.remove(watch.collected)
        for where, name, call in before:
            setattr(where, name, call)


def _named(step: str, args: tuple[object, ...]) -> str:
    """The step's name, with what the file keeps that it is of."""
    of = args[0] if args else None
    return step.format(file=KEPT.get(of.path.stem, of.path.stem)) if isinstance(of, Database) else step
