"""The late-data log: the rows of each group that a replay may still need, and where it begins.

Rows are kept as they came, chained by group, in one table (pipeline/logged.py). ``floor`` is the position up to
which a group's rows have been folded into the base and forgotten; what arrives below it is too late to be replayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np

from flockiq.pipeline import compiled
from flockiq.pipeline.codes import RowColumns
from flockiq.pipeline.logged import LINK, LOW, REVISION, VALUE, before, rows_of, words_of
from flockiq.shared.arrays import roomier
from flockiq.shared.lanes import ABSENT, Bools, Int64s
from flockiq.shared.rows import Rows, in_order
from flockiq.shared.stretching import double
from flockiq.shared.structs import Structs, Words


class Marks(Structs):
    """Per group, int64 [g]: head, its newest row in the log or -1; the last and the floor position.

    clock_us: how far time had come when it last changed an episode of the group: a row from before
    that is late, since what time did rested on its absence. A group's are one line of memory.
    """

    head: Int64s
    last_us: Int64s
    last_rr: Int64s
    last_hash: Int64s
    floor_us: Int64s
    floor_rr: Int64s
    floor_hash: Int64s
    clock_us: Int64s

    @classmethod
    def empty(cls, n: int) -> Self:
        """Groups of which nothing has come."""
        nothing = {name: np.full(n, ABSENT, np.int64) for name in cls.names if name != "head"}
        return cls(head=np.full(n, -1, np.int64), **nothing)

    def grow(self, groups: int) -> None:
        """Make room for at least this many groups."""
        if groups > len(self):
            self.extend(Marks.empty(1), roomier(groups, len(self)))


def beyond(rows: Rows, us: Int64s, rr: Int64s, tie: Int64s) -> Bools:
    """Whether each row's position is greater than the one given for it."""
    later: Bools = (rows.us > us) | ((rows.us == us) & ((rows.rr > rr) | ((rows.rr == rr) & (rows.event > tie))))
    return later


def identities(rows: Rows) -> Iterator[tuple[int, int, int, int]]:
    """What says that two rows are one, or one a revision of the other: event, position and entity."""
    return zip(rows.event.tolist(), rows.us.tolist(), rows.rr.tolist(), rows.entity.tolist(), strict=True)


class History:
    """The log of one entity type in one partition: rows of so many ``fields``."""

    def __init__(self, fields: int) -> None:
        self.count = 0
        self.marks = Marks.empty(0)
        self._table = np.empty((0, VALUE + fields), np.int64)

    def append(self, rows: Rows) -> None:
        """Log rows that were folded, and move their groups' last position."""
        if not len(rows):
            return
        start, end = self.count, self.count + len(rows)
        double(self, "_table", start, end)
        self.count = end
        functions = compiled.ready()
        if functions is not None:
            functions.keep(RowColumns.of(rows), start, self.marks.rows, self._table)
            return
        self._table[start:end] = words_of(rows)
        self._chain(np.arange(start, end), rows.group)
        self._advance_last(rows)

    def _chain(self, at: Int64s, group: Int64s) -> None:
        """Link rows, not linked yet, into their groups' chains, several of one group in a row."""
        order = np.argsort(group, kind="stable")
        at, group = at[order], group[order]
        first = np.r_[True, group[1:] != group[:-1]]
        previous = np.r_[-1, at[:-1]]
        self._table[at, LINK] += np.where(first, self.marks.head[group], previous) + 1
        last = np.r_[group[1:] != group[:-1], True]
        self.marks.head[group[last]] = at[last]

    def _advance_last(self, rows: Rows) -> None:
        order = in_order(rows)
        group = rows.group[order]
        newest = order[np.r_[group[1:] != group[:-1], True]]
        mine = rows.take(newest)
        marks, groups = self.marks, mine.group
        ahead = beyond(mine, marks.last_us[groups], marks.last_rr[groups], marks.last_hash[groups])
        groups, mine = groups[ahead], mine.take(ahead)
        marks.last_us[groups], marks.last_rr[groups], marks.last_hash[groups] = mine.us, mine.rr, mine.event

    def at(self, places: Int64s) -> Rows:
        """The rows at these places in the log."""
        return rows_of(self._table.take(places, axis=0))

    def places(self, groups: Int64s) -> Int64s:
        """Where the rows of these groups are in the log, in no order."""
        found: list[Int64s] = []
        at = self.marks.head[groups]
        at = at[at >= 0]
        while len(at):
            found.append(at)
            at = before(self._table[at, LINK])
            at = at[at >= 0]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def find(self, rows: Rows) -> Int64s:
        """Where in the log rows of the same event, position and entity are, int64 [n]; -1: nowhere."""
        functions = compiled.ready()
        if functions is not None:
            found = np.empty(len(rows), np.int64)
            functions.logged(*self.searched(rows), found)
            return found
        at = self.places(np.unique(rows.group))
        known = dict(zip(identities(self.at(at)), at.tolist(), strict=True))
        return np.array([known.get(one, -1) for one in identities(rows)], np.int64)

    def searched(self, rows: Rows) -> tuple[RowColumns, Words, Words]:
        """Rows, marks and the log as compiled code reads them."""
        return RowColumns.of(rows), self.marks.rows, self._table

    def revisions(self, places: Int64s) -> Int64s:
        """The revision of each of the rows at these places in the log."""
        found: Int64s = self._table[places, REVISION]
        return found

    def revise(self, rows: Rows) -> None:
        """Log rows that may take the place of logged ones."""
        at = self.find(rows)
        places, words = at[at >= 0], words_of(rows.take(at >= 0))
        words[:, LINK] += self._table[places, LINK] & LOW
        self._table[places] = words
        self.append(rows.take(at < 0))

    def rebuild(self, rows: Rows) -> None:
        """Keep only these of the logged rows."""
        self.count = 0
        self._table = np.empty((0, self._table.shape[1]), np.int64)
        self.marks.head[:] = -1
        self.append(rows)

    def live(self) -> Rows:
        """Every logged row, in the order in which they came."""
        return rows_of(self._table[: self.count])
