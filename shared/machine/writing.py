"""Texts put together from parts, and numbers and times written out, by compiled code.

Texts stand in a pool: one buffer of UTF-8, and where each begins and ends in it.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.lanetable import NOTHING
from flockiq.shared.machine.code import Array, Truth, Whole, compiled
from flockiq.shared.machine.memory import copy_between
from flockiq.shared.machine.tokens import (
    COLON,
    COMMA,
    FALSE_WORD,
    MINUS,
    OPEN,
    POINT,
    QUOTE,
    TENS,
    TRUE_WORD,
    ZERO,
)
from flockiq.shared.pool import BOOLEAN, DATE, MEMBER, MOMENT

_T, _Z = 84, 90
_DAY = 86_400_000_000


@compiled
def joined(
    text: Array, begin: Array, end: Array, glue: Array, parts: Array, order: Array, members: Truth
) -> tuple[Array, Array]:
    """Texts of a pool put together in rows: glue, part, glue, part, …, glue; the bytes of all rows, and their ends.

    glue: int64 [C + 1] and parts: int64 [C, n], numbers of texts; order: int64 [m], the rows that are
    wanted. With ``members``, MEMBER at the beginning of a text is a comma, or nothing just behind an open brace.
    """
    columns, rows = len(parts), len(order)
    most = 0
    for column in range(columns + 1):
        most += (end[glue[column]] - begin[glue[column]]) * rows
    for column in range(columns):
        of = parts[column]
        for i in range(rows):
            one = of[order[i]]
            most += end[one] - begin[one]
    out, ends = np.empty(most, np.uint8), np.empty(rows, np.int64)
    p = 0
    for i in range(rows):
        row = order[i]
        for column in range(2 * columns + 1):
            one = parts[column >> 1, row] if column & 1 else glue[column >> 1]
            first = begin[one]
            size = end[one] - first
            if not size:
                continue
            if members and text[first] == MEMBER:
                if out[p - 1] != OPEN:
                    out[p] = COMMA
                    p += 1
                first, size = first + 1, size - 1
            copy_between(out, p, text, first, size)
            p += size
        ends[i] = p
    return out[:p], ends


@compiled
def numbered(lanes: Array, distinct: Array, which: Array, keys: Array, values: Array) -> Whole:
    """Number lanes in the order of their first appearance, with an empty table that has room; how many there are."""
    mask = len(keys) - 1
    count = 0
    for i in range(len(lanes)):
        key = lanes[i]
        at = (key * np.int64(-7046029254386353131)) >> np.int64(20) & mask
        while keys[at] != key and keys[at] != NOTHING:
            at = (at + 1) & mask
        if keys[at] == NOTHING:
            keys[at], values[at], distinct[count] = key, count, key
            count += 1
        which[i] = values[at]
    return count


@compiled
def _digits(out: Array, p: int, number: int, width: int) -> None:
    """Write the last ``width`` digits of a number."""
    for i in range(p + width - 1, p - 1, -1):
        rest = number // 10
        out[i] = ZERO + number - rest * 10
        number = rest


@compiled
def _number(out: Array, p: int, number: int, scale: int) -> Whole:
    """Write a scaled integer with its point; where it ends."""
    if number < 0:
        out[p] = MINUS
        p, number = p + 1, -number
    power = TENS[scale]
    whole = number // power
    width = 1
    while width < len(TENS) and whole >= TENS[width]:
        width += 1
    _digits(out, p, whole, width)
    p += width
    if scale:
        out[p] = POINT
        _digits(out, p + 1, number - whole * power, scale)
        p += 1 + scale
    return p


@compiled
def _date(out: Array, p: int, days: int) -> None:
    """Write the ten characters YYYY-MM-DD of a day since 1970."""
    # Days into the civil calendar: years that begin in March, so that the leap day comes last.
    since = days + 719_468
    era = since // 146_097
    of_era = since - era * 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    _digits(out, p, year + era * 400 + (month <= 2), 4)
    _digits(out, p + 5, month, 2)
    _digits(out, p + 8, of_year - (153 * shifted + 2) // 5 + 1, 2)
    out[p + 4] = out[p + 7] = MINUS


@compiled
def _moment(out: Array, p: int, us: int) -> None:
    """Write the 27 characters of RFC 3339 in UTC with microseconds."""
    days = us // _DAY
    us -= days * _DAY
    seconds = us // 1_000_000
    _date(out, p, days)
    out[p + 10], out[p + 13], out[p + 16], out[p + 19], out[p + 26] = _T, COLON, COLON, POINT, _Z
    _digits(out, p + 11, seconds // 3_600, 2)
    _digits(out, p + 14, seconds // 60 % 60, 2)
    _digits(out, p + 17, seconds % 60, 2)
    _digits(out, p + 20, us - seconds * 1_000_000, 6)


@compiled
def written(lanes: Array, kind: int, scale: int, out: Array, ends: Array) -> Whole:
    """Write lanes of a kind one after the other, in quotes; "" is ABSENT and NULL. The bytes written."""
    p = 0
    for i in range(len(lanes)):
        lane = lanes[i]
        out[p] = QUOTE
        p += 1
        if lane == ABSENT or lane == NULL:
            pass
        elif kind == DATE:
            _date(out, p, lane)
            p += 10
        elif kind == MOMENT:
            _moment(out, p, lane)
            p += 27
        elif kind == BOOLEAN:
            word = TRUE_WORD if lane else FALSE_WORD
            for byte in word:
                out[p] = byte
                p += 1
        else:
            p = _number(out, p, lane, scale)
        out[p] = QUOTE
        p += 1
        ends[i] = p
    return p
