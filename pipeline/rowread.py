"""Lines of hub ``resolved`` into columns, compiled: what pipeline/decode.py does with msgspec, many times as fast.

A line is taken here when it is exactly as ``wire.encode`` writes it; every other line is left to the
decoder that can say what is wrong with it. A value that is in its usual form is turned into its
lane; every other value is left to the same decoder, alone. Text is UTF-8 that has been checked.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.codes import BOOLEAN, DATE, DECIMAL, FLOAT, INTEGER, JSON, STRING, TIMESTAMP
from flockiq.pipeline.machine import Array, Columns, Whole, compiled, find
from flockiq.shared.instants import EARLIEST_US, LATEST_US
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.rows import DELETE, UPSERT, VOID
from flockiq.shared.wire import MAX_FIELDS_BYTES, MAX_KEY


def _bytes(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)


_BEGIN = _bytes('{"specversion":"1.0","id":"')
_SOURCE = _bytes(',"source":"')
_TYPE = _bytes(',"type":"flockiq.resolved","time":"')
_TENANT = _bytes(',"tenant":"')
_TRACE = _bytes(',"traceparent":"')
_SUBJECT = _bytes(',"subject":"')
_OP = _bytes(',"data":{"op":"')
_ENTITY = _bytes(',"entity":"')
_ENTITY_ID = _bytes(',"entity_id":"')
_MATCH_KEY = _bytes(',"match_key":"')
_GROUP = _bytes(',"group":"')
_STREAM = _bytes(',"stream":"')
_KEY = _bytes(',"key":"')
_TS_US = _bytes(',"ts_us":')
_RUN = _bytes(',"run":')
_ROW = _bytes(',"row":')
_CAPTURED = _bytes(',"captured_us":')
_REV = _bytes(',"rev":')
_FIELDS = _bytes(',"fields":{')
_NULL = _bytes("null")
_TRUE = _bytes("true")
_FALSE = _bytes("false")

_QUOTE, _BACKSLASH, _NEWLINE, _MINUS, _POINT, _ZERO, _NINE = 34, 92, 10, 45, 46, 48, 57
_COMMA, _COLON, _CLOSE, _DASH, _T, _U, _Z, _SLASH = 44, 58, 125, 45, 84, 117, 90, 47
_SPACE = 32  # what is below it does not stand in a text as it is
_MOST_DIGITS = 17  # of a number that surely fits a lane
_EXACT = 1 << 53  # up to here every integer is a double
_EXACT_POWER = 22  # and so is every power of ten

_POWERS = np.array([10.0**power for power in range(_EXACT_POWER + 1)])
_TENS = np.array([10**power for power in range(19)], np.int64)
_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_HEX = np.full(256, -1, np.int8)
_HEX[_bytes("0123456789abcdef")] = np.arange(16)
_PLAIN = np.zeros(256, np.uint8)  # what a short escape stands for
_PLAIN[_bytes('"\\/bfnrt')] = np.frombuffer(b'"\\/\b\f\n\r\t', np.uint8)

_SIGN = np.uint64(1 << 63)
_MASK = np.uint64((1 << 61) - 1)
_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_P4, _P5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)


@compiled
def _turned(word: Whole, by: int) -> Whole:
    """A word's bits, turned to the left."""
    return (word << np.uint64(by)) | (word >> np.uint64(64 - by))


@compiled
def _word(text: Array, p: int) -> Whole:
    """Eight bytes, little end first."""
    return (
        np.uint64(text[p])
        | np.uint64(text[p + 1]) << np.uint64(8)
        | np.uint64(text[p + 2]) << np.uint64(16)
        | np.uint64(text[p + 3]) << np.uint64(24)
        | np.uint64(text[p + 4]) << np.uint64(32)
        | np.uint64(text[p + 5]) << np.uint64(40)
        | np.uint64(text[p + 6]) << np.uint64(48)
        | np.uint64(text[p + 7]) << np.uint64(56)
    )


@compiled
def _mixed(state: Whole, word: Whole) -> Whole:
    """One round of XXH64."""
    return _turned(state + word * _P2, 31) * _P1


