"""Shows a run as it goes: a table that redraws itself, or lines where there is no terminal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from flockiq.cli.picture import Fired, Picture
from flockiq.cli.view import Screen, alert_line, line, plain
from flockiq.cli.watch import Watch

LOOK_EVERY_S = 1.0
LINE_EVERY_S = 5.0
LOG_BYTES = 5_000_000  # of each of the log's files
LOG_FILES = 3


async def show(watch: Watch, console: Console) -> None:
    """Show what ``watch`` sees until cancelled."""
    if console.is_terminal:
        await _live(watch, console)
    else:
        await _lines(watch, console)


async def _live(watch: Watch, console: Console) -> None:
    # Drawn only when there is a new picture; what is logged meanwhile appears above the table.
    with Live(Screen(await watch.look()), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            live.update(Screen(await watch.look()), refresh=True)


async def _lines(watch: Watch, console: Console) -> None:
    told: set[tuple[str, str]] = set()
    since_line = LINE_EVERY_S
    while True:
        picture = await watch.look()
        for alert in news(picture, told):
            _print(console, "  " + alert_line(alert))
        if since_line >= LINE_EVERY_S:
            _print(console, line(picture))
            since_line = 0.0
        await asyncio.sleep(LOOK_EVERY_S)
        since_line += LOOK_EVERY_S


def news(picture: Picture, told: set[tuple[str, str]]) -> Iterator[Fired]:
    """The alerts whose present status is not among ``told``, oldest first; they are added to it."""
    for alert in reversed(picture.alerts):
        if (alert.id, alert.status) not in told:
            told.add((alert.id, alert.status))
            yield alert


class _Above(logging.Handler):
    """Prints warnings and errors through the console that draws the table, so that neither breaks the other."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Each line as plain text: a message may quote a customer's data."""
        for text in self.format(record).splitlines():
            indent = len(text) - len(text.lstrip(" "))
            _print(self._console, " " * indent + plain(text))


@contextmanager
def logged(folder: Path, console: Console) -> Iterator[Path]:
    """Keep the log in ``run.log`` under ``folder``; warnings and errors also reach the console."""
    path = folder / "run.log"
    keep = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8")
    keep.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    above = _Above(console)
    above.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    for handler in (keep, above):
        root.addHandler(handler)
    for chatty in ("azure", "httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        yield path
    finally:
        for handler in (keep, above):
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)


def _print(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
