"""The fields of lines into lanes, compiled: what ``decode`` does with msgspec, many times as fast.

A value that is in its usual form is turned into its lane; every other value is left to the decoder that can
say what is wrong with it, alone. What is read here has been found to be JSON, and UTF-8.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.parts import (
    BOOLEAN,
    DATE,
    DECIMAL,
    FIELDS,
    FLOAT,
    INTEGER,
    JSON,
    KNOWN,
    STRING,
    TIMESTAMP,
)
from flockiq.pipeline.rowindex import Held, ask_place, held, keep, likely
from flockiq.pipeline.rowjson import value_end, whole
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.machine.code import Array, Columns, Whole, compiled, inlined
from flockiq.shared.machine.dates import date, timestamp
from flockiq.shared.machine.memory import ask_for, bits_of, byte, load, put, store
from flockiq.shared.machine.stretches import QUOTE, after, alike, closing, lane_of_bytes, literal

_TRUE, _FALSE = literal("true"), literal("false")
_BACKSLASH, _MINUS, _POINT, _ZERO, _NINE, _COLON, _CLOSE = 92, 45, 46, 48, 57, 58, 125
_MOST_DIGITS = 17  # of a number that surely fits a lane
_EXACT = 1 << 53  # up to here every integer is a double
_EXACT_POWER = 22  # and so is every power of ten

_LATER = 16  # texts that wait, as rows of three words
_LANE, _BEGIN, _END = range(3)
_WORDS = 3
_TURN = _WORDS * _LATER  # behind them: whose turn it is

_POWERS = np.array([10.0**power for power in range(_EXACT_POWER + 1)])
_TENS = np.array([10**power for power in range(19)], np.int64)
_PLAIN = np.zeros(256, np.uint8)  # what a short escape stands for
_PLAIN[np.frombuffer(b'"\\/bfnrt', np.uint8)] = np.frombuffer(b'"\\/\b\f\n\r\t', np.uint8)


@compiled
def _plain(text: int, p: int, end: int, scratch: int) -> Whole:
    """A text without its short escapes into ``scratch``; its size, or -1 where it has a long one."""
    size = 0
    while p < end:
        here = byte(text, p)
        if here == _BACKSLASH:
            p += 1
            here = np.int64(_PLAIN[byte(text, p)])
            if here == 0:
                return -1
        put(scratch, size, here)
        size += 1
        p += 1
    return size


@inlined
def _decimal(text: int, p: int, end: int, scale: int) -> Whole:
    """The scaled integer that a text of digits is, or ABSENT."""
    negative = byte(text, p) == _MINUS
    if negative:
        p += 1
    begin = p
    value, fraction, point = np.int64(0), 0, False
    while p < end:
        here = byte(text, p)
        if here == _POINT and not point and p > begin:
            point = True
        elif _ZERO <= here <= _NINE:
            value = value * 10 + (here - _ZERO)
            fraction += point
        else:
            return ABSENT
        p += 1
    missing = scale - fraction
    if missing < 0 or p - begin + missing > _MOST_DIGITS or p == begin or (point and not fraction):
        return ABSENT
    value *= _TENS[missing]
    return -value if negative else value


@inlined
def _double(text: int, p: int, end: int) -> Whole:
    """The lane of a number that a double holds as it is written, or ABSENT where that needs more care."""
    negative = byte(text, p) == _MINUS
    if negative:
        p += 1
    begin = p
    value, fraction, point = np.int64(0), 0, False
    while p < end:
        here = byte(text, p)
        if here == _POINT and not point and p > begin and p + 1 < end:
            point = True
        elif _ZERO <= here <= _NINE:
            value = value * 10 + (here - _ZERO)
            fraction += point
        else:
            return ABSENT
        p += 1
        if p - begin > _MOST_DIGITS + 1:
            return ABSENT
    if p == begin or value > _EXACT or fraction > _EXACT_POWER:
        return ABSENT
    if byte(text, begin) == _ZERO and p - begin > 1 and byte(text, begin + 1) != _POINT:
        return ABSENT
    real = np.float64(value) / _POWERS[fraction]
    bits = bits_of((-real if negative else real) + 0.0)
    lane = bits ^ np.int64((1 << 63) - 1) if bits < 0 else bits
    return lane + 1 if lane == ABSENT or lane == NULL else lane


@inlined
def _kept(text: int, texts: Held, later: int) -> None:
    """Keep the text that has waited longest, if one has."""
    turn = load(later, _TURN)
    oldest = later + 8 * (_WORDS * (turn % _LATER))
    if load(oldest, _END) >= 0:
        keep(texts, load(oldest, _LANE), text, load(oldest, _BEGIN), load(oldest, _END))


@inlined
def _keep_later(lane: int, text: int, p: int, end: int, texts: Held, later: int) -> None:
    """Keep a text when the place where it is looked for has come into the cache; others, whose has, are kept now."""
    turn = load(later, _TURN)
    mine = later + 8 * (_WORDS * (turn % _LATER))
    _kept(text, texts, later)
    store(mine, _LANE, lane)
    store(mine, _BEGIN, p)
    store(mine, _END, end)
    store(later, _TURN, turn + 1)
    ask_place(texts[0], texts[5], lane)
    before = later + 8 * (_WORDS * ((turn + _LATER // 2) % _LATER))
    if load(before, _END) >= 0:
        number = likely(texts[0], texts[5], load(before, _LANE))
        if number >= 0:
            ask_for(texts[1], number)


@inlined
def _text(text: int, p: int, end: int, texts: Held, scratch: int, later: int) -> Whole:
    """The lane of a quoted text from ``p`` to ``end``, quotes included, which is kept; ABSENT where it is left."""
    close = closing(text, p + 1)
    if close == end - 1:
        lane = lane_of_bytes(text, p + 1, close)
        _keep_later(lane, text, p + 1, close, texts, later)
        return lane
    size = _plain(text, p + 1, end - 1, scratch)
    if size < 0:
        return ABSENT
    lane = lane_of_bytes(scratch, 0, size)
    keep(texts, lane, scratch, 0, size)
    return lane


@inlined
def _lane(
    text: int,
    p: int,
    end: int,
    kind: int,
    scale: int,
    texts: Held,
    scratch: int,
    later: int,
) -> Whole:
    """The lane of one JSON value, or ABSENT where it is left to others."""
    if byte(text, p) == 110:
        return NULL
    quoted = byte(text, p) == QUOTE
    if kind == STRING or kind == JSON:
        return _text(text, p, end, texts, scratch, later) if quoted else ABSENT
    if kind == DECIMAL:
        return _decimal(text, p + 1, end - 1, scale) if quoted else ABSENT
    if kind == INTEGER:
        stop, number = whole(text, p)
        return number if stop == end and not quoted else ABSENT
    if kind == FLOAT:
        return _double(text, p, end) if not quoted else ABSENT
    if kind == BOOLEAN:
        if after(text, p, _TRUE) == end:
            return np.int64(1)
        return np.int64(0) if after(text, p, _FALSE) == end else ABSENT
    if kind == DATE:
        return date(text, p + 1) if quoted and end - p == 12 else ABSENT
    if kind == TIMESTAMP:
        return timestamp(text, p + 1, end - 1) if quoted else ABSENT
    return ABSENT


@compiled
def read_fields(
    bytes_: Array,
    parts: Array,
    at: Array,
    shape: Columns,
    texts: Columns,
    value: Array,
    left: Array,
    scratch: Array,
) -> Whole:
    """Read the fields of the lines ``at`` of a text, ``bytes_``.

    Into ``value``, int64 [n, F], ABSENT where nothing is said.

    What a line says that is known stands there already. ``texts``: with room for all of them.

    Returns how many values are left to others: ``left`` int64 [m, 4], the row, the field, where the value begins
    and ends; field -1: the whole record, which says a field twice.
    """
    text, held_, spare = bytes_.ctypes.data, held(texts), scratch.ctypes.data
    names, bounds, kind, scale = shape.names.ctypes.data, shape.bounds, shape.kind, shape.scale
    fields = len(kind)
    said = np.full(fields, -1, np.int64)
    waiting = np.full(_TURN + 1, -1, np.int64)
    waiting[_TURN] = 0
    later = waiting.ctypes.data
    others = 0
    for i in range(len(at)):
        if parts[at[i], KNOWN] >= 0:
            continue
        for field in range(fields):
            value[i, field] = ABSENT
        p, expected = parts[at[i], FIELDS], 0
        while byte(text, p) != _CLOSE:
            p += byte(text, p) != QUOTE  # the comma
            p += 1
            field, close = expected, -1
            if field < fields:
                size = bounds[field + 1] - bounds[field]
                if byte(text, p + size) == QUOTE and alike(text, p, names, bounds[field], size):
                    close = p + size
            if close < 0:
                close = closing(text, p)
                field = 0
                while field < fields and not (
                    close - p == bounds[field + 1] - bounds[field] and alike(text, p, names, bounds[field], close - p)
                ):
                    field += 1
            p = close + 2
            stop = value_end(text, p)
            if field < fields:
                if said[field] == i:  # said twice: what counts is for others to say
                    left[others, 0], left[others, 1], left[others, 2], left[others, 3] = i, -1, p, stop
                    others += 1
                    break
                said[field] = i
                lane = _lane(text, p, stop, kind[field], scale[field], held_, spare, later)
                value[i, field] = lane
                expected = field + 1
                if lane == ABSENT:
                    left[others, 0], left[others, 1], left[others, 2], left[others, 3] = i, field, p, stop
                    others += 1
            p = stop
    for _ in range(_LATER):
        _kept(text, held_, later)
        store(later, _TURN, load(later, _TURN) + 1)
    return others
