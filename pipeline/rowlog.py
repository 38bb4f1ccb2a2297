"""The late-data log in compiled code: what pipeline/arrivals.py and pipeline/history.py do with numpy.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.codes import LATE, ON_TIME, REPEATED, REVISING, TOO_LATE
from flockiq.shared.machine.code import Array, Columns, Truth, Whole, compiled, newer


@compiled
def _same(one: Columns, i: int, other: Columns, j: int) -> Truth:
    """Whether two rows are one: of the same event, position and entity."""
    return (
        one.event[i] == other.event[j]
        and one.us[i] == other.us[j]
        and one.rr[i] == other.rr[j]
        and one.entity[i] == other.entity[j]
    )


@compiled
def _found(rows: Columns, i: int, head: Array, previous: Array, log: Columns) -> Whole:
    """Where in the log a row is, or -1. ``head``: each group's newest row; ``previous``: the one before each."""
    at = head[rows.group[i]]
    while at >= 0 and not _same(log, at, rows, i):
        at = previous[at]
    return at


@compiled
def logged(rows: Columns, head: Array, previous: Array, log: Columns, found: Array) -> None:
    """Where in the log the row of the same event, position and entity is, for each row; -1: nowhere."""
    for i in range(len(found)):
        found[i] = _found(rows, i, head, previous, log)


@compiled
def _once(rows: Columns, came: Array) -> None:
    """Mark as REPEATED all but the newest revision of each row, the last of equal ones."""
    size = 16
    while size < 2 * len(came):
        size *= 2
    slots = np.full(size, -1, np.int64)
    for i in range(len(came)):
        at = (rows.event[i] ^ (rows.event[i] >> 29)) & (size - 1)
        while slots[at] >= 0 and not _same(rows, slots[at], rows, i):
            at = (at + 1) & (size - 1)
        other = slots[at]
        if other >= 0 and rows.revision[other] > rows.revision[i]:
            came[i] = REPEATED
            continue
        if other >= 0:
            came[other] = REPEATED
        slots[at] = i


@compiled
def sort_out(rows: Columns, marks: Columns, previous: Array, log: Columns, came: Array) -> None:
    """Say of each row how it came, int8 [n]: ON_TIME, REPEATED, LATE, TOO_LATE or REVISING."""
    came[:] = ON_TIME
    _once(rows, came)
    behind = np.zeros(len(marks.head), np.bool_)
    for i in range(len(came)):
        g = rows.group[i]
        if came[i] == REPEATED:
            continue
        if newer(rows.us[i], rows.rr[i], rows.event[i], marks.last_us[g], marks.last_rr[g], marks.last_hash[g]):
            behind[g] = behind[g] or rows.us[i] < marks.clock_us[g]
            continue
        at = _found(rows, i, marks.head, previous, log)
        if at >= 0 and rows.revision[i] <= log.revision[at]:
            came[i] = REPEATED
            continue
        behind[g] = True
        if at >= 0:
            came[i] = REVISING
    for i in range(len(came)):
        g = rows.group[i]
        if came[i] == ON_TIME and behind[g]:
            within = newer(
                rows.us[i], rows.rr[i], rows.event[i], marks.floor_us[g], marks.floor_rr[g], marks.floor_hash[g]
            )
            came[i] = LATE if within else TOO_LATE


@compiled
def chain(rows: Columns, first: int, marks: Columns, previous: Array) -> None:
    """Link rows, logged from place ``first`` on, into their groups' chains, and move the groups' last positions."""
    for i in range(len(rows.group)):
        g, at = rows.group[i], first + i
        previous[at] = marks.head[g]
        marks.head[g] = at
        if newer(rows.us[i], rows.rr[i], rows.event[i], marks.last_us[g], marks.last_rr[g], marks.last_hash[g]):
            marks.last_us[g], marks.last_rr[g], marks.last_hash[g] = rows.us[i], rows.rr[i], rows.event[i]
