"""Part ``pipeline``: the whole app on this machine, from the changes log to stored alerts.

What is measured is an app that is up: its first records, which make it open its files and load its
machine code, are not. Then the rest is put on hub ``changes`` at once, and how fast the app drains it is
its throughput: from before the first is published until every commit, and every row of the history, is on
disk and every alert is stored. When the rows could be queried as well is another figure. Then, in an app
begun anew, records are put on the hub at half that rate, as capture would, and every alert is looked for
in the alert store: from its change's publication to when the store has it is the latency.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import batched
from pathlib import Path
from typing import NamedTuple

import msgspec

from flockiq.bench.app import Progress
from flockiq.bench.engine_part import Say
from flockiq.bench.fresh import fresh
from flockiq.bench.history import Size
from flockiq.bench.hops import stamps, timeline
from flockiq.bench.steps import steps
from flockiq.bench.workload import CACHE, ROOT, Packed, workload
from flockiq.shared import wire
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import HUBS, Settings

WORKERS = os.cpu_count() or 1  # processes that run the functions
PARTITIONS = int(os.environ.get("FLOCKIQ_PARTITIONS_CHANGES", WORKERS))  # of hubs changes and resolved: one a process
WARM = 0.1  # of the records come first, untimed
PACED_S = 15.0  # of publishing at half the load
AFTER_S = 5.0  # that alerts are still looked for when everything has been published
EVERY_S = 0.05  # between two publications
PATIENCE_S = 300.0
LOG_END = 3_000  # characters of the app's log that an error shows
LOOK_S = 0.01  # between two looks into the alert store

_progress = msgspec.json.Decoder(Progress).decode


def pipeline_part(records: int, say: Say) -> dict[str, object]:
    """Every figure of the pipeline, by key."""
    CACHE.mkdir(exist_ok=True)
    size = Size(records, max(records // 10, 10))
    work = workload(size, "changes", partitions=PARTITIONS)
    say(f"pipeline: {records:,} records through the app")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        drained = asyncio.run(_drain(Path(folder), size))
    rate = max(1, int(drained["records_per_s"] / 2))
    say(f"pipeline: {rate:,} records a second for {PACED_S:.0f} s")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        paced = asyncio.run(_paced(Path(folder), rate))
    say("pipeline: CPU by step")
    by_step = fresh(steps, size._replace(events=min(records, 50_000), entities=max(min(records, 50_000) // 10, 10)))
    return {**drained, **paced, "cpu_us_per_record": by_step, "workload": {**size._asdict(), "lines": work.facts.lines}}


async def _drain(data: Path, size: Size) -> dict[str, float]:
    """Put every record on the hub, and see when nothing is left."""
    packed = list(workload(size, "changes", partitions=PARTITIONS).timed())
    first = _lead(packed)
    lines = sum(one.lines for one in packed[first:])
    async with _services(data) as opened:
        await opened.events.publish("changes", [OutgoingEvent(one.partition, one.body) for one in packed[:first]])
        with _app(data) as told:
            warm = _drained(data, told, time.time())
            began = time.time()
            await opened.events.publish("changes", [OutgoingEvent(one.partition, one.body) for one in packed[first:]])
            published = time.time()
            last = _drained(data, told, published, history=False)
            whole = _drained(data, told, published)
    took, cpu = last.at - began, whole.cpu_s - warm.cpu_s
    return {
        "records_per_s": round(lines / took),
        "records_per_s_with_history": round(lines / (whole.at - began)),
        "cpu_us_per_record_app": round(cpu / lines * 1e6, 1),
        "cores_used": round(cpu / (whole.at - began), 2),
        "failures": whole.failures,
        "alerts_stored": _alerts(data),
        "worker_processes": WORKERS,
        "partitions": PARTITIONS,
    }


def _lead(packed: Sequence[Packed]) -> int:
    """How many events come first: WARM of the lines, at least an event of every partition; at most half of them."""
    lines = sum(one.lines for one in packed)
    seen: set[int] = set()
    told = 0
    for number, one in enumerate(packed, 1):
        seen.add(one.partition)
        told += one.lines
        if told >= lines * WARM and len(seen) == PARTITIONS:
            return min(number, len(packed) // 2)
    return len(packed) // 2


def _drained(data: Path, told: Iterator[Progress], since: float, *, history: bool = True) -> Progress:
    """What the app tells when nothing is left of what was published before ``since``; TimeoutError if it doesn't.

    Without ``history``, rows may be on their way from where they are safe to where they can be queried.
    """
    last: Progress | None = None
    for last in told:
        if last.asked >= since and last.changes == last.resolved == 0 and not (history and last.spooled):
            return last
        if last.at - since > PATIENCE_S:
            break
    end = (data / "app.log").read_text(errors="replace")[-LOG_END:]
    raise TimeoutError(f"the app did not drain the hubs ({last}); the end of its log:\n{end}")


class Slice(NamedTuple):
    """What is published at one time: events, and the ids of the changes in them."""

    events: Sequence[OutgoingEvent]
    ids: Sequence[str]


async def _paced(data: Path, rate: int) -> dict[str, object]:
    """Publish at ``rate`` and time every alert from its change's publication."""
    lead = int(rate * PACED_S * WARM)
    records = lead + int(rate * PACED_S)  # all in order: what late data shows has a cause published long before
    size = Size(records, max(records // 10, 10), seed=11, late=0.0, duplicates=0.0)
    flat = sorted(  # in the order in which they happened: packed, they stand partition by partition
        (
            (one.partition, line)
            for one in workload(size, "changes", partitions=PARTITIONS).timed()
            for line in wire.unpack(one.body).split(b"\n")
        ),
        key=lambda pair: _said(pair[1]).data.row,
    )
    slices = [_slice(some) for some in batched(flat[lead:], max(1, int(rate * EVERY_S)), strict=False)]
    published: dict[str, float] = {}
    async with _services(data) as opened:
        for some in batched(flat[:lead], 10_000, strict=False):
            await opened.events.publish("changes", _slice(some).events)
        with _app(data) as told:
            _drained(data, told, time.time(), history=False)
            looking = asyncio.create_task(asyncio.to_thread(_look, data, PACED_S + AFTER_S))
            await _publish(opened, slices, published)
            seen = await looking
        hops = await timeline(opened.events, stamps(data), published, seen)
    took = sorted((at - published[cause]) * 1e3 for cause, at in seen.items() if cause in published)
    if not took:
        raise AssertionError("no alert was stored")
    return {
        "p99_ms": round(took[len(took) * 99 // 100]),
        "p50_ms": round(took[len(took) // 2]),
        "alerts_timed": len(took),
        "half_load_records_per_s": rate,
        "hops": hops,
    }


def _slice(some: Sequence[tuple[int, bytes]]) -> Slice:
    """Lines of any partitions, packed as capture packs them."""
    events: list[OutgoingEvent] = []
    for partition in range(PARTITIONS):
        mine = [line for other, line in some if other == partition]
        events += wire.pack(partition, wire.CHANGE, mine)
    return Slice(events, [_said(line).id for _, line in some])


async def _publish(opened: Services, slices: Sequence[Slice], published: dict[str, float]) -> None:
    """Publish one after another, EVERY_S apart."""
    began = time.monotonic()
    for number, one in enumerate(slices):
        await asyncio.sleep(max(0.0, began + number * EVERY_S - time.monotonic()))
        now = time.time()
        for change in one.ids:
            published.setdefault(change, now)
        await opened.events.publish("changes", one.events)


class _Row(msgspec.Struct):
    row: int


class _Said(msgspec.Struct):
    """What is read of a line here."""

    id: str
    data: _Row


_said = msgspec.json.Decoder(_Said).decode


def _look(data: Path, seconds: float) -> dict[str, float]:
    """When the alert store first had an alert of each cause."""
    seen: dict[str, float] = {}
    newest = 0
    until = time.time() + seconds
    path = data / "alerts.db"
    while not path.exists() and time.time() < until:
        time.sleep(LOOK_S)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        while (now := time.time()) < until:
            try:
                rows = connection.execute("SELECT rowid, body FROM alerts WHERE rowid > ?", (newest,)).fetchall()
            except sqlite3.OperationalError:  # its tables are being made
                rows = []
            for rowid, body in rows:
                newest = max(newest, rowid)
                seen.setdefault(msgspec.json.decode(body)["cause"], now)
            time.sleep(LOOK_S)
    return seen


def _alerts(data: Path) -> int:
    with closing(sqlite3.connect(f"file:{data / 'alerts.db'}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM alerts").fetchone()[0])


@asynccontextmanager
async def _services(data: Path) -> AsyncIterator[Services]:
    """The embedded adapters over the app's data folder, beside the app."""
    opened = connect(Settings(data=data, partitions={**HUBS, "changes": PARTITIONS, "resolved": PARTITIONS}))
    try:
        yield opened
    finally:
        await opened.close()


@contextmanager
def _app(data: Path) -> Iterator[Iterator[Progress]]:
    """The app, running; what it tells of its progress."""
    with (
        (data / "app.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "flockiq.bench.app", str(data), str(WORKERS)],
            cwd=ROOT,
            env=os.environ
            | {"FLOCKIQ_COMPILED": "wait"}  # so that what comes first has it loaded
            | {f"FLOCKIQ_PARTITIONS_{hub.upper()}": str(PARTITIONS) for hub in ("changes", "resolved")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as app,
    ):
        if app.stdout is None or app.stdin is None:
            raise AssertionError("the pipes were asked for")
        try:
            yield map(_progress, app.stdout)
        finally:
            app.stdin.close()
            app.stdout.close()
            try:
                app.wait(30)
            except subprocess.TimeoutExpired:
                app.kill()
