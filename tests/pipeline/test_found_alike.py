"""Machine code finds where drift begins and ends exactly as numpy does."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.pipeline import compiled
from flockiq.pipeline.findings import found
from flockiq.pipeline.rounds import Passed
from flockiq.pipeline.types import empty_rows
from flockiq.pipeline.warm import LAYOUT
from flockiq.pipeline.world import Plan, World
from flockiq.shared.rows import Rows
from flockiq.signal.seen import Observed

ENTITIES = 5
ROWS = st.lists(st.tuples(st.integers(0, ENTITIES - 1), st.booleans(), st.booleans(), st.booleans()), max_size=40)
SCORES = st.lists(st.one_of(st.floats(width=32), st.sampled_from([9.0, -9.0])), max_size=9)


@settings(deadline=None)
@given(ROWS, st.lists(st.booleans(), min_size=2 * ENTITIES, max_size=2 * ENTITIES), SCORES)
def test_drift_begins_and_ends_in_the_same_places(
    said: list[tuple[int, bool, bool, bool]], drifting: list[bool], scores: list[float]
) -> None:
    """Whichever rows are judged, of whichever entities, in whatever order; so does what is known of since when."""
    functions, n = compiled.ready(), len(said)
    assert functions is not None, compiled.failure()
    rows = _rows([one[0] for one in said])
    judged = np.flatnonzero(np.array([one[1] for one in said], np.bool_))
    drift = np.array([one[2:] for one in said], np.bool_).reshape(n, 2)[judged]
    before = np.array(drifting, np.bool_).reshape(ENTITIES, 2)[rows.entity]
    worlds = World.empty(LAYOUT, ENTITIES, 1), World.empty(LAYOUT, ENTITIES, 1)
    for world in worlds:
        world.signs.since[:] = np.arange(2 * ENTITIES).reshape(ENTITIES, 2)
    passed = _passed(judged, drift, np.array(scores[: len(judged)], np.float64))
    plain, swift = (
        found(world, LAYOUT, rows, passed, before, how) for world, how in zip(worlds, (None, functions), strict=True)
    )
    np.testing.assert_array_equal(plain[0], swift[0])
    assert len(plain[1]) == len(swift[1])
    for one, other in zip(plain[1], swift[1], strict=True):
        for column, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(column, same)
    np.testing.assert_array_equal(worlds[0].signs.since, worlds[1].signs.since)


def _rows(entities: list[int]) -> Rows:
    """Rows of some entities, one after the other."""
    rows, n = empty_rows(Plan(LAYOUT, ())), len(entities)
    columns: dict[str, Any] = {name: np.zeros((n, *getattr(rows, name).shape[1:]), np.int64) for name in Rows.names}
    number = np.arange(n)
    return Rows(**(columns | {"entity": np.array(entities, np.int64), "event": 1000 + number, "us": number}))


def _passed(judged: np.ndarray[Any, Any], drift: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> Passed:
    """A fold that did nothing but this."""
    none, count = np.zeros(0, np.int64), len(scores)
    observed = Observed(np.full(count, 3), judged[:count], *[scores] * 5)
    fresh = np.zeros(len(judged), np.bool_)
    golden = np.zeros((len(judged), len(LAYOUT.fields)), np.int64)
    deltas = none, none, none.astype(np.int8), *[none] * 5
    return Passed(judged, golden, fresh, drift, *deltas, observed)
