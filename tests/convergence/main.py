"""``make convergence``: generated histories through the whole engine, held against a row-by-row reference.

Each case tells one history in several arrangements (random order, repeated, cut at random, with
kills, rivals and refusals at every point of a commit) and ends with one tick of the clock. Golden
records, effective deltas and open alerts must equal the reference's, which shares no code with the
engine. ``--seed`` runs one case again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.convergence.arrangement import Arrangement
from tests.convergence.histories import CLOCK_US, history
from tests.convergence.reference import Outcome, expected

ARRANGEMENTS = 3
SHOWN = 6  # differences printed of a failing case


class Case(NamedTuple):
    """What one case came to."""

    counts: Counter[str]
    differences: list[str]


def run_case(seed: int, arrangements: int = ARRANGEMENTS, compact: float = 0.0) -> Case:
    """Tell one history in several arrangements and compare each with the reference."""
    told = history(seed)
    right = expected(told, CLOCK_US)
    counts: Counter[str] = Counter(versions=len(told.told))
    differences: list[str] = []
    for number in range(arrangements):
        one = Arrangement(told, CLOCK_US, f"{seed}/{number}", plain=number == 0, compact=compact)
        try:
            found = asyncio.run(one.run())
        except AssertionError as error:
            differences.append(f"seed {seed}, arrangement {number}: {error}")
            continue
        counts += one.counts
        for what in Outcome._fields:
            counts[f"compared {what.replace('_', ' ')}"] += len(getattr(right, what))
        differences += [f"seed {seed}, arrangement {number}: {line}" for line in _differences(right, found)]
    return Case(counts, differences)


def _differences(right: Outcome, found: Outcome) -> list[str]:
    lines = []
    for what in ("golden_records", "open_alerts"):
        expected_, given = getattr(right, what), getattr(found, what)
        lines += [
            f"{what} {key}: {given.get(key)}, expected {expected_.get(key)}"
            for key in sorted(expected_.keys() | given.keys())
            if given.get(key) != expected_.get(key)
        ]
    lines += [
        f"effective_deltas: not expected, but told: {one}" for one in found.effective_deltas - right.effective_deltas
    ]
    lines += [f"effective_deltas: missing: {one}" for one in right.effective_deltas - found.effective_deltas]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for; 0 when nothing differs and nothing compared was empty."""
    parser = argparse.ArgumentParser(prog="make convergence", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, metavar="N", help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="of the first case (%(default)s)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="run this case alone")
    parser.add_argument(
        "--compact",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of arrangements in which more than the lateness passes in the middle (%(default)s)",
    )
    options = parser.parse_args(arguments)
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.cases)
    console = Console()
    counts: Counter[str] = Counter()
    differences: list[str] = []
    failed: list[int] = []
    columns = (TextColumn("cases"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        for seed in progress.track(list(seeds)):
            case = run_case(seed, compact=options.compact)
            counts += case.counts
            differences += case.differences
            failed += [seed] if case.differences else []
    console.print(f"cases {len(list(seeds))}, arrangements of each {ARRANGEMENTS}")
    crashes = sum(number for name, number in counts.items() if name.startswith("killed"))
    console.print(f"crashes injected {crashes:,}")
    for name, number in sorted(counts.items()):
        console.print(f"{name} {number:,}", highlight=False)
    for line in differences[:SHOWN]:
        console.print(line, markup=False, highlight=False)
    if failed:
        console.print(f"failing seeds {failed[:20]}; make convergence ARGS='--seed {failed[0]}' runs the first again")
    console.print(f"differences {len(differences)}")
    nothing = [name for name in Outcome._fields if not counts[f"compared {name.replace('_', ' ')}"]]
    return 1 if differences or nothing or (options.seed is None and not crashes) else 0


if __name__ == "__main__":
    sys.exit(main())
