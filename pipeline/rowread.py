"""Lines of hub ``resolved`` into columns, compiled: what pipeline/decode.py does with msgspec, many times as fast.

A line is taken here when it is exactly as ``wire.encode`` writes it; every other line is left to the
decoder that can say what is wrong with it. A value that is in its usual form is turned into its
lane; every other value is left to the same decoder, alone. Text is UTF-8 that has been checked.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.codes import BOOLEAN, DATE, DECIMAL, FLOAT, INTEGER, JSON, STRING, TIMESTAMP
from flockiq.shared.instants import EARLIEST_US, LATEST_US
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.machine.code import Array, Columns, Whole, compiled, find
from flockiq.shared.machine.hashes import lane_of_bytes
from flockiq.shared.machine.moments import date, timestamp
from flockiq.shared.machine.tokens import (
    BACKSLASH,
    CLOSE,
    COLON,
    COMMA,
    FALSE_WORD,
    MINUS,
    MOST_DIGITS,
    NEWLINE,
    NINE,
    NULL_WORD,
    POINT,
    QUOTE,
    SHORT_ESCAPES,
    SLASH,
    TENS,
    TRUE_WORD,
    ZERO,
    after,
    bytes_of,
    closing,
    hex_word,
    is_id,
    same,
    text_behind,
    value_end,
    whole,
    whole_behind,
)
from flockiq.shared.rows import DELETE, UPSERT, VOID
from flockiq.shared.wire import MAX_FIELDS_BYTES, MAX_KEY

_BEGIN = bytes_of('{"specversion":"1.0","id":"')
_SOURCE = bytes_of(',"source":"')
_TYPE = bytes_of(',"type":"flockiq.resolved","time":"')
_TENANT = bytes_of(',"tenant":"')
_TRACE = bytes_of(',"traceparent":"')
_SUBJECT = bytes_of(',"subject":"')
_OP = bytes_of(',"data":{"op":"')
_ENTITY = bytes_of(',"entity":"')
_ENTITY_ID = bytes_of(',"entity_id":"')
_MATCH_KEY = bytes_of(',"match_key":"')
_GROUP = bytes_of(',"group":"')
_STREAM = bytes_of(',"stream":"')
_KEY = bytes_of(',"key":"')
_TS_US = bytes_of(',"ts_us":')
_RUN = bytes_of(',"run":')
_ROW = bytes_of(',"row":')
_CAPTURED = bytes_of(',"captured_us":')
_REV = bytes_of(',"rev":')
_FIELDS = bytes_of(',"fields":{')

_EXACT = 1 << 53  # up to here every integer is a double
_EXACT_POWER = 22  # and so is every power of ten

_POWERS = np.array([10.0**power for power in range(_EXACT_POWER + 1)])
_SIGN = np.uint64(1 << 63)


@compiled
def _envelope(text: Array, p: int, n: int, out: Columns, number: Array) -> Whole:
    """Read a line up to its fields into row ``n``; where they begin, or -1."""
    p = text_behind(text, p, _BEGIN, out.id_begin, out.id_end, n)
    p = text_behind(text, p, _SOURCE, out.source_begin, out.source_end, n)
    p = closing(text, after(text, p, _TYPE)) + 1
    p = closing(text, after(text, p or -1, _TENANT)) + 1
    p = p or -1
    traced = after(text, p, _TRACE)
    if traced >= 0:
        p = closing(text, traced) + 1
        p = p or -1
    p = closing(text, after(text, p, _SUBJECT)) + 1
    p = after(text, p or -1, _OP)
    if p < 0 or p + 1 >= len(text) or text[p + 1] != QUOTE:
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
    p = text_behind(text, p + 2, _ENTITY, out.entity_begin, out.entity_end, n)
    p = text_behind(text, p, _ENTITY_ID, out.entity_id_begin, out.entity_id_end, n)
    p = text_behind(text, p, _MATCH_KEY, out.match_begin, out.match_end, n)
    p = text_behind(text, p, _GROUP, out.group_begin, out.group_end, n)
    p = text_behind(text, p, _STREAM, out.stream_begin, out.stream_end, n)
    p = text_behind(text, p, _KEY, out.key_begin, out.key_end, n)
    if p < 0 or out.key_end[n] - out.key_begin[n] > MAX_KEY:
        return -1
    p = whole_behind(text, p, _TS_US, EARLIEST_US, LATEST_US, number)
    out.us[n] = number[0]
    p = whole_behind(text, p, _RUN, 0, (1 << 31) - 1, number)
    out.rr[n] = number[0] << 32
    p = whole_behind(text, p, _ROW, 0, (1 << 32) - 1, number)
    out.rr[n] |= number[0]
    p = whole_behind(text, p, _CAPTURED, EARLIEST_US, LATEST_US, number)
    out.revision[n] = 0
    revised = after(text, p, _REV)
    if revised >= 0:
        p = whole_behind(text, revised, _FIELDS[:0], 0, (1 << 62) - 1, number)
        out.revision[n] = number[0]
    p = after(text, p, _FIELDS)
    out.fields_begin[n] = p
    return p


@compiled
def _members(text: Array, p: int) -> Whole:
    """Where the members of the object ``fields`` end (at its brace), or -1."""
    if p < len(text) and text[p] == CLOSE:
        return p
    while p < len(text):
        if text[p] != QUOTE:
            return -1
        p = closing(text, p + 1) + 1
        if p == 0 or p >= len(text) or text[p] != COLON:
            return -1
        p = value_end(text, p + 1)
        if p < 0 or p >= len(text):
            return -1
        if text[p] == CLOSE:
            return p
        if text[p] != COMMA:
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
            and text[p + 1] == CLOSE
            and text[p + 2] == CLOSE
            and (p + 3 == len(text) or text[p + 3] == NEWLINE)
        ):
            out.line[n] = line
            out.begin[n], out.end[n] = begin, p + 3
            n += 1
            p += 4
        else:
            p = begin
            while p < len(text) and text[p] != NEWLINE:
                p += 1
            out.left[left], out.left_begin[left], out.left_end[left] = line, begin, p
            left += 1
            p += 1
        line += 1
    out.counts[0], out.counts[1] = left, line
    return n


@compiled
def which(text: Array, begin: Array, end: Array, names: Array, bounds: Array, found: Array) -> None:
    """The number of the name that each stretch of text is, or -1."""
    last = 0
    for i in range(len(found)):
        found[i] = -1
        if len(bounds) < 2:
            continue
        if same(text, begin[i], end[i], names, bounds[last], bounds[last + 1]):
            found[i] = last
            continue
        for number in range(len(bounds) - 1):
            if same(text, begin[i], end[i], names, bounds[number], bounds[number + 1]):
                found[i] = last = number
                break


@compiled
def ids(text: Array, begin: Array, end: Array, high: Array, low: Array) -> Whole:
    """Ids of 32 hexadecimal digits as two words, the first so that it orders as the text does; how many are none."""
    others = 0
    for i in range(len(begin)):
        if is_id(text, begin[i], end[i]):
            high[i] = np.int64(hex_word(text, begin[i]) ^ _SIGN)
            low[i] = np.int64(hex_word(text, begin[i] + 16))
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
        scratch[size] = SLASH
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
        if byte == BACKSLASH:
            p += 1
            byte = SHORT_ESCAPES[text[p]]
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
        if text[i] == BACKSLASH:
            size = _plain(text, p + 1, end - 1, scratch)
            return lane_of_bytes(scratch, 0, size) if size >= 0 else ABSENT
    return lane_of_bytes(text, p + 1, end - 1)


@compiled
def _decimal(text: Array, p: int, end: int, scale: int) -> Whole:
    """The scaled integer that a text of digits is, or ABSENT."""
    negative = p < end and text[p] == MINUS
    if negative:
        p += 1
    begin = p
    value, fraction, point = np.int64(0), 0, False
    while p < end:
        byte = text[p]
        if byte == POINT and not point and p > begin:
            point = True
        elif ZERO <= byte <= NINE:
            value = value * 10 + (np.int64(byte) - ZERO)
            fraction += point
        else:
            return ABSENT
        p += 1
    missing = scale - fraction
    if missing < 0 or p - begin + missing > MOST_DIGITS or p == begin or (point and not fraction):
        return ABSENT
    value *= TENS[missing]
    return -value if negative else value


@compiled
def _double(text: Array, p: int, end: int, bits: Array, double: Array) -> Whole:
    """The lane of a number that a double holds as it is written, or ABSENT where that needs more care."""
    negative = text[p] == MINUS
    if negative:
        p += 1
    begin = p
    value, fraction, point = np.int64(0), 0, False
    while p < end:
        byte = text[p]
        if byte == POINT and not point and p > begin and p + 1 < end:
            point = True
        elif ZERO <= byte <= NINE:
            value = value * 10 + (np.int64(byte) - ZERO)
            fraction += point
        else:
            return ABSENT
        p += 1
        if p - begin > MOST_DIGITS + 1:
            return ABSENT
    if p == begin or value > _EXACT or fraction > _EXACT_POWER:
        return ABSENT
    if text[begin] == ZERO and p - begin > 1 and text[begin + 1] != POINT:
        return ABSENT
    real = np.float64(value) / _POWERS[fraction]
    double[0] = (-real if negative else real) + 0.0
    lane = bits[0] ^ np.int64((1 << 63) - 1) if bits[0] < 0 else bits[0]
    return lane + 1 if lane == ABSENT or lane == NULL else lane


@compiled
def _lane(
    text: Array, p: int, end: int, kind: int, scale: int, scratch: Array, number: Array, bits: Array, double: Array
) -> Whole:
    """The lane of one JSON value, or ABSENT where it is left to others."""
    if text[p] == 110:
        return NULL if end - p == 4 and after(text, p, NULL_WORD) == end else ABSENT
    quoted = text[p] == QUOTE
    if kind == STRING or kind == JSON:
        return _lane_of_text(text, p, end, scratch) if quoted else ABSENT
    if kind == DECIMAL:
        return _decimal(text, p + 1, end - 1, scale) if quoted else ABSENT
    if kind == INTEGER:
        return number[0] if whole(text, p, number) == end else ABSENT
    if kind == FLOAT:
        return _double(text, p, end, bits, double) if not quoted else ABSENT
    if kind == BOOLEAN:
        if after(text, p, TRUE_WORD) == end:
            return np.int64(1)
        return np.int64(0) if after(text, p, FALSE_WORD) == end else ABSENT
    if kind == DATE:
        return date(text, p + 1) if quoted and end - p == 12 else ABSENT
    if kind == TIMESTAMP:
        return timestamp(text, p + 1, end - 1) if quoted else ABSENT
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
            while text[close] != QUOTE:
                close += 1
            field = expected
            if field >= fields or not same(text, first, close, names, bounds[field], bounds[field + 1]):
                field = 0
                while field < fields and not same(text, first, close, names, bounds[field], bounds[field + 1]):
                    field += 1
            p = close + 2
            stop = value_end(text, p)
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
