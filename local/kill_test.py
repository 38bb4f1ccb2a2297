"""Kill the app at random moments and hold what is left against the truth.

The app runs with its sample systems; it is killed (-9) and started again N times, at random moments
from its first second on. Then the systems stop editing, the app comes to rest, and is compared with
a clean replay and with the sources themselves (``compared``).

``python -m flockiq kill-test`` prints kills, records, what was compared, and the differences.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flockiq.local.compared import Report, compared
from flockiq.local.lives import App
from flockiq.local.samples import systems
from flockiq.local.settled import settled

SHORTEST_S, LONGEST_S = 0.5, 8.0  # of the app's life between two kills


class Options(NamedTuple):
    """What a kill test was asked to do."""

    kills: int
    data: Path
    config: Path
    port: int
    seed: int


def run(options: Options) -> int:
    """Run it and print what came of it; 0 without differences."""
    console = Console()
    shutil.rmtree(options.data, ignore_errors=True)
    options.data.mkdir(parents=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        report = asyncio.run(_run(options, progress))
    console.print(f"kills {options.kills}")
    report.show(console)
    if report.untested:
        missing = " and no ".join(report.untested)
        console.print(f"That tested too little: there were no {missing}. Kill it more often.")
    return 1 if report.total or report.untested else 0


async def _run(options: Options, progress: Progress) -> Report:
    rng = random.Random(options.seed)  # noqa: S311 - moments to die at, not secrets
    app = App(options.data, options.config, options.port, ("--seed", str(options.seed)))
    killing = progress.add_task("killing", total=options.kills)
    try:
        for _ in range(options.kills):
            async with app.alive():
                await asyncio.sleep(rng.uniform(SHORTEST_S, LONGEST_S))
            progress.advance(killing)
        resting = progress.add_task("coming to rest", total=1)
        async with app.alive() as process:
            await settled(app, process)
            await app.end(process)
        progress.advance(resting)
    finally:
        await systems.stop(options.data)
    comparing = progress.add_task("comparing", total=2)
    return await compared(app, lambda: progress.advance(comparing))
