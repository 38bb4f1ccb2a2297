"""``make azure-storm``: what struck, what was compared, and how it differed (not at all)."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flockiq.cli.hold import free_port
from flockiq.shared.errors import FlockIQError
from flockiq.shared.settings import PORTS
from tests.azure.storm.storm import Options, Outcome, run
from tests.azure.storm.weather import NEVER, ROOT
from tests.peers.serve import PLACES

WIDTH = 110  # columns that the table of faults needs


def main(arguments: list[str] | None = None) -> int:
    """0 if every kind of fault struck at every port, the story was found, and nothing differs."""
    parser = argparse.ArgumentParser(prog="make azure-storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=6, help="how often the app is killed (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="when, what strikes, and what is sampled (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/azure-storm"), help="a folder of its own (%(default)s)")
    parser.add_argument(
        "--ports", nargs="+", choices=list(PLACES), default=list(PLACES), help="those on Azure's adapters"
    )
    parser.add_argument("--no-story", dest="story", action="store_false", help="end it after the last kill")
    parser.add_argument("--hosts", type=int, choices=(1, 2), default=1, help="2: another joins in each life, and dies")
    given = parser.parse_args(arguments)
    if given.hosts > 1 and set(given.ports) != set(PORTS):
        parser.error("hosts share nothing but Azure's services: --hosts 2 needs every port there")
    if given.data.exists() and any(given.data.iterdir()) and not (given.data / "peers.log").exists():
        parser.error(f"a storm begins with an empty folder, and {given.data} is not")
    options = Options(
        ports=given.ports,
        kills=given.kills,
        data=given.data.absolute(),
        config=ROOT / "config",
        port=free_port(0),
        seed=given.seed,
        story=given.story,
        hosts=given.hosts,
    )
    console = Console()
    console.width = max(console.width, WIDTH)
    embedded = [port for port in PORTS if port not in given.ports]
    console.print(f"on Azure's adapters: {', '.join(given.ports)}; embedded: {', '.join(embedded) or 'none'}")
    try:
        outcome = asyncio.run(run(options, lambda line: console.print(line, highlight=False)))
    except FlockIQError as error:
        console.print(str(error), markup=False, highlight=False)
        return 1
    return _report(console, outcome)


def _report(console: Console, outcome: Outcome) -> int:
    console.print(_table(outcome))
    console.print(f"kills {outcome.kills}")
    outcome.report.show(console)
    wrong = [f"never struck: {one}" for one in outcome.never]
    wrong += [f"nothing to compare: {one}" for one in outcome.report.untested]
    if outcome.verdict is not None:
        story = outcome.verdict
        console.print(
            f"story {story.found} of {story.planted} found, {story.missed} missed, {story.unexpected} unexpected"
        )
        wrong += story.details
    for line in wrong:
        console.print(line, markup=False, highlight=False)
    return 1 if wrong or outcome.report.total else 0


def _table(outcome: Outcome) -> Table:
    table = Table("fault", *outcome.struck, title="faults injected, by kind and adapter")
    for kind in sorted({kind for kinds in outcome.struck.values() for kind in kinds}):
        cells = [
            "" if kind not in kinds or kind in NEVER.get(port, {}) else str(kinds[kind])
            for port, kinds in outcome.struck.items()
        ]
        table.add_row(kind, *cells)
    table.add_row("all", *(str(sum(kinds.values())) for kinds in outcome.struck.values()))
    return table


if __name__ == "__main__":
    sys.exit(main())
