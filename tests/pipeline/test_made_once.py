"""Machine code is made before it is needed: no batch, of whatever size, is waited for by a compiler."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from flockiq.bench.engine import Engine
from flockiq.bench.history import Size
from flockiq.bench.workload import batches, plan, workload
from flockiq.pipeline import compiled


def met(folder: Path) -> dict[str, int]:
    """How many types each function has been called with, by large and by small batches."""
    compiled.use("wait")
    engine = Engine(plan())
    for size, most in ((Size(2_000, 200), 0), (Size(300, 1), 1), (Size(300, 40), 2)):
        for bodies in batches(workload(size, cache_folder=folder).timed(), most):
            engine.give(bodies)
            engine.committed()
    functions = compiled.ready()
    assert functions is not None
    return {name: len(getattr(functions, name).signatures) for name in functions._fields}


def test_no_size_of_a_batch_or_a_state_is_compiled_for_anew(tmp_path: Path) -> None:
    """An array of one row may be of another type to a compiler than one of many: each function has met one type."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:  # where no test has called one by itself
        types = other.submit(met, tmp_path).result()
    assert types.pop("run_block") <= 1  # a part of ``judge``; by itself for whoever asks one condition
    assert set(types.values()) == {1}, types
