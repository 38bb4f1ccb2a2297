"""Numbers, each once: however few of them are asked for, and however they come."""

from __future__ import annotations

import numpy as np
import pytest

from flockiq.shared.arrays import distinct, distinct_of


@pytest.mark.parametrize("below", [1, 40, 100_000])
@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_each_is_given_once_in_order(n: int, below: int) -> None:
    """Of dense numbers and of a few, of numbers in order here and there and in none."""
    numbers = np.random.default_rng(n + below).integers(0, below, n)
    for given in (numbers, np.sort(numbers), np.concatenate([np.sort(numbers[: n // 2]), np.sort(numbers[n // 2 :])])):
        found = distinct(given, below)
        np.testing.assert_array_equal(found, np.unique(numbers))
        np.testing.assert_array_equal(distinct_of(given), found)
        assert found.dtype == np.int64


def test_what_was_given_stays_as_it_is() -> None:
    """No order is made of it, and none of it is given away."""
    numbers = np.array([3, 1, 3])
    found = distinct_of(numbers)
    found[:] = 9
    assert numbers.tolist() == [3, 1, 3]
    assert not np.shares_memory(distinct_of(numbers[:0]), numbers)
