"""Rows: a batch of resolved records of one entity type as columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flockiq.shared.arrays import Arrays
from flockiq.shared.lanes import Int64s

UPSERT, DELETE, ACTION, VOID, ENDS = 0, 1, 2, 3, 4
"""What a row does: say values, delete the source's record, tell what a person did to an alert,
nothing (it stands where one stood that should never have been told), or end a person's override."""


class Rows(Arrays):
    """n rows of one entity type with F fields.

    entity, group: int64 [n], dense indices; source: int64 [n], index in the layout; op: int8 [n].
    us, rr, event: int64 [n], the position: source time, run << 32 | row (for an ACTION: the alert's rule
    index), and the text lane of the event's id, which orders as the id does. Of a row that ENDS, key is the
    lane of the override's id and value is NULL in its field; else key, shown: int64 [n], text lanes of
    stream/key and of what people call the entity. value: int64 [n, F], ABSENT where the row says nothing.
    arrived_us: int64 [n], when the row came in. revision: int64 [n]; of rows with one event, position
    and entity the greatest counts.
    """

    entity: Int64s
    group: Int64s
    source: Int64s
    op: npt.NDArray[np.int8]
    us: Int64s
    rr: Int64s
    event: Int64s
    key: Int64s
    shown: Int64s
    value: Int64s
    arrived_us: Int64s
    revision: Int64s


def in_order(rows: Rows) -> Int64s:
    """The permutation that puts rows by group, then by position."""
    return np.lexsort((rows.event, rows.rr, rows.us, rows.group))


def round_numbers(group: Int64s) -> Int64s:
    """For groups sorted together: each row's number within its group, from 0."""
    n = len(group)
    if not n:
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    return np.arange(n) - np.repeat(starts, np.diff(np.r_[starts, n]))
