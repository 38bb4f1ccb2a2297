"""``make convergence``: many cases, what they met, and how they differed (not at all)."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.convergence.arrangement import CRASHES, MET
from tests.convergence.case import Case, run, smallest
from tests.convergence.histories import START_US
from tests.convergence.mutants import MUTANTS
from tests.convergence.reference import Outcome

ENOUGH = 40  # cases within which a mutant must be caught
WINDOW = 4  # cases handed to each process ahead


def main(arguments: list[str] | None = None) -> int:
    """0 without differences, and with nothing that should have been met at zero."""
    parser = argparse.ArgumentParser(prog="make convergence", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first case's seed (0)")
    parser.add_argument("--seed", type=int, help="run this case only, and make it as small as it still fails")
    parser.add_argument("--mutants", action="store_true", help="plant faults in the engine and see each caught")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    console = Console()
    if options.mutants:
        return _mutants(console)
    if options.seed is not None:
        return _report(console, [run(options.seed)])
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        task = progress.add_task("cases", total=options.cases)
        cases = []
        for case in _cases(options.first, options.cases, options.processes):
            cases.append(case)
            progress.advance(task)
            if case.differences:
                progress.console.print(f"seed {case.seed}: {len(case.differences)} differences")
    return _report(console, cases)


def _cases(first: int, count: int, processes: int) -> Iterator[Case]:
    seeds = iter(range(first, first + count))
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(run, seed) for seed in islice(seeds, processes * WINDOW)}
        while waiting:
            done = next(as_completed(waiting))
            waiting.remove(done)
            waiting |= {pool.submit(run, seed) for seed in islice(seeds, 1)}
            yield done.result()


def _report(console: Console, cases: list[Case]) -> int:
    counts = sum((case.counts for case in cases), Counter[str]())
    compared = sum((case.compared for case in cases), Counter[str]())
    failing = [case for case in cases if case.differences]
    console.print(f"cases {len(cases):,}")
    console.print(f"crashes injected {sum(counts[point] for point in CRASHES):,}")
    for point in CRASHES:
        console.print(f"  {point} {counts[point]:,}")
    for what in MET:
        console.print(f"{what} {counts[what]:,}")
    for name in Outcome._fields:
        console.print(f"{name.replace('_', ' ')} compared {compared[name]:,}")
    for case in failing[:3]:
        _tell(console, case)
    console.print(f"differences {sum(len(case.differences) for case in cases):,}")
    unmet = [what for what in (*CRASHES, *MET) if not counts[what]]
    unmet += [name for name in Outcome._fields if not compared[name]]
    if unmet and len(cases) > 1:
        console.print(f"never met: {', '.join(unmet)}")
        return 1
    return 1 if failing else 0


def _tell(console: Console, case: Case) -> None:
    """A failing case: how it differs, and the smallest history that still does."""
    console.print(f"\n[bold]seed {case.seed}[/] (again: make convergence ARGS='--seed {case.seed}')")
    for line in case.differences[:6]:
        console.print(f"  {line}", markup=False, highlight=False)
    story = smallest(case.seed)
    console.print("  the smallest part of its history that differs, in seconds:")
    for one in sorted(story.told, key=lambda one: (one.us, one.run)):
        at = f"{(one.us - START_US) / 1e6:g}"
        text = f"{at:>8} {one.source}/{one.stream}/{one.key} {one.op} {dict(one.after)} {one.id}"
        console.print(f"  {text}", markup=False, highlight=False)
    for press in story.pressed:
        text = f"{(press.us - START_US) / 1e6:>8g} {press.rule} on {press.entity} {press.match_key} is resolved"
        console.print(f"  {text}", markup=False, highlight=False)


def _mutants(console: Console) -> int:
    missed = 0
    for name, mutant in MUTANTS.items():
        with mutant():
            caught = next((number for number in range(1, ENOUGH + 1) if run(number - 1).differences), 0)
        missed += not caught
        console.print(f"{name}: {f'caught by case {caught}' if caught else '[bold]not caught[/]'}")
    console.print(f"mutants {len(MUTANTS)}, not caught {missed}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
