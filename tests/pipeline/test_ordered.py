"""Rows in order and deltas compared: machine code does what sorting does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.pipeline import compiled
from flockiq.pipeline.ordered import order_of, ordered, plainly_shared, shared
from flockiq.pipeline.world import DeltaRows
from flockiq.shared.rows import Rows, in_order


@pytest.fixture(autouse=True)
def _compiled() -> None:
    compiled.use("wait")
    assert compiled.ready() is not None


def _rows(groups: list[int], positions: list[tuple[int, int, int]]) -> Rows:
    us, rr, tie = np.array(positions, np.int64).reshape(-1, 3).T
    columns = {name: np.arange(len(groups)) for name in Rows.names}
    return Rows(
        **columns | {"group": np.array(groups, np.int64), "us": us.copy(), "rr": rr.copy(), "event": tie.copy()}
    )


_FEW = st.integers(-2, 2)
_PLACED = st.lists(
    st.tuples(st.sampled_from([0, 1, 2047, 2048, 5_000_000]), st.tuples(_FEW, _FEW, _FEW)), min_size=1, max_size=60
)


@settings(deadline=None)  # a first call loads machine code
@given(_PLACED, st.integers(1, 40))
def test_rows_are_put_in_order_as_sorting_does(placed: list[tuple[int, tuple[int, int, int]]], times: int) -> None:
    """By group and position, equal ones as they came; of few groups and of groups with many rows."""
    placed = placed * times
    rows = _rows([group for group, _ in placed], [position for _, position in placed])
    order = order_of(rows)
    np.testing.assert_array_equal(order, in_order(rows))
    sorted_ = ordered(rows)
    assert ordered(sorted_) is sorted_


_DELTAS = st.lists(st.tuples(*[st.integers(0, 2)] * 5), max_size=30)


def _deltas(said: list[tuple[int, ...]]) -> DeltaRows:
    entity, field, old, new, event = np.array(said, np.int64).reshape(-1, 5).T
    other = np.arange(len(said))
    return DeltaRows(entity, field, other.astype(np.int8), old, new, event, *[other] * 5)


@settings(deadline=None)
@given(_DELTAS, _DELTAS)
def test_deltas_that_two_histories_share_are_found_as_sorting_finds_them(
    old: list[tuple[int, ...]], new: list[tuple[int, ...]]
) -> None:
    """Those with the same cause, entity, field, old and new value, told once or more often."""
    found, plain = shared(_deltas(old), _deltas(new)), plainly_shared(_deltas(old), _deltas(new))
    np.testing.assert_array_equal(found[0], plain[0])
    np.testing.assert_array_equal(found[1], plain[1])
    assert found[0].tolist() == [one in new for one in old]
