"""Columns whose rows lie together are the same columns, wherever they lie."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from flockiq.shared.arrays import Arrays
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.structs import Structs


class Apart(Arrays):
    """Columns each for themselves."""

    flag: Bools
    word: Int64s
    cube: npt.NDArray[np.int8]
    none: Int64s
    place: npt.NDArray[np.int32]
    real: npt.NDArray[np.float64]


class Together(Structs):
    """The same, together."""

    flag: Bools
    word: Int64s
    cube: npt.NDArray[np.int8]
    none: Int64s
    place: npt.NDArray[np.int32]
    real: npt.NDArray[np.float64]


def columns(n: int, seed: int) -> dict[str, npt.NDArray[np.generic]]:
    """Columns of every width."""
    rng = np.random.default_rng(seed)
    return {
        "flag": rng.random(n) < 0.5,
        "word": rng.integers(-(1 << 62), 1 << 62, n),
        "cube": rng.integers(-128, 128, (n, 2, 3)).astype(np.int8),
        "none": np.empty((n, 0), np.int64),
        "place": rng.integers(-1, 1 << 31, (n, 3)).astype(np.int32),
        "real": rng.random((n, 2)),
    }


def both(n: int, seed: int = 1) -> tuple[Apart, Together]:
    """Two that are alike."""
    return Apart(**columns(n, seed)), Together(**columns(n, seed))


def alike(one: Arrays, other: Arrays) -> bool:
    """Whether two have the same columns, of the same types."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in one.names]
    return len(one) == len(other) and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_they_hold_what_they_were_given_each_value_where_it_may_be(n: int) -> None:
    """Nothing overlaps, and every column is aligned."""
    apart, together = both(n)
    assert alike(apart, together)
    assert all(getattr(together, name).flags.aligned for name in together.names)


@pytest.mark.parametrize("n", [0, 1, 50])
def test_rows_are_taken_and_put_as_of_columns_apart(n: int) -> None:
    """Copies are copies; what is put is there, and nothing else is changed."""
    rng = np.random.default_rng(3)
    apart, together = both(100)
    at = rng.permutation(100)[:n]
    one, other = apart.take(at), together.take(at)
    assert alike(one, other)
    news = both(n, seed=2)
    apart.put(at, news[0])
    together.put(at, news[1])
    assert alike(apart, together)
    assert alike(one, other)
    assert alike(apart.take(apart.flag), together.take(together.flag))


def test_what_is_put_may_be_of_other_types() -> None:
    """As of what an earlier version has stored: each value goes to its own place, in the type that is there."""
    apart, together = both(10)
    wider = columns(3, seed=2) | {"place": np.arange(9).reshape(3, 3), "cube": np.ones((3, 2, 3), np.int64)}
    at = np.array([7, 0, 2])
    apart.put(at, Apart(**wider))
    together.put(at, Together(**wider))
    assert alike(apart, together)


def test_a_column_is_written_into_never_over() -> None:
    """An array in a column's place would be seen by some, and the table by others."""
    _, together = both(3)
    with pytest.raises(AttributeError, match=r"word is a column of Together: write into it, word\[\.\.\.\] = "):
        together.word = np.zeros(3, np.int64)


@pytest.mark.parametrize("size", [64, 300_000])
def test_they_grow_where_they_are(size: int) -> None:
    """New rows are as the blank one, old ones as they were: also once they have a mapping of their own."""
    apart, together = both(50)
    blank = both(1, seed=5)
    for more in (size, 2 * size):
        apart.extend(blank[0], more)
        together.extend(blank[1], more)
        assert alike(apart, together)


def test_the_first_rows_are_no_copy() -> None:
    """What is written into them is written."""
    _, together = both(10)
    together.first(4).word[2] = 99
    assert together.word[2] == 99


def test_what_is_packed_is_what_columns_apart_give() -> None:
    """A state log has nothing to do with where columns lie."""
    apart, together = both(20)
    at = np.array([3, 1, 19])
    assert apart.packed() == together.packed()
    assert apart.packed(at) == together.packed(at)
    assert alike(Apart.unpacked(apart.packed()), Together.unpacked(together.packed()))
