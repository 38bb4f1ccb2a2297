"""Columns that grow: what was in them stays, and nobody who looks at one sees it change or go."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from flockiq.shared.stretching import double, stretch, stretched

LARGE = 300_000  # rows of int64 that have a mapping of their own


class Owner:
    """Something with a column."""

    def __init__(self, column: npt.NDArray[Any]) -> None:
        self.column = column


@pytest.mark.parametrize("first", [0, 3, 1_000, LARGE])
@pytest.mark.parametrize("width", [(), (3,), (2, 3)])
def test_a_column_keeps_its_rows_however_often_it_grows(first: int, width: tuple[int, ...]) -> None:
    """Small and large, from one to the other, of any shape."""
    rng = np.random.default_rng(1)
    owner = Owner(rng.integers(0, 100, (first, *width)).astype(np.int32))
    was = owner.column.copy()
    for size in (first + 1, 5_000 + first, 2 * LARGE, 4 * LARGE):
        stretch(owner, "column", size)
        assert owner.column.shape == (size, *width)
        assert (owner.column[: len(was)] == was).all()
        owner.column[len(was) :] = size % 97  # all of it can be written
        was = owner.column.copy()


def test_who_looks_at_a_column_sees_it_as_it_was() -> None:
    """It is copied then, and what is written to the longer one is not seen."""
    owner = Owner(stretched(np.arange(LARGE), 2 * LARGE, LARGE))
    looking = owner.column[10:20]
    stretch(owner, "column", 8 * LARGE)
    owner.column[10:20] = -1
    assert looking.tolist() == list(range(10, 20))
    assert (owner.column[20:LARGE] == np.arange(20, LARGE)).all()


def test_a_part_of_a_column_grows_into_one_of_its_own() -> None:
    """Only what begins where its mapping does can go on in it."""
    part = stretched(np.arange(LARGE), 2 * LARGE, LARGE)[5:LARGE]
    grown = stretched(part, 3 * LARGE, len(part))
    assert (grown[: LARGE - 5] == np.arange(5, LARGE)).all()


def test_a_large_column_is_not_copied() -> None:
    """What is behind its used rows is still there, which a copy would leave out."""
    owner = Owner(stretched(np.arange(LARGE), 2 * LARGE, LARGE))
    owner.column[LARGE] = 7
    double(owner, "column", 1, 4 * LARGE)
    assert owner.column[LARGE] == 7


def test_room_doubles_and_is_not_made_where_there_is_enough() -> None:
    """So growing value by value is little work."""
    owner = Owner(np.arange(100))
    before = owner.column
    double(owner, "column", 50, 100)
    assert owner.column is before
    double(owner, "column", 100, 101)
    assert len(owner.column) == 200
    assert owner.column[:100].tolist() == list(range(100))
