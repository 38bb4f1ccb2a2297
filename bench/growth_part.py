"""Part ``growth``: what an event costs when there are ten times as many, over ten times the entities."""

from __future__ import annotations

from flockiq.bench.engine_part import Say, run_alone
from flockiq.bench.fresh import fresh
from flockiq.bench.history import Size
from flockiq.bench.workload import workload

TIMES = 10


def growth_part(events: int, say: Say) -> dict[str, object]:
    """CPU per event over ``events`` and over ten times as many; both workloads are of the same kind."""
    small, large = Size(events, events // 10), Size(TIMES * events, TIMES * events // 10)
    found: dict[str, object] = {}
    cost = {}
    for name, size in (("small", small), ("large", large)):
        say(f"growth: {size.events:,} events over {size.entities:,} entities")
        run = fresh(run_alone, workload(size), 0.0)
        cost[name] = run.cpu_s / run.lines
        found[name] = {**size._asdict(), "cpu_us_per_event": round(cost[name] * 1e6, 2), "peak_rss_mb": run.peak_rss_mb}
    return found | {"cost_ratio": round(cost["large"] / cost["small"], 2)}
