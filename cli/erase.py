"""``flockiq erase``: remove a person or company from every store, and say what was removed where.

While the app runs it does the work and is asked how far it is; otherwise this process works the hubs off itself.
Ctrl-C ends nothing that cannot go on: the same command goes on where it was.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import msgspec
from rich.console import Console
from rich.table import Table

import flockiq
from flockiq.cli import app
from flockiq.cli.bars import Bar, bar
from flockiq.cli.hold import InUse, data_folder
from flockiq.cli.view import plain
from flockiq.local.folding import Folding
from flockiq.local.history import Taking
from flockiq.local.host.settings import read_local_settings
from flockiq.shared import settings
from flockiq.shared.config.load import load
from flockiq.shared.erasure import AGAIN_US, Erasure, erase
from flockiq.shared.errors import Conflict, FlockIQError
from flockiq.shared.services import connect

APP: Final = Path(flockiq.__file__).resolve().parent
LOOK_S: Final = 0.5
PATIENCE_S: Final = 300.0  # for an app that does not carry it out: a partition may be held
_SAID: Final = {
    "letters": "looking through dead letters",
    "changes": "waiting for the records to be forgotten",
    "resolved": "waiting for the entities to be forgotten",
    "stores": "removing it from the stores",
}

type Ask = Callable[[str], Awaitable[Erasure]]
"""Goes on with the erasure of a key, for a while."""


class Options(NamedTuple):
    """What is to be erased, and where."""

    data: Path
    config: Path
    url: str  # of an app elsewhere; "" for the one of the data folder
    keys: tuple[str, ...]
    kind: str  # an entity type; "" for all
    json: bool


def run(options: Options) -> int:
    """Erase; 0 if everything could be removed, 1 if something could not or nothing was known."""
    with bar("looking for it") as show:
        erasures = asyncio.run(_erased(options, show))
    if options.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(erasures), indent=2).decode() + "\n")
    else:
        for key, erasure in zip(options.keys, erasures, strict=True):
            _show(key, erasure)
    return 0 if all(one.removed and not one.failed for one in erasures) else 1


async def _erased(options: Options, show: Bar) -> list[Erasure]:
    async with _asking(options) as ask:
        count = len(options.keys)
        return [
            await _to_its_end(ask, key, lambda what, part, behind=behind: show(what, (behind + part) / count))
            for behind, key in enumerate(options.keys)
        ]


async def _to_its_end(ask: Ask, key: str, show: Bar) -> Erasure:
    began, phase = time.monotonic(), ""
    while True:
        try:
            erasure = await ask(key)
        except Conflict:  # another goes on with it at the same time
            await asyncio.sleep(LOOK_S)
            continue
        if erasure.done:  # only here it was: an answer that got lost is no reason to say that it was before
            return msgspec.structs.replace(erasure, repeated=erasure.repeated and not phase)
        if erasure.phase != phase:
            began, phase = time.monotonic(), erasure.phase
        if phase != "stores" and time.monotonic() - began > PATIENCE_S:
            raise FlockIQError(
                f"Not everything was forgotten within {PATIENCE_S:.0f} s: does the app run, and is it well "
                "(/api/health)? The same command goes on from here."
            )
        show(_SAID[phase], erasure.part)
        await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def _asking(options: Options) -> AsyncIterator[Ask]:
    """The running app if there is one, else the folder's services, held so that no app starts meanwhile."""
    if options.url:
        async with app.of_url(options.url) as client:
            yield _of_app(client, options.kind)
        return
    if not options.data.is_dir():
        raise FlockIQError(f"There is no data folder {options.data}: name the one of the app with --data DIR.")
    with ExitStack() as held:
        try:
            held.enter_context(data_folder(options.data))
        except InUse as error:
            async with app.of_folder(options.data, error.holder) as client:
                yield _of_app(client, options.kind)
            return
        given = {"FLOCKIQ_DATA": str(options.data.absolute()), "FLOCKIQ_CONFIG": str(options.config.absolute())}
        services = connect(settings.read({**read_local_settings(APP), **os.environ, **given}))
        config = load(options.config, os.environ)
        folding, taking = Folding(services, config), Taking()

        async def ask(key: str) -> Erasure:
            erasure = await erase(services, config, key, options.kind, time.time_ns() // 1000, within_s=0)
            if erasure.phase in ("changes", "resolved"):
                await folding.off()
            return erasure

        try:
            taking.start(services)
            await taking.stop()  # what worker processes left for the history when they were killed
            yield ask
        finally:
            await services.close()


def _of_app(client: httpx.AsyncClient, kind: str) -> Ask:
    async def ask(key: str) -> Erasure:
        return await app.ask(client, "POST", "/api/erasures", Erasure, body={"key": key, "type": kind})

    return ask


def _show(key: str, erasure: Erasure) -> None:
    console = Console()
    found = ", ".join(erasure.found) or "no entity that the history has"
    console.print(f"{plain(key)}: {found}; erased as of {erasure.at[:19]}Z", markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("where")
    table.add_column("what")
    table.add_column("removed", justify="right")
    table.add_column("what remains, until when and why", overflow="fold")
    for line in erasure.lines:
        remains = f"NOT REMOVED: {line.failed}" if line.failed else line.remains
        table.add_row(line.store, line.what, f"{line.removed:,}", plain(remains))
    console.print(table, markup=False)
    if erasure.repeated:
        again = f"The same command looks once more {AGAIN_US // 1_000_000} s after that."
        console.print(f"It was erased by {erasure.done_at[:19]}Z: this is the report of then. {again}", highlight=False)
    if not erasure.removed:
        console.print("Nothing was known under this key. The page's search tells keys as they are kept.")
    if erasure.failed:
        console.print("Something could not be removed. Mend what the lines name, and run the command again.")