@compiled
def lane_of_bytes(text: Array, p: int, end: int) -> Whole:
    """The lane of a text (shared.lanes.text_lane): XXH64 of its bytes, 61 bits of it."""
    size = np.uint64(end - p)
    if end - p >= 32:
        a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
        while p + 32 <= end:
            a, b = _mixed(a, _word(text, p)), _mixed(b, _word(text, p + 8))
            c, d = _mixed(c, _word(text, p + 16)), _mixed(d, _word(text, p + 24))
            p += 32
        state = _turned(a, 1) + _turned(b, 7) + _turned(c, 12) + _turned(d, 18)
        for part in (a, b, c, d):
            state = (state ^ _mixed(np.uint64(0), part)) * _P1 + _P4
    else:
        state = _P5
    state += size
    while p + 8 <= end:
        state = _turned(state ^ _mixed(np.uint64(0), _word(text, p)), 27) * _P1 + _P4
        p += 8
    if p + 4 <= end:
        half = (
            np.uint64(text[p])
            | np.uint64(text[p + 1]) << np.uint64(8)
            | np.uint64(text[p + 2]) << np.uint64(16)
            | np.uint64(text[p + 3]) << np.uint64(24)
        )
        state = _turned(state ^ (half * _P1), 23) * _P2 + _P3
        p += 4
    while p < end:
        state = _turned(state ^ (np.uint64(text[p]) * _P5), 11) * _P1
        p += 1
    state = (state ^ (state >> np.uint64(33))) * _P2
    state = (state ^ (state >> np.uint64(29))) * _P3
    state ^= state >> np.uint64(32)
    return np.int64(state & _MASK)


@compiled
def _after(text: Array, p: int, literal: Array) -> Whole:
    """Where a literal that stands at ``p`` ends; -1 if it doesn't, or ``p`` is -1 already."""
    if p < 0 or p + len(literal) > len(text):
        return -1
    for i in range(len(literal)):
        if text[p + i] != literal[i]:
            return -1
    return p + len(literal)


@compiled
def _closing(text: Array, p: int) -> Whole:
    """Where the quote that ends a text without escapes stands; -1 if there is none such."""
    if p < 0:
        return -1
    while p < len(text):
        byte = text[p]
        if byte == _QUOTE:
            return p
        if byte == _BACKSLASH or byte < _SPACE:
            return -1
        p += 1
    return -1


@compiled
def _whole(text: Array, p: int, out: Array) -> Whole:
    """Read an integer of up to _MOST_DIGITS digits into ``out[0]``; where it ends, or -1."""
    if p < 0:
        return -1
    begin = p
    negative = p < len(text) and text[p] == _MINUS
    if negative:
        p += 1
    digits = p
    value = np.int64(0)
    while p < len(text) and _ZERO <= text[p] <= _NINE:
        value = value * 10 + (np.int64(text[p]) - _ZERO)
        p += 1
        if p - digits > _MOST_DIGITS:
            return -1
    if p == digits or (text[digits] == _ZERO and p - digits > 1) or p == begin:
        return -1
    out[0] = -value if negative else value
    return p


@compiled
def _hex(text: Array, p: int) -> Whole:
    """Sixteen hexadecimal digits as a word."""
    word = np.uint64(0)
    for i in range(16):
        word = word << np.uint64(4) | np.uint64(_HEX[text[p + i]])
    return word


@compiled
def _is_hex(text: Array, p: int, end: int) -> bool:
    """Whether a text is an id: 32 hexadecimal digits in lower case."""
    if end - p != 32:
        return False
    for i in range(p, end):
        if _HEX[text[i]] < 0:
            return False
    return True


@compiled
def _text(text: Array, p: int, literal: Array, begin: Array, end: Array, n: int) -> Whole:
    """Read a literal and the text behind it; where it ends (past the quote), or -1."""
    p = _after(text, p, literal)
    close = _closing(text, p)
    if close < 0:
        return -1
    begin[n], end[n] = p, close
    return close + 1


@compiled
def _between(text: Array, p: int, literal: Array, lowest: int, highest: int, out: Array) -> Whole:
    """Read a literal and the integer behind it, which is within bounds; where it ends, or -1."""
    p = _whole(text, _after(text, p, literal), out)
    return p if p >= 0 and lowest <= out[0] <= highest else -1


