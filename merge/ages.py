"""When each source said each of its fields, without a position for every field.

A record that is told whole says all its fields at one position, its own. So a field either stands
with its source's newest row (NEWEST), or was never said (NEVER), or is OLDER: only records with a
field of that kind have a place in a table of positions.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from flockiq.shared.arrays import Arrays, roomier
from flockiq.shared.lanes import Int64s
from flockiq.shared.stretching import stretch

NEVER, NEWEST, OLDER = 0, 1, 2
NOWHERE = -1  # the place of a record none of whose fields is OLDER

Places = npt.NDArray[np.int32]


class Older(Arrays):
    """Positions of older fields: us, rr, hash int64 [m, F], m places; what a record's other fields have is of no use.

    ``free``: int32 [m], of which the first ``left`` are the places that nobody has.
    """

    us: Int64s
    rr: Int64s
    hash: Int64s

    def __init__(self, **columns: Int64s) -> None:
        super().__init__(**columns)
        self.free: Places = np.empty(len(self), np.int32)
        self.left = 0

    @classmethod
    def empty(cls, fields: int) -> Self:
        """No places."""
        return cls(**{name: np.empty((0, fields), np.int64) for name in cls.names})

    def room(self, count: int) -> None:
        """See to it that at least ``count`` places are free."""
        if count > self.left:
            there = len(self)
            size = roomier(there + count - self.left, there, times=1.5)
            self.lengthen(size)
            stretch(self, "free", size)
            self.free[self.left : self.left + size - there] = np.arange(there, size)[::-1]
            self.left += size - there

    def given(self, count: int) -> Places:
        """Places that from now on somebody has."""
        self.room(count)
        self.left -= count
        return self.free[self.left : self.left + count][::-1].copy()

    def freed(self, places: Places) -> None:
        """Take places back, each once."""
        self.free[self.left : self.left + len(places)] = places
        self.left += len(places)
