"""Lines of hub ``resolved`` written by compiled code: what merge/lines.py writes, many times as fast.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Columns, Whole, borrowing
from flockiq.shared.machine.memory import lowest, put_word
from flockiq.shared.machine.tokens import MINUS, bytes_of, copied

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
_LOW = np.uint64((1 << 32) - 1)
_BYTES, _NIBBLES, _SIXES = np.uint64(0xFF000000FF), np.uint64(0x000F000F000F000F), np.uint64(0x0606060606060606)
_ONES, _ZEROS = np.uint64(0x0101010101010101), np.uint64(0x3030303030303030)
_EIGHT = 10**8
_SIGN = np.uint64(1 << 63)
_DAY_US = 86_400_000_000
_QUOTE, _DASH, _T, _Z, _COLON, _POINT, _V = 34, 45, 84, 90, 58, 46, 118


@borrowing
def _put(out: Array, o: int, text: Array) -> Whole:
    return copied(out, o, text, 0, len(text))


@borrowing
def _hexed(bits: Whole, out: Array, o: int) -> Whole:
    """Write a word as sixteen hexadecimal digits."""
    for half_ in (bits >> np.uint64(32), bits & _LOW):
        # Each nibble gets a byte of its own, the first lowest; then letters are told from digits.
        spread = (half_ >> np.uint64(16)) | (half_ & np.uint64(0xFFFF)) << np.uint64(32)
        spread = ((spread >> np.uint64(8)) & _BYTES) | (spread & _BYTES) << np.uint64(16)
        spread = ((spread >> np.uint64(4)) & _NIBBLES) | (spread & _NIBBLES) << np.uint64(8)
        letters = ((spread + _SIXES) >> np.uint64(4)) & _ONES
        put_word(out.ctypes.data, o, spread + _ZEROS + letters * np.uint64(39))
        o += 8
    return o


@borrowing
def _eight_digits(value: Whole) -> Whole:
    """The eight digits of a number below 10^8, the first lowest, without their zero."""
    bits = np.uint64(value // 10_000) | np.uint64(value % 10_000) << np.uint64(32)
    hundreds = (bits * np.uint64(10_486) >> np.uint64(20)) & np.uint64(0x7F0000007F)
    bits = hundreds | (bits - hundreds * np.uint64(100)) << np.uint64(16)
    tens = (bits * np.uint64(103) >> np.uint64(10)) & np.uint64(0x000F000F000F000F)
    return tens | (bits - tens * np.uint64(10)) << np.uint64(8)


@borrowing
def _number(value: Whole, out: Array, o: int) -> Whole:
    """Write a number that is not negative. Behind what is written, up to seven bytes are of no use."""
    address = out.ctypes.data
    power = np.int64(1)
    while value // power >= _EIGHT:
        power *= _EIGHT
    digits = _eight_digits(value // power)
    zeros = min(lowest(np.int64(digits)) >> 3, 7)
    put_word(address, o, (digits + _ZEROS) >> np.uint64(8 * zeros))
    o += 8 - zeros
    while power > 1:
        value %= power
        power //= _EIGHT
        put_word(address, o, _eight_digits(value // power) + _ZEROS)
        o += 8
    return o


@borrowing
def _whole(value: int, out: Array, o: int) -> Whole:
    if value < 0:
        out[o] = MINUS
        o += 1
        value = -value
    return _number(value, out, o)


@borrowing
def _digits(value: int, width: int, out: Array, o: int) -> Whole:
    """Write a number with leading zeros, of at most eight digits."""
    put_word(out.ctypes.data, o, (_eight_digits(value) + _ZEROS) >> np.uint64(64 - 8 * width))
    return o + width


@borrowing
def _date(days: int, out: Array, o: int) -> Whole:
    """Write the day, and a T."""
    # The civil calendar of days since 1970: years that begin in March, so that the leap day comes last.
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    o = _digits(year_of_era + era * 400 + (month <= 2), 4, out, o)
    out[o] = _DASH
    o = _digits(month, 2, out, o + 1)
    out[o] = _DASH
    o = _digits(day, 2, out, o + 1)
    out[o] = _T
    return o + 1


@borrowing
def _time(us: int, out: Array, o: int) -> Whole:
    """Write RFC 3339 in UTC with microseconds: shared.instants.rfc3339."""
    days = us // _DAY_US
    rest = us - days * _DAY_US
    o = _date(days, out, o)
    o = _digits(rest // 3_600_000_000, 2, out, o)
    out[o] = _COLON
    o = _digits(rest // 60_000_000 % 60, 2, out, o + 1)
    out[o] = _COLON
    o = _digits(rest // 1_000_000 % 60, 2, out, o + 1)
    out[o] = _POINT
    o = _digits(rest % 1_000_000, 6, out, o + 1)
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
        o = _hexed(np.uint64(versions.tie[version]) ^ _SIGN, out, o)
        o = _hexed(np.uint64(versions.rest[version]), out, o)
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
        o = _number(rr >> 32, out, o)
        o = _put(out, o, _ROW)
        o = _number(rr & ((1 << 32) - 1), out, o)
        o = _put(out, o, _CAPTURED)
        o = _whole(rows.captured_us[row], out, o)
        if again:
            o = _number(revision[k], out, _put(out, o, _REVISION))
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
