"""A table from lanes to integers that compiled code can read: open addressing in two arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

NOTHING = np.iinfo(np.int64).min  # no lane: an empty place


class Lookup(NamedTuple):
    """The arrays of a table: as many places as a power of two, at most half of them taken."""

    keys: Int64s
    values: Int64s


def places(count: int) -> Lookup:
    """An empty table with room for ``count`` keys."""
    size = 1 << max(2 * count - 1, 15).bit_length()
    return Lookup(np.full(size, NOTHING, np.int64), np.zeros(size, np.int64))
