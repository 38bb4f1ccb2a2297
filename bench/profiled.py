"""Where the time goes, function by function: ``python -m flockiq.bench.profiled engine|pipeline [EVENTS]``.

``engine`` profiles what part engine measures; ``pipeline`` the owners of hubs ``changes`` and
``resolved``, one batch after another. cProfile makes small Python functions look dearer than they are:
read shares, not times.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from flockiq.bench.engine import Engine
from flockiq.bench.history import Size
from flockiq.bench.steps import WARM, replayed
from flockiq.bench.workload import CACHE, ROOT, batches, plan, workload
from flockiq.merge.changes import Changes
from flockiq.pipeline import compiled
from flockiq.pipeline.resolved import Resolved

SHOWN = 30


def profiled(profile: cProfile.Profile) -> str:
    """The functions that take most time themselves, as text without the machine's paths."""
    profile.create_stats()
    rows = sorted(pstats.Stats(profile).stats.items(), key=lambda row: -row[1][2])  # type: ignore[attr-defined]
    whole = sum(row[1][2] for row in rows)
    text = [f"{'own':>6} {'with callees':>12} {'calls':>10}  function"]
    for (file, line, name), (_, calls, own, below, _) in rows[:SHOWN]:
        place = f"{_short(file)}:{line} {name}" if line else name
        text.append(f"{own / whole:6.1%} {below / whole:12.1%} {calls:10,}  {place}")
    return "\n".join(text)


def _short(file: str) -> str:
    """A file's path inside the project, or its last two parts."""
    path = Path(file)
    return (
        str(path.relative_to(ROOT))
        if path.is_relative_to(ROOT) and ".venv" not in path.parts
        else "/".join(path.parts[-2:])
    )


def engine(events: int) -> str:
    """The engine over the all-changed workload."""
    work = workload(Size(events, max(events // 10, 10)))
    given, profile = Engine(plan()), cProfile.Profile()
    for bodies in batches(work.timed()):
        profile.enable()
        given.give(bodies)
        profile.disable()
        given.committed()
    return profiled(profile)


def pipeline(events: int) -> str:
    """The folds of both functions in machine code, telling and encoding included, on the threads they run on."""
    compiled.use("wait")
    profile = cProfile.Profile()
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        asyncio.run(replayed(Path(folder), WARM))
    Changes.fold = _watched(Changes.fold, profile)  # type: ignore[method-assign]
    Resolved.fold = _watched(Resolved.fold, profile)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        asyncio.run(replayed(Path(folder), Size(events, max(events // 10, 10))))
    return profiled(profile)


def _watched[**P, Result](call: Callable[P, Result], profile: cProfile.Profile) -> Callable[P, Result]:
    """The method, profiled on whichever thread it runs."""

    def run(*args: P.args, **kwargs: P.kwargs) -> Result:
        return profile.runcall(call, *args, **kwargs)

    return run


if __name__ == "__main__":
    what, *size = sys.argv[1:]
    print({"engine": engine, "pipeline": pipeline}[what](int(size[0]) if size else 100_000))
