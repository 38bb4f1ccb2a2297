"""``flockiq dead-letters``: look at the records that were set aside, and send them back.

DuckDB admits one writing process: while the app runs on the data folder, it is asked over HTTP;
otherwise the folder's services are opened here, and the app finds the records at its next start.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote

import httpx
import msgspec

import flockiq
from flockiq.cli import app
from flockiq.cli.hold import InUse, data_folder
from flockiq.local.host.settings import read_local_settings
from flockiq.serve import deadletters
from flockiq.serve.deadletters import DeadLetter, DeadLetterPage, DeadLetterRecord, Filter, Replayed
from flockiq.shared import settings
from flockiq.shared.config.load import Config, load
from flockiq.shared.errors import FlockIQError, NotFound
from flockiq.shared.replay import NotReplayable
from flockiq.shared.services import Services, connect

APP = Path(flockiq.__file__).resolve().parent


class Options(NamedTuple):
    """Where the letters are, and how they are told."""

    data: Path
    config: Path
    url: str = ""  # of an app elsewhere; "" for the one of the data folder
    json: bool = False


class Desk(Protocol):
    """Where dead letters are looked after: a running app, or its services."""

    async def listed(self, which: Filter, limit: int, continuation: str) -> DeadLetterPage:
        """A page of letters."""
        ...

    async def one(self, letter_id: str) -> DeadLetterRecord:
        """One letter with its record. NotFound if there is none."""
        ...

    async def replay(self, letter_id: str) -> Replayed:
        """Send one back. NotFound if there is none, NotReplayable if it can't be sent."""
        ...


def show_list(options: Options, which: Filter, limit: int) -> int:
    """Print up to ``limit`` letters, newest first."""
    letters = asyncio.run(_listed(options, which, limit))
    if options.json:
        _print_json(letters)
        return 0
    for letter in letters:
        _print(_line(letter))
    if not letters:
        _print("No record is set aside." if which == Filter() else "No record like that is set aside.")
    elif len(letters) == limit:
        _print(f"The newest {limit}; --limit N tells more.")
    return 0


def show_one(options: Options, letter_id: str) -> int:
    """Print a letter and its record."""
    found = asyncio.run(_one(options, letter_id))
    if options.json:
        _print_json(found)
        return 0
    letter = found.letter
    state = "open" if letter.open else f"replayed {letter.replayed_at}"
    for name, value in (
        ("id", letter.id),
        ("state", state),
        ("stage", letter.stage),
        ("stream", f"{letter.source}/{letter.stream}" if letter.source else ""),
        ("key", letter.key),
        ("field", letter.field),
        ("line", str(letter.line or "")),
        ("reason", letter.reason),
        ("failed", letter.at),
        ("replay", found.refusal and f"not possible: {found.refusal}"),
        ("record", f"{found.size:,} bytes{', in base64' * found.base64}{', the beginning' * found.cut}"),
    ):
        if value:
            _print(f"{name:<8}{value}")
    _print("")
    _print(found.record)
    return 0


def replay(options: Options, letter_ids: Sequence[str], which: Filter | None) -> int:
    """Send back the letters named, or all open ones that ``which`` picks; 1 if any could not be."""
    done, refused = asyncio.run(_replay(options, letter_ids, which))
    if options.json:
        _print_json({"replayed": done, "refused": refused})
    else:
        for each in done:
            _print(f"{each.id}  sent back to hub {each.hub}")
        _print(f"{len(done)} sent back{f', {len(refused)} not' if refused else ''}.")
        for letter_id, reason in refused.items():
            sys.stderr.write(f"{_plain(letter_id)}  {_plain(reason)}\n")
    return 1 if refused else 0


async def _listed(options: Options, which: Filter, limit: int) -> list[DeadLetter]:
    async with _desk(options) as desk:
        return [letter async for letter in _letters(desk, which, limit)]


async def _letters(desk: Desk, which: Filter, limit: int | None = None) -> AsyncIterator[DeadLetter]:
    """Letters from every page, at most ``limit``."""
    continuation, told = "", 0
    while limit is None or told < limit:
        most = deadletters.MOST if limit is None else min(limit - told, deadletters.MOST)
        page = await desk.listed(which, most, continuation)
        for letter in page.dead_letters:
            yield letter
        told += len(page.dead_letters)
        continuation = page.continuation
        if not continuation:
            return