@compiled
def _envelope(text: Array, p: int, n: int, out: Columns, number: Array) -> Whole:
    """Read a line up to its fields into row ``n``; where they begin, or -1."""
    p = _text(text, p, _BEGIN, out.id_begin, out.id_end, n)
    p = _text(text, p, _SOURCE, out.source_begin, out.source_end, n)
    p = _closing(text, _after(text, p, _TYPE)) + 1
    p = _closing(text, _after(text, p or -1, _TENANT)) + 1
    p = p or -1
    traced = _after(text, p, _TRACE)
    if traced >= 0:
        p = _closing(text, traced) + 1
        p = p or -1
    p = _closing(text, _after(text, p, _SUBJECT)) + 1
    p = _after(text, p or -1, _OP)
    if p < 0 or p + 1 >= len(text) or text[p + 1] != _QUOTE:
        return -1
    op = text[p]
    if op == 100:
        out.op[n] = DELETE
    elif op == 118:
        out.op[n] = VOID
    elif op == 99 or op == 114 or op == 117:
        out.op[n] = UPSERT
    else:
        return -1
    p = _text(text, p + 2, _ENTITY, out.entity_begin, out.entity_end, n)
    p = _text(text, p, _ENTITY_ID, out.entity_id_begin, out.entity_id_end, n)
    p = _text(text, p, _MATCH_KEY, out.match_begin, out.match_end, n)
    p = _text(text, p, _GROUP, out.group_begin, out.group_end, n)
    p = _text(text, p, _STREAM, out.stream_begin, out.stream_end, n)
    p = _text(text, p, _KEY, out.key_begin, out.key_end, n)
    if p < 0 or out.key_end[n] - out.key_begin[n] > MAX_KEY:
        return -1
    p = _between(text, p, _TS_US, EARLIEST_US, LATEST_US, number)
    out.us[n] = number[0]
    p = _between(text, p, _RUN, 0, (1 << 31) - 1, number)
    out.rr[n] = number[0] << 32
    p = _between(text, p, _ROW, 0, (1 << 32) - 1, number)
    out.rr[n] |= number[0]
    p = _between(text, p, _CAPTURED, EARLIEST_US, LATEST_US, number)
    out.revision[n] = 0
    revised = _after(text, p, _REV)
    if revised >= 0:
        p = _between(text, revised, _FIELDS[:0], 0, (1 << 62) - 1, number)
        out.revision[n] = number[0]
    p = _after(text, p, _FIELDS)
    out.fields_begin[n] = p
    return p


@compiled
def _quoted(text: Array, p: int) -> Whole:
    """Where a text that begins at the quote ``p`` ends (past its last quote), escapes or not; -1 if it does not."""
    p += 1
    while p < len(text):
        byte = text[p]
        if byte == _QUOTE:
            return p + 1
        if byte < _SPACE:
            return -1
        if byte == _BACKSLASH:
            p += 1
            if p >= len(text):
                return -1
            if text[p] == _U:
                for i in range(p + 1, p + 5):
                    if i >= len(text) or not _is_digit_of_hex(text[i]):
                        return -1
            elif not _PLAIN[text[p]]:
                return -1
        p += 1
    return -1


@compiled
def _is_digit_of_hex(byte: int) -> bool:
    """Of either case."""
    return _HEX[byte] >= 0 or 65 <= byte <= 70


@compiled
def _digits(text: Array, p: int) -> Whole:
    """Where a run of digits ends."""
    while p < len(text) and _ZERO <= text[p] <= _NINE:
        p += 1
    return p


@compiled
def _number(text: Array, p: int) -> Whole:
    """Where a JSON number ends, or -1."""
    if text[p] == _MINUS:
        p += 1
    begin = p
    p = _digits(text, p)
    if p == begin or (text[begin] == _ZERO and p > begin + 1):
        return -1
    if p < len(text) and text[p] == _POINT:
        begin = p + 1
        p = _digits(text, begin)
        if p == begin:
            return -1
    if p < len(text) and (text[p] == 101 or text[p] == 69):
        p += 1
        if p < len(text) and (text[p] == _MINUS or text[p] == 43):
            p += 1
        begin = p
        p = _digits(text, p)
        if p == begin:
            return -1
    return p


@compiled
def _value_end(text: Array, p: int) -> Whole:
    """Where a text, number or word ends; -1 if it is none of them: an object, a list, no JSON."""
    if p >= len(text):
        return -1
    byte = text[p]
    if byte == _QUOTE:
        return _quoted(text, p)
    if byte == 110:
        return _after(text, p, _NULL)
    if byte == 116:
        return _after(text, p, _TRUE)
    if byte == 102:
        return _after(text, p, _FALSE)
    return _number(text, p)


