"""``flockiq sources backfill``: have the running app read a source's past, and watch it do so.

The app does the work. Ctrl-C only ends the watching; the same command finds the backfill again.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from flockiq.cli import app
from flockiq.cli.app import NotReached
from flockiq.cli.hold import InUse, data_folder
from flockiq.cli.view import plain
from flockiq.serve.backfills import BackfillShown
from flockiq.shared.backfills import OPEN
from flockiq.shared.errors import FlockIQError

LOOK_S: Final = 1.0
WINDOW_S: Final = 10.0  # that a rate is taken over
PATIENCE_S: Final = 60.0  # that an app which does not answer is waited for: it may be starting again
STUCK_S: Final = 30.0  # with nothing left but slices that fail, and no record, before the watching ends


class Options(NamedTuple):
    """What was asked for."""

    data: Path
    url: str  # of an app elsewhere; "" for the one of the data folder
    source: str
    stream: str  # "" for all
    since: str  # RFC 3339; "" for everything
    cancel: bool = False


class Shown(Struct):
    """The answer of the API."""

    backfills: list[BackfillShown]


def backfill(options: Options) -> int:
    """Begin a backfill, or find the one that goes on, and show how far it is; 0 once every record is read."""
    if options.cancel:
        for each in asyncio.run(_asked(options, "/cancel")):
            _out(_ending(each))
        return 0
    try:
        ended = asyncio.run(_watched(options))
    except KeyboardInterrupt:
        _out("\nThe backfill goes on in the app. Run the same again to watch it, or with --cancel to end it.")
        raise
    for each in ended:
        _out(_ending(each))
    return 0 if all(each.state == "done" for each in ended) else 1


async def _asked(options: Options, what: str = "") -> list[BackfillShown]:
    path = f"/api/sources/{quote(options.source, safe='')}/backfill{what}"
    given = {"stream": options.stream, "since": "" if what else options.since}
    async with _app(options) as client:
        return (await app.ask(client, "POST", path, Shown, {k: v for k, v in given.items() if v})).backfills


async def _watched(options: Options) -> list[BackfillShown]:
    begun = await _asked(options)
    for each in begun:
        if options.since and each.since[:19] != options.since[:19]:
            _out(f"{each.source}/{each.stream} is being backfilled already, {_since(each)}; --cancel ends that.")
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bars:
        board = Board(bars)
        while True:
            board.show(begun)
            if not any(each.state in OPEN for each in begun) or board.stuck():
                return begun
            await asyncio.sleep(LOOK_S)
            begun = await _looked(options, begun)


async def _looked(options: Options, before: Sequence[BackfillShown]) -> list[BackfillShown]:
    """How they stand now. An app that is being started again is waited for."""
    deadline = time.monotonic() + PATIENCE_S
    named = {(each.stream, each.id) for each in before}
    while True:
        try:
            async with _app(options) as client:
                told = await app.ask(client, "GET", "/api/backfills", Shown, {"source": options.source})
            return [each for each in told.backfills if (each.stream, each.id) in named]
        except (NotReached, NotRunning):
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(LOOK_S)


class NotRunning(FlockIQError):
    """No app runs on the data folder."""


@asynccontextmanager
async def _app(options: Options) -> AsyncIterator[httpx.AsyncClient]:
    """The running app. NotRunning says how it is started."""
    if options.url:
        async with app.of_url(options.url) as client:
            yield client
        return
    holder = _holder(options.data)
    async with app.of_folder(options.data, holder) as client:
        yield client


def _holder(data: Path) -> str:
    """The process that runs on ``data``."""
    if data.is_dir():
        try:
            with data_folder(data):
                pass
        except InUse as error:
            return error.holder
    raise NotRunning(
        f"No FlockIQ runs on {data}, and a backfill is read by the app: start it (python -m flockiq run --data {data}, "
        "or make run), then run this again; or name an app elsewhere with --url."
    )


class Board:
    """A bar for each stream, with its rate."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        self._moved = (0.0, -1)
        self._shown: Sequence[BackfillShown] = ()

    def show(self, backfills: Sequence[BackfillShown]) -> None:
        """Draw how they stand."""
        self._shown = backfills
        records = sum(each.records for each in backfills)
        if records != self._moved[1]:
            self._moved = (time.monotonic(), records)
        for each in backfills:
            if each.stream not in self._tasks:
                name = plain(f"{each.source}/{each.stream}")
                self._tasks[each.stream] = self._bars.add_task(name, total=1.0, told="")
            self._bars.update(self._tasks[each.stream], completed=each.part, told=plain(self._told(each)))

    def stuck(self) -> bool:
        """Whether all that is left are slices that fail, and have for a while."""
        left = [each for each in self._shown if each.state in OPEN]
        failing = all(each.failing and each.failing == each.slices - each.done for each in left)
        return failing and time.monotonic() - self._moved[0] >= STUCK_S

    def _told(self, each: BackfillShown) -> str:
        if each.state == "asked":
            return "waits for the stream's poll to end"
        seen = self._seen.setdefault(each.stream, deque())
        seen.append((time.monotonic(), each.records))
        while len(seen) > 2 and seen[-1][0] - seen[1][0] >= WINDOW_S:  # noqa: PLR2004 - a span has two ends
            seen.popleft()
        span = seen[-1][0] - seen[0][0]
        rate = max(seen[-1][1] - seen[0][1], 0) / span if span else 0.0
        told = f"{each.done:,} of {each.slices:,} slices  {each.records:,} records  {rate:,.0f}/s"
        return f"{told}  {each.failing:,} failing: {each.error}"[:200] if each.failing else told


def _ending(each: BackfillShown) -> str:
    name = f"{each.source}/{each.stream}"
    read = f"{each.records:,} records in {each.slices:,} slices"
    match each.state:
        case "done":
            return f"{name}: {read}, {_since(each)}"
        case "cancelled":
            return f"{name}: cancelled ({each.why}) after {each.records:,} records, which stay"
    return f"{name}: {each.failing:,} of {each.slices:,} slices fail: {each.error}\nThe app goes on trying them."


def _since(each: BackfillShown) -> str:
    return f"changed since {each.since[:19]}Z" if each.since else "from the beginning"


def _out(text: str) -> None:
    sys.stdout.write("\n".join(plain(line) for line in text.split("\n")) + "\n")
