"""JSON's tokens found in bytes by compiled code. Text is UTF-8 that has been checked.

A function that looks for something at ``p`` returns where it ends, and -1 where it is not there. Loops count in
unsigned integers: an index that might be negative is looked at for that at every access, and nothing of such a
loop is done in strides. Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Truth, Whole, compiled
from flockiq.shared.machine.memory import WIDE, copy_between, half, lowest, stops, word


def bytes_of(text: str) -> Array:
    """A text's bytes, for compiled code to compare with."""
    return np.frombuffer(text.encode(), np.uint8)


NULL_WORD = bytes_of("null")
TRUE_WORD = bytes_of("true")
FALSE_WORD = bytes_of("false")

QUOTE, BACKSLASH, NEWLINE, MINUS, POINT, ZERO, NINE = 34, 92, 10, 45, 46, 48, 57
COMMA, COLON, OPEN, CLOSE, OPEN_LIST, CLOSE_LIST, SLASH = 44, 58, 123, 125, 91, 93, 47
_U = 117
_SPACE = 32  # what is below it does not stand in a text as it is
MOST_DIGITS = 17  # of a number that surely fits a lane

_HEX = np.full(256, -1, np.int8)
_HEX[bytes_of("0123456789abcdef")] = np.arange(16)
_SPECIAL = np.zeros(256, np.bool_)  # what does not stand in a text as it is, or ends it
_SPECIAL[:_SPACE] = _SPECIAL[QUOTE] = _SPECIAL[BACKSLASH] = True
SHORT_ESCAPES = np.zeros(256, np.uint8)  # what a short escape stands for, 0 where there is none
SHORT_ESCAPES[bytes_of('"\\/bfnrt')] = np.frombuffer(b'"\\/\b\f\n\r\t', np.uint8)


@compiled
def same(text: Array, begin: int, end: int, names: Array, first: int, last: int) -> Truth:
    """Whether a stretch of text is one of the names."""
    size = end - begin
    if size != last - first:
        return False
    here, there = text.ctypes.data, names.ctypes.data
    if size < 4:
        for i in range(size):
            if text[begin + i] != names[first + i]:
                return False
        return True
    if size < 8:  # the last four may overlap the first
        return half(here, begin) == half(there, first) and half(here, end - 4) == half(there, last - 4)
    while size > 8:
        if word(here, begin) != word(there, first):
            return False
        begin, first, size = begin + 8, first + 8, size - 8
    return word(here, end - 8) == word(there, last - 8)


@compiled
def after(text: Array, p: int, literal: Array) -> Whole:
    """Where a literal that stands at ``p`` ends; -1 if it doesn't, or ``p`` is -1 already."""
    end = p + len(literal)
    if p < 0 or end > len(text) or not same(text, p, end, literal, 0, len(literal)):
        return -1
    return end


@compiled
def _special(text: Array, p: int) -> Whole:
    """Where the first byte stands that does not stand in a text as it is, or ends it; the text's end without one."""
    at = np.int64(p)
    while at + WIDE <= len(text):
        found = stops(text.ctypes.data, at)
        if found:
            return at + lowest(found)
        at += WIDE
    while at < len(text) and not _SPECIAL[text[at]]:
        at += 1
    return at


@compiled
def closing(text: Array, p: int) -> Whole:
    """Where the quote that ends a text without escapes stands; -1 if there is none such."""
    if p < 0:
        return -1
    at = _special(text, p)
    return at if at < len(text) and text[at] == QUOTE else -1


@compiled
def whole(text: Array, p: int, out: Array) -> Whole:
    """Read an integer of up to MOST_DIGITS digits into ``out[0]``; where it ends, or -1."""
    if p < 0:
        return -1
    begin = p
    negative = p < len(text) and text[p] == MINUS
    if negative:
        p += 1
    digits = p
    value = np.int64(0)
    while p < len(text) and ZERO <= text[p] <= NINE:
        value = value * 10 + (np.int64(text[p]) - ZERO)
        p += 1
        if p - digits > MOST_DIGITS:
            return -1
    if p == digits or (text[digits] == ZERO and p - digits > 1) or p == begin:
        return -1
    out[0] = -value if negative else value
    return p


