"""Ids behind their lanes: many as sorted columns, those of late in a dict."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flockiq.shared.positions import id_of

Int64s = npt.NDArray[np.int64]

_MANY = 4096  # ids restored at once that are worth sorting


class Ids:
    """Each id is kept as its lane and its second half (shared.positions.id_of), 16 bytes once sorted."""

    def __init__(self) -> None:
        self._sorted = np.zeros((0, 2), np.int64)
        self._recent: dict[int, int] = {}
        self._added: list[Int64s] = []

    def add(self, ids: Int64s) -> None:
        """Keep ids, int64 [n, 2]."""
        self._recent.update(zip(ids[:, 0].tolist(), ids[:, 1].tolist(), strict=True))
        self._added.append(ids)

    def restore(self, ids: Int64s) -> None:
        """Know ids again, as read from a state log."""
        if len(ids) < _MANY:
            self._recent.update(zip(ids[:, 0].tolist(), ids[:, 1].tolist(), strict=True))
            return
        every = np.concatenate([self._sorted, ids])
        _, first = np.unique(every[:, 0], return_index=True)
        self._sorted = every[first]

    def taken(self) -> Int64s:
        """Those added since the last call, int64 [n, 2]."""
        added, self._added = self._added, []
        return np.concatenate(added) if added else np.zeros((0, 2), np.int64)

    def text(self, lane: int) -> str:
        """The id of a lane; KeyError if it was never kept."""
        rest = self._recent.get(lane)
        if rest is None:
            at = int(np.searchsorted(self._sorted[:, 0], lane))
            if at == len(self._sorted) or self._sorted[at, 0] != lane:
                raise KeyError(lane)
            rest = int(self._sorted[at, 1])
        return id_of(lane, rest)

    def many(self, lanes: Int64s) -> list[str]:
        """``text`` of each of int64 [n] lanes."""
        wanted = lanes.tolist()
        rest = list(map(self._recent.get, wanted))
        if None in rest:
            older = np.array([row for row, half in enumerate(rest) if half is None])
            at = np.searchsorted(self._sorted[:, 0], lanes[older]) if len(self._sorted) else older
            for row, place in zip(older.tolist(), at.tolist(), strict=True):
                if place >= len(self._sorted) or self._sorted[place, 0] != wanted[row]:
                    raise KeyError(wanted[row])
                rest[row] = int(self._sorted[place, 1])
        halves = np.array([lanes, rest], np.int64).reshape(2, -1).view(np.uint64)
        halves[0] ^= np.uint64(1 << 63)  # as id_of puts them together
        digits = halves.T.astype(">u8").tobytes().hex()
        return [digits[at : at + 32] for at in range(0, len(digits), 32)]

    def only(self, lanes: Int64s) -> Int64s:
        """Those whose lanes are among these, int64 [n, 2]."""
        every = self.all()
        return every[np.isin(every[:, 0], lanes)]

    def all(self) -> Int64s:
        """Every one, int64 [n, 2], by lane."""
        recent = np.array(list(self._recent.items()), np.int64).reshape(-1, 2)
        every = np.concatenate([self._sorted, recent])
        _, first = np.unique(every[:, 0], return_index=True)
        return every[first]
