"""Part ``growth``: what an event costs when there are ten times as many, over ten times the entities."""

from __future__ import annotations

import time
from statistics import fmean
from typing import NamedTuple

from flockiq.bench.engine import Engine
from flockiq.bench.engine_part import Alone, Say, peak_rss_mb, run_alone
from flockiq.bench.fresh import fresh
from flockiq.bench.history import Size
from flockiq.bench.workload import Workload, batches, plan, workload

TIMES = 10


class Turns(NamedTuple):
    """One run over the larger workload, and those over the smaller between its stretches."""

    lines: int
    cpu_s: float
    peak_rss_mb: float
    small: list[Alone]


def growth_part(events: int, say: Say) -> dict[str, object]:
    """CPU per event over ``events`` and over ten times as many; both workloads are of the same kind."""
    small, large = Size(events, events // 10), Size(TIMES * events, TIMES * events // 10)
    say(f"growth: {large.events:,} events over {large.entities:,} entities, {small.events:,} after each tenth of them")
    runs = fresh(in_turns, workload(large), workload(small))
    of_small = fmean(run.cpu_s / run.lines for run in runs.small)
    of_large = runs.cpu_s / runs.lines
    return {
        "small": _found(small, of_small, runs.small[-1].peak_rss_mb),
        "large": _found(large, of_large, runs.peak_rss_mb),
        "cost_ratio": round(of_large / of_small, 2),
    }


def _found(size: Size, cost_s: float, peak_mb: float) -> dict[str, object]:
    return {**size._asdict(), "cpu_us_per_event": round(cost_s * 1e6, 2), "peak_rss_mb": peak_mb}


def in_turns(large: Workload, small: Workload) -> Turns:
    """The engine over the larger workload, and after each tenth of it anew over the smaller, in another process.

    So what disturbs one disturbs both: the machine's speed varies over the minutes that the larger takes.
    """
    engine, between = Engine(plan()), list[Alone]()
    lines, cpu_s = 0, 0.0
    begun = time.process_time()
    for bodies in batches(large.timed()):
        effects = engine.give(bodies)
        engine.committed()
        lines += sum(len(effect.logged) + effect.duplicates + effect.too_late for effect in effects.values())
        if lines * TIMES >= (len(between) + 1) * large.facts.lines:
            cpu_s += time.process_time() - begun
            between.append(fresh(run_alone, small, 0.0))
            begun = time.process_time()
    return Turns(large.facts.lines, cpu_s, peak_rss_mb(), between)
