"""Values written out as text by compiled code, at an address.

A function writes at ``p`` and returns where that ends. It may write up to PADDING bytes more: whoever calls it has
that much room, and writes what comes next after it. A text that is read has PADDING bytes behind its end.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Truth, Whole, borrowing, inlined
from flockiq.shared.machine.memory import WIDE, byte, copy_wide, lowest, put, put_word, stops

_QUOTE, _BACKSLASH, _MINUS, _POINT, _COLON, _ZERO, _T, _U, _Z = 34, 92, 45, 46, 58, 48, 84, 117, 90
_EIGHT = 100_000_000
_TENS = np.array([10**power for power in range(19)], np.int64)
_ZEROS, _ONES, _SIXES = np.uint64(0x3030303030303030), np.uint64(0x0101010101010101), np.uint64(0x0606060606060606)
_DAY_US = 86_400_000_000
_SHORT = np.zeros(256, np.uint8)  # what stands behind the backslash for a byte that has a short escape
_SHORT[np.frombuffer(b'"\\\b\f\n\r\t', np.uint8)] = np.frombuffer(b'"\\bfnrt', np.uint8)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_ESCAPED = 6  # bytes of the longest escape


@borrowing
def put_text(out: int, p: int, text: int, q: int, size: int) -> Whole:
    """Write a text as it is."""
    for at in range(0, size, WIDE):
        copy_wide(out, p + at, text, q + at)
    return p + size


@inlined
def quoted_room(text: int, q: int, size: int) -> Whole:
    """At least as many bytes as a text has in quotes."""
    if size <= WIDE:
        return _ESCAPED * size + 2
    more = 0
    for at in range(q, q + size, WIDE):
        if stops(text, at) != 0:
            more += WIDE
    return size + (_ESCAPED - 1) * more + 2


@borrowing
def put_quoted(out: int, p: int, text: int, q: int, size: int) -> Whole:
    """Write a text as JSON."""
    put(out, p, _QUOTE)
    p, end = p + 1, q + size
    while q < end:
        copy_wide(out, p, text, q)
        step = min(lowest(stops(text, q)), WIDE)
        if step >= end - q:
            p += end - q
            break
        p, q = p + step, q + step
        if step < WIDE:
            p = _put_escape(out, p, byte(text, q))
            q += 1
    put(out, p, _QUOTE)
    return p + 1


@inlined
def _put_escape(out: int, p: int, code: int) -> Whole:
    put(out, p, _BACKSLASH)
    short = np.int64(_SHORT[code])
    if short:
        put(out, p + 1, short)
        return p + 2
    put(out, p + 1, _U)
    put(out, p + 2, _ZERO)
    put(out, p + 3, _ZERO)
    put(out, p + 4, np.int64(_HEX[code >> 4]))
    put(out, p + 5, np.int64(_HEX[code & 15]))
    return p + _ESCAPED


@inlined
def _eight_digits(number: Whole) -> Whole:
    """The eight digits of a number as a word of their values, the first lowest."""
    high = number // np.uint64(10_000)
    fours = high | (number - high * np.uint64(10_000)) << np.uint64(32)
    tops = (fours * np.uint64(10_486) >> np.uint64(20)) & np.uint64(0x0000007F0000007F)
    pairs = tops | (fours - np.uint64(100) * tops) << np.uint64(16)
    tens = (pairs * np.uint64(103) >> np.uint64(10)) & np.uint64(0x000F000F000F000F)
    return tens | (pairs - np.uint64(10) * tens) << np.uint64(8)


@inlined
def _put_first(out: int, p: int, number: Whole) -> Whole:
    """Write a number of at most eight digits without zeros before it."""
    digits = _eight_digits(number)
    zeros = lowest(np.int64(digits | np.uint64(1) << np.uint64(56))) >> 3
    put_word(out, p, (digits | _ZEROS) >> np.uint64(8 * zeros))
    return p + 8 - zeros


@inlined
def _put_last(out: int, p: int, number: Whole, width: int) -> Whole:
    """Write the last digits of a number, as many as ``width``, which is at most eight."""
    put_word(out, p, (_eight_digits(number) | _ZEROS) >> np.uint64(8 * (8 - width)))
    return p + width


@borrowing
def put_number(out: int, p: int, number: int) -> Whole:
    """Write an integer between ±10^18."""
    if number < 0:
        put(out, p, _MINUS)
        p, number = p + 1, -number
    rest = np.uint64(number)
    eight = np.uint64(_EIGHT)
    if rest < eight:
        return _put_first(out, p, rest)
    above = rest // eight
    if above < eight:
        p = _put_first(out, p, above)
    else:
        top = above // eight
        p = _put_first(out, p, top)
        p = _put_last(out, p, above - top * eight, 8)
    return _put_last(out, p, rest - above * eight, 8)


@borrowing
def put_scaled(out: int, p: int, lane: int, scale: int) -> Whole:
    """Write a scaled integer between ±10^18 with its point."""
    if scale == 0:
        return put_number(out, p, lane)
    if lane < 0:
        put(out, p, _MINUS)
        p, lane = p + 1, -lane
    whole = lane // _TENS[scale]
    rest = lane - whole * _TENS[scale]
    p = put_number(out, p, whole)
    put(out, p, _POINT)
    p += 1
    while scale > 8:
        part = rest // _TENS[scale - 8]
        p = _put_last(out, p, np.uint64(part), 8)
        rest, scale = rest - part * _TENS[scale - 8], scale - 8
    return _put_last(out, p, np.uint64(rest), scale)


@borrowing
def put_date(out: int, p: int, days: int) -> Whole:
    """Write the ten characters YYYY-MM-DD of a day since 1970."""
    # Days into the civil calendar: years that begin in March, so that the leap day comes last.
    since = days + 719_468
    era = since // 146_097
    of_era = since - era * 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    day = of_year - (153 * shifted + 2) // 5 + 1
    p = _put_last(out, p, np.uint64(year + era * 400 + (month <= 2)), 4)
    put(out, p, _MINUS)
    p = _put_last(out, p + 1, np.uint64(month), 2)
    put(out, p, _MINUS)
    return _put_last(out, p + 1, np.uint64(day), 2)


@borrowing
def put_moment(out: int, p: int, us: int) -> Whole:
    """Write the 27 characters of RFC 3339 in UTC with microseconds."""
    days = us // _DAY_US
    us -= days * _DAY_US
    seconds = us // 1_000_000
    minutes = seconds // 60
    hours = minutes // 60
    p = put_date(out, p, days)
    put(out, p, _T)
    p = _put_last(out, p + 1, np.uint64(hours), 2)
    put(out, p, _COLON)
    p = _put_last(out, p + 1, np.uint64(minutes - hours * 60), 2)
    put(out, p, _COLON)
    p = _put_last(out, p + 1, np.uint64(seconds - minutes * 60), 2)
    put(out, p, _POINT)
    p = _put_last(out, p + 1, np.uint64(us - seconds * 1_000_000), 6)
    put(out, p, _Z)
    return p + 1


@inlined
def _put_hex(out: int, p: int, bits: Whole) -> Whole:
    """Write the eight hexadecimal digits of a number of 32 bits."""
    # Its bytes, the first lowest, each alone in a stretch of two, then its halves, each in a byte of its own.
    turned = (bits >> np.uint64(24)) | ((bits >> np.uint64(8)) & np.uint64(0xFF00))
    turned |= ((bits & np.uint64(0xFF00)) << np.uint64(8)) | ((bits & np.uint64(0xFF)) << np.uint64(24))
    apart = (turned | turned << np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    apart = (apart | apart << np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    halves = ((apart >> np.uint64(4)) & np.uint64(0x000F000F000F000F)) | (
        (apart & np.uint64(0x000F000F000F000F)) << np.uint64(8)
    )
    letters = ((halves + _SIXES) >> np.uint64(4)) & _ONES
    put_word(out, p, halves + _ZEROS + letters * np.uint64(39))
    return p + 8


@borrowing
def put_id(out: int, p: int, high: Whole, low: Whole) -> Whole:
    """Write the 32 digits of an id from its halves, uint64; nothing is written behind them."""
    for half in (high, low):
        p = _put_hex(out, p, half >> np.uint64(32))
        p = _put_hex(out, p, half & np.uint64(0xFFFFFFFF))
    return p


@borrowing
def put_boolean(out: int, p: int, truth: Truth) -> Whole:
    """Write true or false."""
    if truth:
        put_word(out, p, np.uint64(0x65757274))  # "true"
        return p + 4
    put_word(out, p, np.uint64(0x65736C6166))  # "false"
    return p + 5