@compiled
def _members(text: Array, p: int) -> Whole:
    """Where the members of the object ``fields`` end (at its brace), or -1."""
    if p < len(text) and text[p] == _CLOSE:
        return p
    while p < len(text):
        if text[p] != _QUOTE:
            return -1
        p = _closing(text, p + 1) + 1
        if p == 0 or p >= len(text) or text[p] != _COLON:
            return -1
        p = _value_end(text, p + 1)
        if p < 0 or p >= len(text):
            return -1
        if text[p] == _CLOSE:
            return p
        if text[p] != _COMMA:
            return -1
        p += 1
    return -1


@compiled
def scan(text: Array, out: Columns) -> Whole:
    """Find the parts of each line of ``text``; how many lines were taken.

    Of lines taken, ``out.line`` is their number from 0, and the rest where their parts are. Of
    lines left, ``out.left`` is their number and ``left_begin``, ``left_end`` where they are; ``out.counts`` has how
    many, and how many lines there are.
    """
    number = np.zeros(1, np.int64)
    n = left = line = 0
    p = 0
    while p < len(text):
        begin = p
        p = _envelope(text, begin, n, out, number)
        if p >= 0:
            p = _members(text, p)
            out.fields_end[n] = p
        if p >= 0 and p - out.fields_begin[n] > MAX_FIELDS_BYTES:
            p = -1
        # past the brace of fields those of data and of the line
        if (
            p >= 0
            and p + 2 < len(text)
            and text[p + 1] == _CLOSE
            and text[p + 2] == _CLOSE
            and (p + 3 == len(text) or text[p + 3] == _NEWLINE)
        ):
            out.line[n] = line
            out.begin[n], out.end[n] = begin, p + 3
            n += 1
            p += 4
        else:
            p = begin
            while p < len(text) and text[p] != _NEWLINE:
                p += 1
            out.left[left], out.left_begin[left], out.left_end[left] = line, begin, p
            left += 1
            p += 1
        line += 1
    out.counts[0], out.counts[1] = left, line
    return n


@compiled
def _same(text: Array, begin: int, end: int, names: Array, first: int, last: int) -> bool:
    """Whether a stretch of text is one of the names."""
    if end - begin != last - first:
        return False
    for i in range(end - begin):
        if text[begin + i] != names[first + i]:
            return False
    return True


@compiled
def which(text: Array, begin: Array, end: Array, names: Array, bounds: Array, found: Array) -> None:
    """The number of the name that each stretch of text is, or -1."""
    last = 0
    for i in range(len(found)):
        found[i] = -1
        if len(bounds) < 2:
            continue
        if _same(text, begin[i], end[i], names, bounds[last], bounds[last + 1]):
            found[i] = last
            continue
        for number in range(len(bounds) - 1):
            if _same(text, begin[i], end[i], names, bounds[number], bounds[number + 1]):
                found[i] = last = number
                break


@compiled
def ids(text: Array, begin: Array, end: Array, high: Array, low: Array) -> Whole:
    """Ids of 32 hexadecimal digits as two words, the first so that it orders as the text does; how many are none."""
    others = 0
    for i in range(len(begin)):
        if _is_hex(text, begin[i], end[i]):
            high[i] = np.int64(_hex(text, begin[i]) ^ _SIGN)
            low[i] = np.int64(_hex(text, begin[i] + 16))
        else:
            high[i] = low[i] = ABSENT
            others += 1
    return others


@compiled
def known(high: Array, low: Array, keys: Array, values: Array, lows: Array, found: Array) -> Whole:
    """The number of the entity that each id is of, by a table of first words and the second word of each; -1: new.

    Returns how many are new.
    """
    new = 0
    for i in range(len(high)):
        at = find(keys, high[i])
        found[i] = values[at] if at >= 0 and lows[values[at]] == low[i] else -1
        new += found[i] < 0
    return new


@compiled
def missing(lanes: Array, keys: Array, found: Array) -> Whole:
    """Which lanes a table does not hold; how many."""
    count = 0
    for i in range(len(lanes)):
        if find(keys, lanes[i]) < 0:
            found[count] = i
            count += 1
    return count


@compiled
def keys_of(text: Array, out: Columns, at: Array, lane: Array, scratch: Array) -> None:
    """The lanes of stream/key of the lines ``at``."""
    for i in range(len(at)):
        n = at[i]
        size = 0
        for p in range(out.stream_begin[n], out.stream_end[n]):
            scratch[size] = text[p]
            size += 1
        scratch[size] = _SLASH
        size += 1
        for p in range(out.key_begin[n], out.key_end[n]):
            scratch[size] = text[p]
            size += 1
        lane[i] = lane_of_bytes(scratch, 0, size)


