"""A bar for work whose end is known, on the terminal's error stream; gone once the work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from flockiq.cli.view import plain


class Bar(Protocol):
    """Told what is done now, and how much of the whole is behind: from 0 to 1."""

    def __call__(self, what: str, part: float) -> None:
        """Draw it."""
        ...


@contextmanager
def bar(what: str, console: Console | None = None) -> Iterator[Bar]:
    """A bar that begins with ``what``. It never goes back: what turns out to be more only makes it slower."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
        transient=True,
    ) as bars:
        task = bars.add_task(what, total=1.0)

        def show(what: str, part: float) -> None:
            behind = max(bars.tasks[0].completed, min(part, 1.0))
            bars.update(task, description=plain(what), completed=behind)

        yield show