async def _one(options: Options, letter_id: str) -> DeadLetterRecord:
    async with _desk(options) as desk:
        return await desk.one(letter_id)


async def _replay(
    options: Options, letter_ids: Sequence[str], which: Filter | None
) -> tuple[list[Replayed], dict[str, str]]:
    done: list[Replayed] = []
    refused: dict[str, str] = {}
    async with _desk(options) as desk:
        ids = list(letter_ids)
        if which is not None:  # all are known before the first is sent: sending changes what the list holds
            ids += [letter.id async for letter in _letters(desk, which)]
        for letter_id in dict.fromkeys(ids):
            try:
                done.append(await desk.replay(letter_id))
            except (NotReplayable, NotFound) as error:
                refused[letter_id] = str(error)
    return done, refused


class Opened:
    """A desk over services opened here. ``config`` is read when a record is looked at."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder

    async def listed(self, which: Filter, limit: int, continuation: str) -> DeadLetterPage:
        """See ``Desk.listed``."""
        return await deadletters.listed(self._services, which, limit, continuation)

    async def one(self, letter_id: str) -> DeadLetterRecord:
        """See ``Desk.one``."""
        return await deadletters.one(self._services, self._config(), letter_id)

    async def replay(self, letter_id: str) -> Replayed:
        """See ``Desk.replay``."""
        return await deadletters.replay(self._services, self._config(), letter_id, time.time_ns() // 1000)

    def _config(self) -> Config:
        return load(self._folder, os.environ)


class Asked:
    """A desk that asks a running app."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def listed(self, which: Filter, limit: int, continuation: str) -> DeadLetterPage:
        """See ``Desk.listed``."""
        parameters = msgspec.structs.asdict(which) | {"limit": limit, "continuation": continuation}
        return await self._ask("GET", "", DeadLetterPage, parameters)

    async def one(self, letter_id: str) -> DeadLetterRecord:
        """See ``Desk.one``."""
        return await self._ask("GET", f"/{quote(letter_id, safe='')}", DeadLetterRecord)

    async def replay(self, letter_id: str) -> Replayed:
        """See ``Desk.replay``."""
        return await self._ask("POST", f"/{quote(letter_id, safe='')}/replay", Replayed)

    async def _ask[T](self, method: str, path: str, kind: type[T], parameters: dict[str, str | int] | None = None) -> T:
        return await app.ask(self._client, method, f"/api/dead-letters{path}", kind, parameters, conflict=NotReplayable)


@asynccontextmanager
async def _desk(options: Options) -> AsyncIterator[Desk]:
    """The running app if there is one, else the folder's services, held so that no app starts meanwhile."""
    if options.url:
        async with app.of_url(options.url) as client:
            yield Asked(client)
        return
    if not options.data.is_dir():
        raise FlockIQError(f"There is no data folder {options.data}: name the one of the app with --data DIR.")
    with ExitStack() as held:
        try:
            held.enter_context(data_folder(options.data))
        except InUse as error:
            async with app.of_folder(options.data, error.holder) as client:
                yield Asked(client)
            return
        given = {"FLOCKIQ_DATA": str(options.data.absolute()), "FLOCKIQ_CONFIG": str(options.config.absolute())}
        services = connect(settings.read({**read_local_settings(APP), **os.environ, **given}))
        try:
            yield Opened(services, options.config)
        finally:
            await services.close()


def _line(letter: DeadLetter) -> str:
    where = f"{letter.source}/{letter.stream} {letter.key}" if letter.source else "unreadable"
    what = f"{letter.field}: {letter.reason}" if letter.field else letter.reason
    line = f" (line {letter.line})" if letter.line else ""
    replayed = "" if letter.open else ", replayed"
    return f"{letter.id}  {letter.at[:19]}Z  {letter.stage}  {where}{replayed}\n    {what}{line}"


def _print(text: str) -> None:
    sys.stdout.write("\n".join(map(_plain, text.split("\n"))) + "\n")


def _plain(text: str) -> str:
    """What others wrote, without what would steer a terminal."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _print_json(value: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