@compiled
def _plain(text: Array, p: int, end: int, scratch: Array) -> Whole:
    """A text without its short escapes into ``scratch``; its size, or -1 where it has a long one."""
    size = 0
    while p < end:
        byte = text[p]
        if byte == _BACKSLASH:
            p += 1
            byte = _PLAIN[text[p]]
            if byte == 0:
                return -1
        scratch[size] = byte
        size += 1
        p += 1
    return size


@compiled
def _lane_of_text(text: Array, p: int, end: int, scratch: Array) -> Whole:
    """The lane of a quoted text from ``p`` to ``end``, quotes included; ABSENT where it is left to others."""
    for i in range(p + 1, end - 1):
        if text[i] == _BACKSLASH:
            size = _plain(text, p + 1, end - 1, scratch)
            return lane_of_bytes(scratch, 0, size) if size >= 0 else ABSENT
    return lane_of_bytes(text, p + 1, end - 1)


@compiled
def _decimal(text: Array, p: int, end: int, scale: int) -> Whole:
    """The scaled integer that a text of digits is, or ABSENT."""
    negative = p < end and text[p] == _MINUS
    if negative:
        p += 1
    begin = p
    value, fraction, point = np.int64(0), 0, False
    while p < end:
        byte = text[p]
        if byte == _POINT and not point and p > begin:
            point = True
        elif _ZERO <= byte <= _NINE:
            value = value * 10 + (np.int64(byte) - _ZERO)
            fraction += point
        else:
            return ABSENT
        p += 1
    missing = scale - fraction
    if missing < 0 or p - begin + missing > _MOST_DIGITS or p == begin or (point and not fraction):
        return ABSENT
    value *= _TENS[missing]
    return -value if negative else value


@compiled
def _double(text: Array, p: int, end: int, bits: Array, double: Array) -> Whole:
    """The lane of a number that a double holds as it is written, or ABSENT where that needs more care."""
    negative = text[p] == _MINUS
    if negative:
        p += 1
    begin = p
    value, fraction, point = np.int64(0), 0, False
    while p < end:
        byte = text[p]
        if byte == _POINT and not point and p > begin and p + 1 < end:
            point = True
        elif _ZERO <= byte <= _NINE:
            value = value * 10 + (np.int64(byte) - _ZERO)
            fraction += point
        else:
            return ABSENT
        p += 1
        if p - begin > _MOST_DIGITS + 1:
            return ABSENT
    if p == begin or value > _EXACT or fraction > _EXACT_POWER:
        return ABSENT
    if text[begin] == _ZERO and p - begin > 1 and text[begin + 1] != _POINT:
        return ABSENT
    real = np.float64(value) / _POWERS[fraction]
    double[0] = (-real if negative else real) + 0.0
    lane = bits[0] ^ np.int64((1 << 63) - 1) if bits[0] < 0 else bits[0]
    return lane + 1 if lane == ABSENT or lane == NULL else lane


@compiled
def _two(text: Array, p: int) -> Whole:
    """Two digits as a number, or -1."""
    if _ZERO <= text[p] <= _NINE and _ZERO <= text[p + 1] <= _NINE:
        return (np.int64(text[p]) - _ZERO) * 10 + np.int64(text[p + 1]) - _ZERO
    return np.int64(-1)


