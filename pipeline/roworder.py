"""Rows in order and deltas compared, compiled: what sorting does with numpy, in one or two passes.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Columns, Truth, Whole, borrowing, compiled, newer

_BITS = 11  # of a group's number that are sorted by at a time
_SHORT = 16  # rows that are faster put in one by one than merged


@borrowing
def _follows(i: int, j: int, us: Array, rr: Array, tie: Array) -> Truth:
    """Whether row i is after row j by position."""
    return newer(us[i], rr[i], tie[i], us[j], rr[j], tie[j])


@borrowing
def _by_group(group: Array, order: Array, spare: Array, counts: Array) -> None:
    """Put rows by group, those of one group as they came: a radix sort from the last digit on, unless they are so."""
    most, ordered = np.int64(0), True
    for i in range(len(group)):
        order[i] = i
        ordered = ordered and most <= group[i]
        most = max(most, group[i])
    shift = 0
    while most >> shift and not ordered:
        for digit in range(len(counts)):
            counts[digit] = 0
        for i in range(len(group)):
            counts[1 + (group[order[i]] >> shift & ((1 << _BITS) - 1))] += 1
        for digit in range(1, len(counts)):
            counts[digit] += counts[digit - 1]
        for i in range(len(group)):
            digit = group[order[i]] >> shift & ((1 << _BITS) - 1)
            spare[counts[digit]] = order[i]
            counts[digit] += 1
        for i in range(len(group)):
            order[i] = spare[i]
        shift += _BITS


@borrowing
def _insert(begin: int, end: int, order: Array, us: Array, rr: Array, tie: Array) -> None:
    """Put a short stretch of rows by position, equal ones as they came."""
    for i in range(begin + 1, end):
        row, at = order[i], i
        while at > begin and _follows(order[at - 1], row, us, rr, tie):
            order[at] = order[at - 1]
            at -= 1
        order[at] = row


@borrowing
def _merge(begin: int, middle: int, end: int, order: Array, spare: Array, us: Array, rr: Array, tie: Array) -> None:
    """Put two stretches of rows by position into one, equal ones as they came."""
    for at in range(begin, end):
        spare[at] = order[at]
    left, right = begin, middle
    for at in range(begin, end):
        if left < middle and (right >= end or not _follows(spare[left], spare[right], us, rr, tie)):
            order[at] = spare[left]
            left += 1
        else:
            order[at] = spare[right]
            right += 1


@compiled
def put_in_order(group: Array, us: Array, rr: Array, tie: Array, order: Array) -> None:
    """The permutation that puts rows by group, then by position, equal ones as they came."""
    n = len(order)
    spare = np.empty(n, np.int64)
    _by_group(group, order, spare, np.zeros((1 << _BITS) + 1, np.int64))
    begin = 0
    while begin < n:
        end = begin + 1
        while end < n and group[order[end]] == group[order[begin]]:
            end += 1
        for start in range(begin, end, _SHORT):
            _insert(start, min(start + _SHORT, end), order, us, rr, tie)
        width = _SHORT
        while width < end - begin:
            for start in range(begin, end - width, 2 * width):
                _merge(start, start + width, min(start + 2 * width, end), order, spare, us, rr, tie)
            width *= 2
        begin = end


@borrowing
def _alike(one: Columns, i: int, other: Columns, j: int) -> Truth:
    return (
        one.event[i] == other.event[j]
        and one.field[i] == other.field[j]
        and one.entity[i] == other.entity[j]
        and one.old[i] == other.old[j]
        and one.new[i] == other.new[j]
    )


@borrowing
def _mixed(one: Columns, i: int) -> Whole:
    """A number that differs where deltas do, mostly."""
    mixed = one.event[i] ^ (one.field[i] * np.int64(-7046029254386353131)) ^ (one.new[i] * np.int64(31))
    return mixed ^ (mixed >> np.int64(29))


@compiled
def shared(old: Columns, new: Columns, of_old: Array, of_new: Array) -> None:
    """Say of old deltas whether they are among the new, bool [n], and of new ones whether they are among the old."""
    size = 16
    while size < 2 * len(of_old):
        size *= 2
    slots = np.full(size, -1, np.int64)
    first = np.empty(len(of_old), np.int64)  # of those that are alike
    for i in range(len(of_old)):
        at = _mixed(old, i) & (size - 1)
        while slots[at] >= 0 and not _alike(old, slots[at], old, i):
            at = (at + 1) & (size - 1)
        if slots[at] < 0:
            slots[at] = i
        first[i] = slots[at]
        of_old[i] = False
    for i in range(len(of_new)):
        at = _mixed(new, i) & (size - 1)
        while slots[at] >= 0 and not _alike(old, slots[at], new, i):
            at = (at + 1) & (size - 1)
        of_new[i] = slots[at] >= 0
        if of_new[i]:
            of_old[slots[at]] = True
    for i in range(len(of_old)):
        of_old[i] = of_old[first[i]]
