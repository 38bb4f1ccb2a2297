"""Where values of JSON end, compiled: lines are found, and their fields read, by it.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Whole, inlined
from flockiq.shared.machine.memory import WIDE, byte, lowest, stops, word
from flockiq.shared.machine.stretches import QUOTE, after, closing, eight_digits, literal

_NULL, _TRUE, _FALSE = literal("null"), literal("true"), literal("false")

_BACKSLASH, _MINUS, _POINT, _ZERO, _NINE = 92, 45, 46, 48, 57
_COMMA, _COLON, _CLOSE, _U = 44, 58, 125, 117
_MOST_DIGITS = 17  # of a number that surely fits a lane

_HEX = np.zeros(256, np.bool_)
_HEX[np.frombuffer(b"0123456789abcdefABCDEF", np.uint8)] = True
_ESCAPES = np.zeros(256, np.bool_)
_ESCAPES[np.frombuffer(b'"\\/bfnrt', np.uint8)] = True


@inlined
def whole(text: int, p: int) -> tuple[Whole, Whole]:
    """Read an integer of up to _MOST_DIGITS digits: where it ends, or -1, and itself."""
    negative = byte(text, p) == _MINUS
    if negative:
        p += 1
    first = p
    value = np.int64(0)
    eight = eight_digits(word(text, p))
    while eight >= 0 and p - first < 16:
        value = value * 100_000_000 + eight
        p += 8
        eight = eight_digits(word(text, p))
    digit = byte(text, p) - _ZERO
    while 0 <= digit <= 9 and p - first <= _MOST_DIGITS:
        value = value * 10 + digit
        p += 1
        digit = byte(text, p) - _ZERO
    if p - first > _MOST_DIGITS or p == first or (byte(text, first) == _ZERO and p - first > 1):
        return np.int64(-1), value
    return p, -value if negative else value


@inlined
def quoted(text: int, p: int) -> Whole:
    """Where a text that begins at the quote ``p`` ends (past its last quote), escapes or not; -1 if it does not."""
    p += 1
    while True:
        found = stops(text, p)
        while found == 0:
            p += WIDE
            found = stops(text, p)
        p += lowest(found)
        if byte(text, p) == QUOTE:
            return p + 1
        if byte(text, p) != _BACKSLASH:
            return -1
        p += 1
        if byte(text, p) == _U:
            for i in range(p + 1, p + 5):
                if not _HEX[byte(text, i)]:
                    return -1
        elif not _ESCAPES[byte(text, p)]:
            return -1
        p += 1


@inlined
def _digits(text: int, p: int) -> Whole:
    """Where a run of digits ends."""
    while _ZERO <= byte(text, p) <= _NINE:
        p += 1
    return p


@inlined
def _number(text: int, p: int) -> Whole:
    """Where a JSON number ends, or -1."""
    if byte(text, p) == _MINUS:
        p += 1
    begin = p
    p = _digits(text, p)
    if p == begin or (byte(text, begin) == _ZERO and p > begin + 1):
        return -1
    if byte(text, p) == _POINT:
        begin = p + 1
        p = _digits(text, begin)
        if p == begin:
            return -1
    if byte(text, p) | 32 == 101:
        p += 1
        if byte(text, p) == _MINUS or byte(text, p) == 43:
            p += 1
        begin = p
        p = _digits(text, p)
        if p == begin:
            return -1
    return p


@inlined
def value_end(text: int, p: int) -> Whole:
    """Where a text, number or word ends; -1 if it is none of them: an object, a list, no JSON."""
    first = byte(text, p)
    if first == QUOTE:
        return quoted(text, p)
    if first == 110:
        return after(text, p, _NULL)
    if first == 116:
        return after(text, p, _TRUE)
    if first == 102:
        return after(text, p, _FALSE)
    return _number(text, p)


@inlined
def members_end(text: int, p: int) -> Whole:
    """Where the members of the object ``fields`` end (at its brace), or -1."""
    if byte(text, p) == _CLOSE:
        return p
    while byte(text, p) == QUOTE:
        p = closing(text, p + 1)
        if p < 0 or byte(text, p + 1) != _COLON:
            return -1
        p = value_end(text, p + 2)
        if p < 0:
            return -1
        if byte(text, p) == _CLOSE:
            return p
        if byte(text, p) != _COMMA:
            return -1
        p += 1
    return np.int64(-1)
