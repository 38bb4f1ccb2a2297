"""The late-data log in compiled code: what pipeline/arrivals.py and pipeline/history.py do with numpy.

``marks`` is the table of ``pipeline.history.Marks``, int64 [g, 8]. Imported only by pipeline/compiled.py, as
pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.codes import (
    CLOCK_US,
    FLOOR_HASH,
    FLOOR_RR,
    FLOOR_US,
    HEAD,
    LAST_HASH,
    LAST_RR,
    LAST_US,
    LATE,
    ON_TIME,
    REPEATED,
    REVISING,
    TOO_LATE,
)
from flockiq.shared.machine.code import Array, Columns, Truth, Whole, compiled, lent, newer
from flockiq.shared.machine.memory import ask_for_row

_AHEAD = 16  # rows for which memory is asked before it is read
_NONE = -1


@lent
def _same(one: Columns, i: int, other: Columns, j: int) -> Truth:
    """Whether two rows are one: of the same event, position and entity."""
    return (
        one.event[i] == other.event[j]
        and one.us[i] == other.us[j]
        and one.rr[i] == other.rr[j]
        and one.entity[i] == other.entity[j]
    )


@lent
def _found(rows: Columns, i: int, marks: Array, previous: Array, log: Columns) -> Whole:
    """Where in the log a row is, or -1. ``previous``: of each logged row, the one of its group before it."""
    at = marks[rows.group[i], HEAD]
    while at >= 0 and not _same(log, at, rows, i):
        at = previous[at]
    return at


@lent
def _beyond(rows: Columns, i: int, marks: Array, us: int, rr: int, tie: int) -> Truth:
    """Whether a row's position is greater than its group's mark in three columns."""
    g = rows.group[i]
    return newer(rows.us[i], rows.rr[i], rows.event[i], marks[g, us], marks[g, rr], marks[g, tie])


@compiled
def logged(rows: Columns, marks: Array, previous: Array, log: Columns, found: Array) -> None:
    """Where in the log the row of the same event, position and entity is, for each row; -1: nowhere."""
    for i in range(len(found)):
        found[i] = _found(rows, i, marks, previous, log)


@compiled
def _slots(count: int) -> Array:
    """A table with room for so many, of which none is there."""
    size = 16
    while size < 2 * count:
        size *= 2
    return np.full(size, _NONE, np.int64)


@lent
def _once(rows: Columns, slots: Array, came: Array) -> None:
    """Mark as REPEATED all but the newest revision of each row, the last of equal ones."""
    for i in range(len(came)):
        at = (rows.event[i] ^ (rows.event[i] >> 29)) & (len(slots) - 1)
        while slots[at] >= 0 and not _same(rows, slots[at], rows, i):
            at = (at + 1) & (len(slots) - 1)
        other = slots[at]
        if other >= 0 and rows.revision[other] > rows.revision[i]:
            came[i] = REPEATED
            continue
        if other >= 0:
            came[other] = REPEATED
        slots[at] = i


@lent
def _look(rows: Columns, marks: Array, previous: Array, log: Columns, came: Array) -> Whole:
    """Mark as LATE rows that find time further than they are, or REPEATED or REVISING as the log says; how many."""
    behind = 0
    for i in range(len(came)):
        if i + _AHEAD < len(came):
            ask_for_row(marks, rows.group[i + _AHEAD])
        if came[i] == REPEATED:
            continue
        if _beyond(rows, i, marks, LAST_US, LAST_RR, LAST_HASH):
            if rows.us[i] >= marks[rows.group[i], CLOCK_US]:
                continue
            came[i] = LATE
        else:
            at = _found(rows, i, marks, previous, log)
            if at >= 0 and rows.revision[i] <= log.revision[at]:
                came[i] = REPEATED
                continue
            came[i] = LATE if at < 0 else REVISING
        behind += 1
    return behind


@lent
def _slot_of(group: int, slots: Array) -> Whole:
    """Where a group is in the table, or would be."""
    at = group & (len(slots) - 1)
    while slots[at] >= 0 and slots[at] != group:
        at = (at + 1) & (len(slots) - 1)
    return at


@lent
def _spread(rows: Columns, marks: Array, slots: Array, came: Array) -> None:
    """Mark as LATE or TOO_LATE every row of a group that has a late one or one that revises, but what revises."""
    for i in range(len(came)):
        if came[i] in (LATE, REVISING):
            slots[_slot_of(rows.group[i], slots)] = rows.group[i]
    for i in range(len(came)):
        if came[i] in (ON_TIME, LATE) and slots[_slot_of(rows.group[i], slots)] >= 0:
            came[i] = LATE if _beyond(rows, i, marks, FLOOR_US, FLOOR_RR, FLOOR_HASH) else TOO_LATE


@compiled
def sort_out(rows: Columns, marks: Array, previous: Array, log: Columns, came: Array) -> None:
    """Say of each row how it came, int8 [n]: ON_TIME, REPEATED, LATE, TOO_LATE or REVISING."""
    came[:] = ON_TIME
    _once(rows, _slots(len(came)), came)
    behind = _look(rows, marks, previous, log, came)
    if behind:
        _spread(rows, marks, _slots(behind), came)


@compiled
def chain(rows: Columns, first: int, marks: Array, previous: Array) -> None:
    """Link rows, logged from place ``first`` on, into their groups' chains, and move the groups' last positions."""
    for i in range(len(rows.group)):
        g, at = rows.group[i], first + i
        previous[at] = marks[g, HEAD]
        marks[g, HEAD] = at
        if _beyond(rows, i, marks, LAST_US, LAST_RR, LAST_HASH):
            marks[g, LAST_US], marks[g, LAST_RR], marks[g, LAST_HASH] = rows.us[i], rows.rr[i], rows.event[i]
