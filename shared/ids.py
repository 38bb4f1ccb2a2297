"""Ids behind their lanes, as columns: some 30 bytes each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.laneindex import LaneIndex, Places, Reindex, reindexed
from flockiq.shared.positions import id_of
from flockiq.shared.stretching import double

Int64s = npt.NDArray[np.int64]


class IdColumns(NamedTuple):
    """Ids as compiled code reads and adds them: a LaneIndex, and the second half of each."""

    places: Places
    lanes: Int64s
    counts: Int64s
    rest: Int64s


class Ids:
    """Each id is kept as its lane and its second half (shared.positions.id_of)."""

    def __init__(self) -> None:
        self._index = LaneIndex()
        self._rest: Int64s = np.empty(0, np.int64)
        self._taken = 0

    def __len__(self) -> int:
        return len(self._index)

    def columns(self, more: int, reindex: Reindex = reindexed) -> IdColumns:
        """The columns, with room for as many ids more."""
        self._index.room(more, reindex)
        double(self, "_rest", len(self), len(self._index.lanes))
        return IdColumns(self._index.places, self._index.lanes, self._index.counts, self._rest)

    def add(self, ids: Int64s) -> None:
        """Keep ids, int64 [n, 2]."""
        begin = len(self)
        new = self._index.add(ids[:, 0])
        double(self, "_rest", begin, len(self._index.lanes))
        self._rest[begin : begin + len(new)] = ids[new, 1]

    def restore(self, ids: Int64s) -> None:
        """Know ids again, as read from a state log: they are not told again, nor is what was added before them."""
        self.add(ids)
        self._taken = len(self)

    def taken(self) -> Int64s:
        """Those added since the last call, int64 [n, 2]."""
        added = self._pairs(self._taken)
        self._taken = len(self)
        return added

    def text(self, lane: int) -> str:
        """The id of a lane; KeyError if it was never kept."""
        number = self._index.one(lane)
        if number < 0:
            raise KeyError(lane)
        return id_of(lane, int(self._rest[number]))

    def many(self, lanes: Int64s) -> list[str]:
        """``text`` of each of int64 [n] lanes."""
        number = self._index.find(lanes)
        if (number < 0).any():
            raise KeyError(int(lanes[number < 0][0]))
        return ids_of(lanes, self._rest[number])

    def only(self, lanes: Int64s) -> Int64s:
        """Those whose lanes are among these, int64 [n, 2]."""
        number = np.unique(self._index.find(lanes))
        number = number[number >= 0]
        return np.stack([self._index.lanes[number], self._rest[number]], axis=1)

    def all(self) -> Int64s:
        """Every one, int64 [n, 2]."""
        return self._pairs(0)

    def _pairs(self, first: int) -> Int64s:
        return np.stack([self._index.lanes[first : len(self)], self._rest[first : len(self)]], axis=1)


def ids_of(lanes: Int64s, rest: Int64s) -> list[str]:
    """``shared.positions.id_of`` for columns."""
    halves = np.array([lanes, rest], np.int64).reshape(2, -1).view(np.uint64)
    halves[0] ^= np.uint64(1 << 63)  # as id_of puts them together
    digits = halves.T.astype(">u8").tobytes().hex()
    return [digits[at : at + 32] for at in range(0, len(digits), 32)]