@compiled
def hex_word(text: Array, p: int) -> Whole:
    """Sixteen hexadecimal digits as a word."""
    word = np.uint64(0)
    for i in range(16):
        word = word << np.uint64(4) | np.uint64(_HEX[text[p + i]])
    return word


@compiled
def is_id(text: Array, p: int, end: int) -> bool:
    """Whether a text is an id: 32 hexadecimal digits in lower case."""
    if end - p != 32:
        return False
    for i in range(p, end):
        if _HEX[text[i]] < 0:
            return False
    return True


@compiled
def text_behind(text: Array, p: int, literal: Array, begin: Array, end: Array, n: int) -> Whole:
    """Read a literal and the text behind it; where it ends (past the quote), or -1."""
    p = after(text, p, literal)
    close = closing(text, p)
    if close < 0:
        return -1
    begin[n], end[n] = p, close
    return close + 1


@compiled
def whole_behind(text: Array, p: int, literal: Array, lowest: int, highest: int, out: Array) -> Whole:
    """Read a literal and the integer behind it, which is within bounds; where it ends, or -1."""
    p = whole(text, after(text, p, literal), out)
    return p if p >= 0 and lowest <= out[0] <= highest else -1


@compiled
def quoted_end(text: Array, p: int) -> Whole:
    """Where a text that begins at the quote ``p`` ends (past its last quote), escapes or not; -1 if it does not."""
    at = _special(text, p + 1)
    while at < len(text) and text[at] != QUOTE:
        if text[at] != BACKSLASH:
            return -1
        at = _escaped(text, at + 1)
        if at == 0:
            return -1
        at = _special(text, at)
    return at + 1 if at < len(text) else -1


@compiled
def _escaped(text: Array, p: Whole) -> Whole:
    """Where what follows a backslash ends; 0 if that is no escape."""
    if p >= len(text):
        return 0
    if text[p] != _U:
        return p + 1 if SHORT_ESCAPES[text[p]] else 0
    if p + 5 > len(text) or ((text[p + 1] == 100 or text[p + 1] == 68) and text[p + 2] > 55):
        return 0  # half of a surrogate pair: whether it is sound is for others to say
    for i in range(p + 1, p + 5):
        if not _is_digit_of_hex(text[i]):
            return 0
    return p + 5


@compiled
def _is_digit_of_hex(byte: int) -> bool:
    """Of either case."""
    return _HEX[byte] >= 0 or 65 <= byte <= 70


@compiled
def past(text: Array, p: int) -> Whole:
    """Where blanks end."""
    while p < len(text) and (text[p] == _SPACE or text[p] == 9):
        p += 1
    return p


@compiled
def _digits(text: Array, p: int) -> Whole:
    """Where a run of digits ends."""
    while p < len(text) and ZERO <= text[p] <= NINE:
        p += 1
    return p


@compiled
def number_end(text: Array, p: int) -> Whole:
    """Where a JSON number ends, or -1."""
    if text[p] == MINUS:
        p += 1
    begin = p
    p = _digits(text, p)
    if p == begin or (text[begin] == ZERO and p > begin + 1):
        return -1
    if p < len(text) and text[p] == POINT:
        begin = p + 1
        p = _digits(text, begin)
        if p == begin:
            return -1
    if p < len(text) and (text[p] == 101 or text[p] == 69):
        p += 1
        if p < len(text) and (text[p] == MINUS or text[p] == 43):
            p += 1
        begin = p
        p = _digits(text, p)
        if p == begin:
            return -1
    return p


@compiled
def value_end(text: Array, p: int) -> Whole:
    """Where a text, number or word ends; -1 if it is none of them: an object, a list, no JSON."""
    if p >= len(text):
        return -1
    byte = text[p]
    if byte == QUOTE:
        return quoted_end(text, p)
    if byte == 110:
        return after(text, p, NULL_WORD)
    if byte == 116:
        return after(text, p, TRUE_WORD)
    if byte == 102:
        return after(text, p, FALSE_WORD)
    return number_end(text, p)


@compiled
def copied(out: Array, o: int, text: Array, begin: int, end: int) -> Whole:
    """Write a stretch of text; where it ends."""
    size = max(end - begin, 0)
    copy_between(out, np.int64(o), text, np.int64(begin), np.int64(size))
    return o + size
