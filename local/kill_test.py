"""Kill the app at random moments and hold what is left against the truth.

The app runs with its sample systems; it is killed (-9) and started again N times, at random moments
from its first second on. Then the systems stop editing, the app comes to rest, and is compared with

1. a clean replay of the recorded ``changes`` log: golden records, effective deltas, open alerts;
2. the systems' own records: every source's every record, mapped as the app maps it.

``python -m flockiq kill-test`` prints kills, records, what was compared, and the differences.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flockiq.local import outcome
from flockiq.local.lives import PATIENCE_S, App
from flockiq.local.outcome import Outcome
from flockiq.local.replay import replay, tick
from flockiq.local.samples import systems
from flockiq.local.samples.records import outstanding
from flockiq.shared.config.load import load
from flockiq.shared.config.model import Config
from flockiq.shared.errors import FlockIQError
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings

EDITING = ("crm", "erp", "marketing")
SHORTEST_S, LONGEST_S = 0.5, 8.0  # of the app's life between two kills
QUIET_S = 6.0  # nothing new in any hub but the clock's ticks for this long: it has come to rest
SHOWN = 12  # differences printed of each kind


class Options(NamedTuple):
    """What a kill test was asked to do."""

    kills: int
    data: Path
    config: Path
    port: int
    seed: int


@dataclass
class Report:
    """What a kill test found."""

    kills: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    differences: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many differences there are."""
        return sum(map(len, self.differences.values()))


def run(options: Options) -> int:
    """Run it and print what came of it; 0 without differences."""
    console = Console()
    shutil.rmtree(options.data, ignore_errors=True)
    options.data.mkdir(parents=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        report = asyncio.run(_run(options, progress))
    console.print(f"kills {report.kills}")
    for what, count in report.compared.items():
        console.print(f"{what} {count:,}")
    for what, found in report.differences.items():
        console.print(f"differences in {what}: {len(found)}")
        for line in found[:SHOWN]:
            console.print(f"  {line}", markup=False, highlight=False)
    console.print(f"differences {report.total}")
    untested = [what for what, count in report.compared.items() if not count]
    if untested:
        console.print(f"That tested too little: there were no {' and no '.join(untested)}. Kill it more often.")
    return 1 if report.total or untested else 0


async def _run(options: Options, progress: Progress) -> Report:
    report = Report()
    rng = random.Random(options.seed)  # noqa: S311 - moments to die at, not secrets
    killing = progress.add_task("killing", total=options.kills)
    try:
        for _ in range(options.kills):
            await _live_and_die(options, rng.uniform(SHORTEST_S, LONGEST_S))
            report.kills += 1
            progress.advance(killing)
        resting = progress.add_task("coming to rest", total=1)
        await _rest(options)
        progress.advance(resting)
    finally:
        await systems.stop(options.data)
    comparing = progress.add_task("comparing", total=2)
    config = load(options.config, os.environ)
    app = connect(Settings(data=options.data, config=options.config))
    try:
        await _against_replay(options, config, app, report)
        progress.advance(comparing)
        await _against_sources(options, config, app, report)
        progress.advance(comparing)
    finally:
        await app.close()
    return report


def _app(options: Options) -> App:
    return App(options.data, options.config, options.port, ("--seed", str(options.seed)))


async def _live_and_die(options: Options, seconds: float) -> None:
    """One life of the app: from when it is listening, for so many seconds."""
    async with _app(options).alive():
        await asyncio.sleep(seconds)


async def _rest(options: Options) -> None:
    """Run the app with systems that no longer change until everything has gone through; stop it gently."""
    app = _app(options)
    async with app.alive() as process:
        for name in EDITING:
            await systems.control(options.data, name, freeze=True)
        await _quiet(options, process)
        await app.end(process)


async def _quiet(options: Options, app: asyncio.subprocess.Process) -> None:
    """Wait until all that the systems hold has been read, delivered and worked off.

    A stream whose reader was killed waits for that reader's lease: silence alone proves nothing, so
    every polled stream must have been read to its end since the systems stopped changing.
    """
    settings = Settings(data=options.data)
    frozen_us = time.time_ns() // 1000
    polled = [
        f"turn/{settings.tenant}/{source.source}/{stream}"
        for source in load(options.config, os.environ).sources.values()
        if source.polled
        for stream in source.streams
    ]
    watching = connect(settings)
    try:
        last, since = -1, time.monotonic()
        deadline = since + PATIENCE_S
        while time.monotonic() < deadline:
            if app.returncode is not None:
                raise FlockIQError(f"the app ended by itself; {options.data / 'app.log'} says why")
            moved = 0
            for hub in ("changes", "files", "deltas", "entities"):
                for partition in range(settings.partitions[hub]):
                    moved += (await watching.events.bounds(hub, partition)).end
            turns = await watching.registry.list(f"turn/{settings.tenant}/")
            unread = [name for name in polled if name not in turns or _read_us(turns[name].value) < frozen_us]
            if moved != last or unread or outstanding(options.data):
                last, since = moved, time.monotonic()
            if time.monotonic() - since > QUIET_S:
                return
            await asyncio.sleep(0.25)
    finally:
        await watching.close()
    raise FlockIQError(f"the app does not come to rest within {PATIENCE_S:.0f} s")


def _read_us(turn: bytes) -> int:
    """When the stream of this turn was last read to its end."""
    return int(msgspec.json.decode(turn).get("read_us", 0))


async def _against_replay(options: Options, config: Config, app: Services, report: Report) -> None:
    now_us = time.time_ns() // 1000
    clean = await replay(app.events, config, app.settings, options.data / "replay")
    try:
        await tick(clean, config, now_us)
        await clean.analytics.flush()
        right, found = await outcome.read(clean), await outcome.read(app)
    finally:
        await clean.close()
    for what in Outcome._fields:
        expected, given = getattr(right, what), getattr(found, what)
        report.compared[what.replace("_", " ")] = len(expected)
        report.differences[what.replace("_", " ")] = differences(expected, given)


async def _against_sources(options: Options, config: Config, app: Services, report: Report) -> None:
    held = await outcome.held_by_app(app)
    for (source, stream), expected in outcome.held_by_sources(options.data, config).items():
        name = f"records of {source}/{stream}"
        report.compared[name] = len(expected)
        report.differences[name] = differences(expected, held.get((source, stream), {}))


def differences(expected: Mapping[object, object], given: Mapping[object, object]) -> list[str]:
    """A line for each key whose value is not the expected one."""
    lines = []
    for key in sorted(expected.keys() | given.keys(), key=str):
        if key not in given:
            lines.append(f"{key}: missing, expected {expected[key]}")
        elif key not in expected:
            lines.append(f"{key}: not expected, but there: {given[key]}")
        elif expected[key] != given[key]:
            lines.append(f"{key}: {given[key]}, expected {expected[key]}")
    return lines