@compiled
def _date(text: Array, p: int) -> Whole:
    """The days since 1970 of ten characters YYYY-MM-DD, or ABSENT."""
    century, years, month, day = _two(text, p), _two(text, p + 2), _two(text, p + 5), _two(text, p + 8)
    if century < 0 or years < 0 or text[p + 4] != _DASH or text[p + 7] != _DASH:
        return ABSENT
    year = century * 100 + years
    if year < 1 or month < 1 or month > 12 or day < 1:
        return ABSENT
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _DAYS[month - 1] + (leap and month == 2):
        return ABSENT
    # Days from the civil calendar: years that begin in March, so that the leap day comes last.
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (9 if month <= 2 else -3)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@compiled
def _timestamp(text: Array, p: int, end: int) -> Whole:
    """The µs since 1970 of YYYY-MM-DDTHH:MM:SS[.ffffff]Z, or ABSENT."""
    if end - p < 20 or text[p + 10] != _T or text[end - 1] != _Z or text[p + 13] != _COLON or text[p + 16] != _COLON:
        return ABSENT
    days = _date(text, p)
    hour, minute, second = _two(text, p + 11), _two(text, p + 14), _two(text, p + 17)
    if days == ABSENT or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return ABSENT
    us = ((days * 24 + hour) * 60 + minute) * 60 + second
    digits = end - 1 - (p + 20)
    if end - p == 20:
        return us * 1_000_000
    if text[p + 19] != _POINT or digits < 1 or digits > 6:
        return ABSENT
    fraction = np.int64(0)
    for i in range(p + 20, end - 1):
        if text[i] < _ZERO or text[i] > _NINE:
            return ABSENT
        fraction = fraction * 10 + np.int64(text[i]) - _ZERO
    return us * 1_000_000 + fraction * _TENS[6 - digits]


@compiled
def _lane(
    text: Array, p: int, end: int, kind: int, scale: int, scratch: Array, number: Array, bits: Array, double: Array
) -> Whole:
    """The lane of one JSON value, or ABSENT where it is left to others."""
    if text[p] == 110:
        return NULL if end - p == 4 and _after(text, p, _NULL) == end else ABSENT
    quoted = text[p] == _QUOTE
    if kind == STRING or kind == JSON:
        return _lane_of_text(text, p, end, scratch) if quoted else ABSENT
    if kind == DECIMAL:
        return _decimal(text, p + 1, end - 1, scale) if quoted else ABSENT
    if kind == INTEGER:
        return number[0] if _whole(text, p, number) == end else ABSENT
    if kind == FLOAT:
        return _double(text, p, end, bits, double) if not quoted else ABSENT
    if kind == BOOLEAN:
        if _after(text, p, _TRUE) == end:
            return np.int64(1)
        return np.int64(0) if _after(text, p, _FALSE) == end else ABSENT
    if kind == DATE:
        return _date(text, p + 1) if quoted and end - p == 12 else ABSENT
    if kind == TIMESTAMP:
        return _timestamp(text, p + 1, end - 1) if quoted else ABSENT
    return ABSENT


@compiled
def read_fields(
    text: Array, begin: Array, end: Array, shape: Columns, lanes: Array, value: Array, out: Columns, scratch: Array
) -> tuple[int, int]:
    """Read the members of ``fields`` of some lines into ``value``, int64 [n, F], ABSENT where nothing is said.

    ``lanes``: the keys of a table of texts that are known. Returns how many values are left to others
    (``out.row``, ``field``, ``begin``, ``end``; field -1: the whole record, which says a
    field twice) and how many texts are new (``new_lane``, ``new_begin``, ``new_end``, quotes included; the same
    may come twice).
    """
    number = np.zeros(1, np.int64)
    bits = np.zeros(1, np.int64)
    double = bits.view(np.float64)
    names, bounds, kind, scale = shape.names, shape.bounds, shape.kind, shape.scale
    fields = len(kind)
    said = np.full(fields, -1, np.int64)
    left = new = 0
    for i in range(len(begin)):
        for field in range(fields):
            value[i, field] = ABSENT
        p, expected = begin[i], 0
        while p < end[i]:
            first = p + 1
            close = first
            while text[close] != _QUOTE:
                close += 1
            field = expected
            if field >= fields or not _same(text, first, close, names, bounds[field], bounds[field + 1]):
                field = 0
                while field < fields and not _same(text, first, close, names, bounds[field], bounds[field + 1]):
                    field += 1
            p = close + 2
            stop = _value_end(text, p)
            if field < fields and said[field] == i:  # said twice: what counts is for others to say
                out.row[left], out.field[left], out.begin[left], out.end[left] = i, -1, p, stop
                left += 1
                break
            if field < fields:
                said[field] = i
                lane = _lane(text, p, stop, kind[field], scale[field], scratch, number, bits, double)
                value[i, field] = lane
                expected = field + 1
                if lane == ABSENT:
                    out.row[left], out.field[left], out.begin[left], out.end[left] = i, field, p, stop
                    left += 1
                elif lane != NULL and (kind[field] == STRING or kind[field] == JSON) and find(lanes, lane) < 0:
                    out.new_lane[new], out.new_begin[new], out.new_end[new] = lane, p, stop
                    new += 1
            p = stop + 1
    return left, new
