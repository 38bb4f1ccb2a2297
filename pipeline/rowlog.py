"""The late-data log in compiled code: what pipeline/arrivals.py and pipeline/history.py do with numpy.

``marks`` is the table of ``pipeline.history.Marks``, int64 [g, 8]; ``log`` that of rows as pipeline/logged.py lays
them. Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
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
from flockiq.pipeline.logged import (
    ABOVE,
    ARRIVED_US,
    EVENT,
    KEY,
    LINK,
    LOW,
    REVISION,
    RR,
    SHOWN,
    SOURCE_ABOVE,
    US,
    VALUE,
    WHO,
)
from flockiq.shared.machine.code import Array, Columns, Truth, Whole, compiled, lent, newer
from flockiq.shared.machine.memory import ask_for_row

_SOON = 16  # rows for which memory is asked before it is read
_NONE = -1


@lent
def _found(rows: Columns, i: int, marks: Array, log: Array) -> Whole:
    """Where in the log a row of the same event, position and entity is, or -1."""
    who = (rows.entity[i] << ABOVE) | rows.group[i]
    at = marks[rows.group[i], HEAD]
    while at >= 0 and (
        log[at, EVENT] != rows.event[i] or log[at, US] != rows.us[i] or log[at, RR] != rows.rr[i] or log[at, WHO] != who
    ):
        at = (log[at, LINK] & LOW) - 1
    return at


@lent
def _beyond(rows: Columns, i: int, marks: Array, us: int, rr: int, tie: int) -> Truth:
    """Whether a row's position is greater than its group's mark in three columns."""
    g = rows.group[i]
    return newer(rows.us[i], rows.rr[i], rows.event[i], marks[g, us], marks[g, rr], marks[g, tie])


@compiled
def logged(rows: Columns, marks: Array, log: Array, found: Array) -> None:
    """Where in the log the row of the same event, position and entity is, for each row; -1: nowhere."""
    for i in range(len(found)):
        found[i] = _found(rows, i, marks, log)


@compiled
def _slots(count: int) -> Array:
    """A table with room for so many, of which none is there."""
    size = 16
    while size < 2 * count:
        size *= 2
    return np.full(size, _NONE, np.int64)


@lent
def _same(rows: Columns, i: int, j: int) -> Truth:
    """Whether two rows are one: of the same event, position and entity."""
    return (
        rows.event[i] == rows.event[j]
        and rows.us[i] == rows.us[j]
        and rows.rr[i] == rows.rr[j]
        and rows.entity[i] == rows.entity[j]
    )


@lent
def _once(rows: Columns, slots: Array, came: Array) -> None:
    """Mark as REPEATED all but the newest revision of each row, the last of equal ones."""
    for i in range(len(came)):
        at = (rows.event[i] ^ (rows.event[i] >> 29)) & (len(slots) - 1)
        while slots[at] >= 0 and not _same(rows, slots[at], i):
            at = (at + 1) & (len(slots) - 1)
        other = slots[at]
        if other >= 0 and rows.revision[other] > rows.revision[i]:
            came[i] = REPEATED
            continue
        if other >= 0:
            came[other] = REPEATED
        slots[at] = i


@lent
def _ahead(rows: Columns, marks: Array, log: Array, came: Array) -> Whole:
    """Mark rows as LATE of which the marks don't say that they are on time, and ask for where to look for them.

    How many there are.
    """
    behind = 0
    for i in range(len(came)):
        if i + _SOON < len(came):
            ask_for_row(marks, rows.group[i + _SOON])
        g = rows.group[i]
        ahead = _beyond(rows, i, marks, LAST_US, LAST_RR, LAST_HASH) and rows.us[i] >= marks[g, CLOCK_US]
        if came[i] != REPEATED and not ahead:
            came[i] = LATE
            behind += 1
            ask_for_row(log, max(marks[g, HEAD], 0))
    return behind


@lent
def _known(rows: Columns, marks: Array, log: Array, came: Array) -> None:
    """Mark as REPEATED or REVISING those LATE rows that the log has."""
    for i in range(len(came)):
        if came[i] == LATE and not _beyond(rows, i, marks, LAST_US, LAST_RR, LAST_HASH):
            at = _found(rows, i, marks, log)
            if at >= 0:
                came[i] = REVISING if rows.revision[i] > log[at, REVISION] else REPEATED


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
def sort_out(rows: Columns, marks: Array, log: Array, came: Array) -> None:
    """Say of each row how it came, int8 [n]: ON_TIME, REPEATED, LATE, TOO_LATE or REVISING."""
    came[:] = ON_TIME
    _once(rows, _slots(len(came)), came)
    behind = _ahead(rows, marks, log, came)
    if behind:
        _known(rows, marks, log, came)
        _spread(rows, marks, _slots(behind), came)


@compiled
def keep(rows: Columns, first: int, marks: Array, log: Array) -> None:
    """Log rows from place ``first`` on, each behind the newest of its group, and move the groups' last positions."""
    fields = rows.value.shape[1]
    for i in range(len(rows.group)):
        if i + _SOON < len(rows.group):
            ask_for_row(marks, rows.group[i + _SOON])
        g, at = rows.group[i], first + i
        log[at, EVENT], log[at, US], log[at, RR] = rows.event[i], rows.us[i], rows.rr[i]
        log[at, LINK] = (rows.source[i] << SOURCE_ABOVE) | (np.int64(rows.op[i]) << ABOVE) | (marks[g, HEAD] + 1)
        log[at, WHO] = (rows.entity[i] << ABOVE) | g
        log[at, REVISION], log[at, KEY], log[at, SHOWN] = rows.revision[i], rows.key[i], rows.shown[i]
        log[at, ARRIVED_US] = rows.arrived_us[i]
        for field in range(fields):
            log[at, VALUE + field] = rows.value[i, field]
        marks[g, HEAD] = at
        if _beyond(rows, i, marks, LAST_US, LAST_RR, LAST_HASH):
            marks[g, LAST_US], marks[g, LAST_RR], marks[g, LAST_HASH] = rows.us[i], rows.rr[i], rows.event[i]
