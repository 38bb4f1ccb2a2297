"""Numbers for lanes, given in the order of their first use: a table by open addressing that compiled code shares.

A place of the table holds a number, four bytes; the lanes themselves stand once, in a column by number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from flockiq.shared.stretching import double

Int64s = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Reindex = Callable[[Places, Int64s, int, int], None]
"""Puts lanes number ``first`` up to ``end`` into a table: (places, lanes, first, end)."""

FREE = -1
SPREAD = 0x9E3779B97F4A7C15  # a lane times this, without its low half, says where to look first
_HALF = 32
_WORD = (1 << 64) - 1
_LEAST = 16


def reindexed(places: Places, lanes: Int64s, first: int, end: int) -> None:
    """``Reindex`` with numpy: all lanes at once, those that lose a place to another go on to the next."""
    number = np.arange(first, end, dtype=np.int32)
    at = _begin(lanes[first:end], places)
    while len(number):
        free = places[at] == FREE
        places[at[free]] = number[free]
        lost = places[at] != number
        number, at = number[lost], (at[lost] + 1) & (len(places) - 1)


def distinct(lanes: Int64s) -> bool:
    """Whether no lane comes twice."""
    ordered = np.sort(lanes)
    return not bool((ordered[1:] == ordered[:-1]).any())


def _begin(lanes: Int64s, places: Places) -> Int64s:
    return ((lanes.view(np.uint64) * np.uint64(SPREAD)) >> np.uint64(_HALF)).astype(np.int64) & (len(places) - 1)


class LaneIndex:
    """Lanes and their numbers; ``counts`` int64 [1], how many there are, is moved by compiled code as well."""

    def __init__(self) -> None:
        self.lanes: Int64s = np.empty(0, np.int64)
        self.places: Places = np.full(_LEAST, FREE, np.int32)
        self.counts = np.zeros(1, np.int64)

    def __len__(self) -> int:
        return int(self.counts[0])

    def room(self, more: int, reindex: Reindex = reindexed) -> None:
        """Make room for as many lanes more, so that compiled code may add them."""
        count = len(self)
        double(self, "lanes", count, count + more)
        if 2 * (count + more) > len(self.places):
            self.places = np.full(1 << (2 * (count + more) - 1).bit_length(), FREE, np.int32)
            reindex(self.places, self.lanes, 0, count)

    def add(self, lanes: Int64s) -> Int64s:
        """Number those of int64 [n] that are new; which of them were, ascending, each lane's first."""
        new = np.flatnonzero(self.find(lanes) < 0)
        if not distinct(lanes[new]):
            _, first = np.unique(lanes[new], return_index=True)
            new = new[np.sort(first)]
        self.room(len(new))
        begin, end = len(self), len(self) + len(new)
        self.lanes[begin:end] = lanes[new]
        reindexed(self.places, self.lanes, begin, end)
        self.counts[0] = end
        return new

    def replace(self, numbers: Int64s, lanes: Int64s) -> None:
        """Give numbers other lanes, which are nobody's yet."""
        self.lanes[numbers] = lanes
        self.places.fill(FREE)
        reindexed(self.places, self.lanes, 0, len(self))

    def find(self, lanes: Int64s) -> Int64s:
        """The numbers of int64 [n] lanes; -1: unknown."""
        found = np.full(len(lanes), FREE, np.int64)
        if not len(self):
            return found
        open_, at = np.arange(len(lanes)), _begin(lanes, self.places)
        while len(open_):
            number = self.places[at]
            there = number != FREE
            same = there & (self.lanes[number] == lanes[open_])
            found[open_[same]] = number[same]
            on = there & ~same
            open_, at = open_[on], (at[on] + 1) & (len(self.places) - 1)
        return found

    def one(self, lane: int) -> int:
        """The number of a lane; -1: unknown."""
        mask = len(self.places) - 1
        at = ((lane * SPREAD & _WORD) >> _HALF) & mask
        while (number := int(self.places[at])) != FREE:
            if self.lanes[number] == lane:
                return number
            at = (at + 1) & mask
        return FREE
