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
REPEAT_S = 60.0
REMEMBERED = 200  # messages, so as to know one that is repeated


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
    due_s = 0.0
    while True:
        picture = await watch.look()
        for alert in news(picture, told):
            tell(console, "  " + alert_line(alert))
        if picture.elapsed_s >= due_s:
            tell(console, line(picture))
            due_s = picture.elapsed_s + LINE_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)


def news(picture: Picture, told: set[tuple[str, str]]) -> Iterator[Fired]:
    """The alerts whose present status is not among ``told``, oldest first; they are added to it."""
    for alert in reversed(picture.alerts):
        if (alert.id, alert.status) not in told:
            told.add((alert.id, alert.status))
            yield alert


class Above(logging.Handler):
    """Prints warnings and errors through the console that draws the table, so that neither breaks the other.

    What repeats itself is printed once in REPEAT_S; the log keeps every time.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console
        self._printed: dict[str, float] = {}  # when each was printed last

    def emit(self, record: logging.LogRecord) -> None:
        """Each line as plain text: a message may quote a customer's data."""
        text = self.format(record)
        if record.created - self._printed.get(text, -REPEAT_S) < REPEAT_S:
            return
        if len(self._printed) >= REMEMBERED:
            self._printed.clear()
        self._printed[text] = record.created
        for each in text.splitlines():
            indent = len(each) - len(each.lstrip(" "))
            tell(self._console, " " * indent + plain(each))


@contextmanager
def logged(folder: Path, console: Console) -> Iterator[Path]:
    """Keep the log in ``run.log`` under ``folder``; warnings and errors also reach the console."""
    path = folder / "run.log"
    keep = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8")
    keep.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    above = Above(console)
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


def tell(console: Console, text: str) -> None:
    """Print one line as it is: no markup, no colours made up, no wrapping."""
    console.print(Text(text), soft_wrap=True)
