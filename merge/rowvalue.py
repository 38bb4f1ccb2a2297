"""Values in their usual form written as their canonical form is encoded (shared/fields.py), by compiled code.

A value in any other form is left to who asks.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.merge.codes import BOOLEAN, DATE, DECIMAL, FLOAT, INTEGER, STRING, TIMESTAMP
from flockiq.shared.lanes import ABSENT
from flockiq.shared.machine.code import Array, Whole, borrowing
from flockiq.shared.machine.dates import date, timestamp
from flockiq.shared.machine.memory import WIDE, doubtful, lowest
from flockiq.shared.machine.tokens import (
    BACKSLASH,
    FALSE_WORD,
    MINUS,
    NINE,
    POINT,
    QUOTE,
    TRUE_WORD,
    ZERO,
    after,
    bytes_of,
    copied,
)

_Z = 90
_DELETE, _CONTROLS, _LATIN = 0x7F, 0xA0, 0xC2  # U+007F to U+009F are C2 80 to C2 9F
_MOST_TEXT = 100_000  # bytes of a text that surely is within the limit
_SURE_DIGITS = 15  # any decimal of so many is told apart from any other by a double
_SMALL_ZEROS = 2  # a number with no more zeros behind its point is not written with an exponent
_SAME_ESCAPES = np.zeros(256, np.uint8)  # escapes that are written as they are read
_SAME_ESCAPES[bytes_of('"\\nrt')] = 1
_DOUBTFUL = np.zeros(256, np.bool_)
_DOUBTFUL[BACKSLASH] = _DOUBTFUL[_DELETE] = _DOUBTFUL[_LATIN] = True
_FRACTION = bytes_of(".000000")


@borrowing
def _text(text: Array, p: int, end: int) -> bool:
    """Whether a JSON text is canonical as it is written."""
    if text[p] != QUOTE or end - p > _MOST_TEXT:
        return False
    at, last = p + 1, end - 1
    while at < last:
        if at + WIDE <= len(text):
            found = doubtful(text.ctypes.data, at)
            if not found:
                at += WIDE
                continue
            at += lowest(found)
            if at >= last:
                break
        byte = text[at]
        at += 1
        if _DOUBTFUL[byte]:
            if byte == BACKSLASH:
                if not _SAME_ESCAPES[text[at]]:
                    return False
                at += 1
            elif byte == _DELETE or text[at] < _CONTROLS:
                return False
    return True


@borrowing
def _decimal(text: Array, p: int, end: int, scale: int, out: Array, o: int) -> Whole:
    """Write a decimal, in quotes or not, with all its digits; where it ends, or -1."""
    if text[p] == QUOTE:
        p += 1
        end -= 1
    begin = p
    if p < end and text[p] == MINUS:
        p += 1
    digits = p
    while p < end and ZERO <= text[p] <= NINE:
        p += 1
    whole = p - digits
    if not whole or (text[digits] == ZERO and whole > 1):
        return -1
    fraction = 0
    if p < end and text[p] == POINT:
        p += 1
        while p < end and ZERO <= text[p] <= NINE:
            p += 1
            fraction += 1
        if not fraction:
            return -1
    if p != end or fraction > scale or whole + scale > _SURE_DIGITS:
        return -1
    if text[begin] == MINUS:  # there is no negative zero
        some = False
        for i in range(digits, end):
            some |= text[i] > ZERO
        if not some:
            return -1
    out[o] = QUOTE
    o = copied(out, o + 1, text, begin, end)
    if scale and not fraction:
        out[o] = POINT
        o += 1
    for _ in range(scale - fraction):
        out[o] = ZERO
        o += 1
    out[o] = QUOTE
    return o + 1


@borrowing
def _float(text: Array, p: int, end: int, out: Array, o: int) -> Whole:
    """Write a number that is the shortest to say its double; where it ends, or -1."""
    begin = p
    if text[p] == MINUS:
        p += 1
    digits = p
    while p < end and ZERO <= text[p] <= NINE:
        p += 1
    whole = p - digits
    if not whole or whole > _SURE_DIGITS:
        return -1
    if p == end:
        if text[digits] == ZERO and text[begin] == MINUS:
            return -1
        o = copied(out, o, text, begin, end)
        out[o], out[o + 1] = POINT, ZERO
        return o + 2
    if text[p] != POINT:
        return -1
    point = p
    p += 1
    zeros = 0
    while p < end and text[p] == ZERO:
        p += 1
        zeros += 1
    while p < end and ZERO <= text[p] <= NINE:
        p += 1
    if p != end or end - digits > _SURE_DIGITS + 1:
        return -1
    if zeros == end - point - 1:  # nothing but zeros behind the point
        if zeros != 1 or (text[digits] == ZERO and text[begin] == MINUS):
            return -1
    elif text[end - 1] == ZERO or (text[digits] == ZERO and zeros > _SMALL_ZEROS):
        return -1
    return copied(out, o, text, begin, end)


@borrowing
def _integer(text: Array, p: int, end: int) -> bool:
    """Whether a number is a canonical integer as it is written."""
    begin = p
    if text[p] == MINUS:
        p += 1
    if end - p > _SURE_DIGITS or p == end or (text[p] == ZERO and (begin != p or end - p > 1)):
        return False
    while p < end and ZERO <= text[p] <= NINE:
        p += 1
    return p == end


@borrowing
def _moment(text: Array, p: int, end: int, out: Array, o: int) -> Whole:
    """Write a time in UTC with its microseconds; where it ends, or -1."""
    if timestamp(text.ctypes.data, p + 1, end - 1) == ABSENT:
        return -1
    size = end - p - 2  # without quotes
    o = copied(out, o, text, p, end - 2)
    there = size - 20  # of a point and digits; a time without has twenty characters
    for i in range(there, len(_FRACTION)):
        out[o] = _FRACTION[i]
        o += 1
    out[o], out[o + 1] = _Z, QUOTE
    return o + 2


@borrowing
def usual(text: Array, p: int, end: int, kind: int, scale: int, out: Array, o: int) -> Whole:
    """Write a value that is in its usual form as its canonical form; where it ends, or -1."""
    quoted = text[p] == QUOTE
    if kind == STRING:
        return copied(out, o, text, p, end) if _text(text, p, end) else -1
    if kind == DECIMAL:
        return _decimal(text, p, end, scale, out, o)
    if kind == INTEGER:
        return copied(out, o, text, p, end) if not quoted and _integer(text, p, end) else -1
    if kind == FLOAT:
        return -1 if quoted else _float(text, p, end, out, o)
    if kind == BOOLEAN:
        if after(text, p, TRUE_WORD) == end or after(text, p, FALSE_WORD) == end:
            return copied(out, o, text, p, end)
        return -1
    if kind == DATE:
        if quoted and end - p == 12 and date(text.ctypes.data, p + 1) != ABSENT:
            return copied(out, o, text, p, end)
        return -1
    if kind == TIMESTAMP:
        return _moment(text, p, end, out, o) if quoted else -1
    return -1
