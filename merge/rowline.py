"""Lines of hub ``resolved`` written by compiled code: what merge/lines.py writes, many times as fast.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Columns, Whole, borrowing
from flockiq.shared.machine.tokens import MINUS, TENS, ZERO, bytes_of, copied

_ID = bytes_of('{"specversion":"1.0","id":"')
_TIME = bytes_of(',"time":"')
_TRACE = bytes_of(',"traceparent":"')
_SUBJECT = bytes_of(',"subject":')
_OP = bytes_of(',"data":{"op":"')
_ABOUT = bytes_of('",')
_KEY = bytes_of(',"key":"')
_TS_US = bytes_of('","ts_us":')
_RUN = bytes_of(',"run":')
_ROW = bytes_of(',"row":')
_CAPTURED = bytes_of(',"captured_us":')
_REVISION = bytes_of(',"rev":')
_FIELDS = bytes_of(',"fields":')
_VOID = bytes_of("{}")
_END = bytes_of("}}\n")
_DIGITS = bytes_of("0123456789abcdef")
_SIGN = np.uint64(1 << 63)
_DAY_US = 86_400_000_000
_QUOTE, _DASH, _T, _Z, _COLON, _POINT, _V = 34, 45, 84, 90, 58, 46, 118


@borrowing
def _put(out: Array, o: int, text: Array) -> Whole:
    return copied(out, o, text, 0, len(text))


@borrowing
def hexed(word: Whole, out: Array, o: int) -> Whole:
    """Write a word as sixteen hexadecimal digits."""
    for i in range(16):
        out[o + i] = _DIGITS[np.int64((word >> np.uint64(60 - 4 * i)) & np.uint64(15))]
    return o + 16


@borrowing
def _number(value: int, width: int, out: Array, o: int) -> Whole:
    """Write a number that is not negative with leading zeros, or with as many digits as it needs (``width`` 1)."""
    size, rest = width, value // TENS[width]
    while rest:
        size += 1
        rest //= 10
    for i in range(size):
        out[o + size - 1 - i] = ZERO + value % 10
        value //= 10
    return o + size


@borrowing
def _whole(value: int, out: Array, o: int) -> Whole:
    if value < 0:
        out[o] = MINUS
        o += 1
        value = -value
    return _number(value, 1, out, o)


@borrowing
def _time(us: int, out: Array, o: int) -> Whole:
    """Write RFC 3339 in UTC with microseconds: shared.instants.rfc3339."""
    days = us // _DAY_US
    rest = us - days * _DAY_US
    # The civil calendar of days since 1970: years that begin in March, so that the leap day comes last.
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    o = _number(year_of_era + era * 400 + (month <= 2), 4, out, o)
    out[o] = _DASH
    o = _number(month, 2, out, o + 1)
    out[o] = _DASH
    o = _number(day, 2, out, o + 1)
    out[o] = _T
    o = _number(rest // 3_600_000_000, 2, out, o + 1)
    out[o] = _COLON
    o = _number(rest // 60_000_000 % 60, 2, out, o + 1)
    out[o] = _COLON
    o = _number(rest // 1_000_000 % 60, 2, out, o + 1)
    out[o] = _POINT
    o = _number(rest % 1_000_000, 6, out, o + 1)
    out[o] = _Z
    return o + 1


@borrowing
def write_lines(
    told_row: Array, told_version: Array, revision: Array, void: Array, text: Array, rows: Columns, versions: Columns,
    heap: Array, book: Columns, out: Array, ends: Array,
) -> None:  # fmt: skip
    """Write the lines of what was told, each with its newline; ``ends``: int64, where each ends in ``out``.

    revision, void: of lines that take the place of others, else of length 0.
    """
    o = 0
    again = len(revision) > 0
    for k in range(len(told_row)):
        row, version = told_row[k], told_version[k]
        place = versions.place[version]
        o = _put(out, o, _ID)
        o = hexed(np.uint64(versions.tie[version]) ^ _SIGN, out, o)
        o = hexed(np.uint64(versions.rest[version]), out, o)
        o = _put(out, o, book.source)
        us = versions.us[version]
        o = _time(us, out, o)
        out[o] = _QUOTE
        o = _put(out, o + 1, book.tenant)
        if rows.trace_end[row] > rows.trace_begin[row]:
            o = _put(out, o, _TRACE)
            o = copied(out, o, text, rows.trace_begin[row], rows.trace_end[row])
            out[o] = _QUOTE
            o += 1
        o = _put(out, o, _SUBJECT)
        middle = book.middles[place]
        o = copied(out, o, book.utf8, book.ends[place] - book.sizes[place], middle)
        o = _put(out, o, _OP)
        voided = again and void[k]
        out[o] = _V if voided else versions.op[version]
        o = _put(out, o + 1, _ABOUT)
        o = copied(out, o, book.utf8, middle, book.ends[place])
        o = _put(out, o, _KEY)
        o = copied(out, o, text, rows.key_begin[row], rows.key_end[row])
        o = _put(out, o, _TS_US)
        o = _whole(us, out, o)
        rr = versions.rr[version]
        o = _put(out, o, _RUN)
        o = _number(rr >> 32, 1, out, o)
        o = _put(out, o, _ROW)
        o = _number(rr & ((1 << 32) - 1), 1, out, o)
        o = _put(out, o, _CAPTURED)
        o = _whole(rows.captured_us[row], out, o)
        if again:
            o = _number(revision[k], 1, out, _put(out, o, _REVISION))
        o = _put(out, o, _FIELDS)
        if voided:
            o = _put(out, o, _VOID)
        else:
            o = copied(out, o, heap, versions.given_begin[version], versions.given_end[version])
        o = _put(out, o, _END)
        ends[k] = o


@borrowing
def gather(text: Array, begin: Array, end: Array, out: Array) -> None:
    """Write stretches of a text one after the other."""
    o = 0
    for i in range(len(begin)):
        o = copied(out, o, text, begin[i], end[i])
