"""Lines of hub ``resolved`` found in a text, compiled: what shared/lines.py does with msgspec, many times as fast.

A line is taken here when it is exactly as ``wire.encode`` writes it; every other line is left to the
decoder that can say what is wrong with it. pipeline/rowfields.py reads the fields of those that were taken.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.parts import (
    AT_ONCE,
    BEGIN,
    END,
    ENTITY_HIGH,
    ENTITY_LOW,
    EVENT_HIGH,
    EVENT_LOW,
    FIELDS,
    GROUP,
    KEY,
    LINE,
    MATCH,
    OP,
    PARTS,
    REVISION,
    RR,
    SOURCE,
    STREAM,
    TYPE,
    US,
)
from flockiq.pipeline.rowjson import members_end, whole
from flockiq.pipeline.rowknown import ask_id, find, know, place
from flockiq.shared.instants import EARLIEST_US, LATEST_US
from flockiq.shared.machine.code import Array, Truth, Whole, compiled, inlined
from flockiq.shared.machine.memory import WIDE, byte, copy, load, lowest, newlines, store
from flockiq.shared.machine.stretches import after, alike, closing, id_at, is_utf8, literal
from flockiq.shared.rows import DELETE, UPSERT, VOID
from flockiq.shared.wire import MAX_FIELDS_BYTES, MAX_KEY

_BEGIN = literal('{"specversion":"1.0","id":"')
_SOURCE = literal('","source":"')
_TYPE = literal('","type":"flockiq.resolved","time":"')
_TENANT = literal('","tenant":"')
_TRACE = literal('","traceparent":"')
_SUBJECT = literal('","subject":"')
_OP = literal('","data":{"op":"')
_ENTITY = literal('","entity":"')
_ENTITY_ID = literal('","entity_id":"')
_MATCH_KEY = literal('","match_key":"')
_GROUP = literal('","group":"')
_STREAM = literal('","stream":"')
_KEY = literal('","key":"')
_TS_US = literal('","ts_us":')
_RUN = literal(',"run":')
_ROW = literal(',"row":')
_CAPTURED = literal(',"captured_us":')
_REV = literal(',"rev":')
_FIELDS = literal(',"fields":{')
_CLOSED = literal("}}}")


@inlined
def _stretch(text: int, p: int, said: Array, out: int, column: int) -> Whole:
    """Read a literal and the text behind it into two columns; where its closing quote is, or -1."""
    p = after(text, p, said)
    if p < 0:
        return p
    close = closing(text, p)
    store(out, column, p)
    store(out, column + 1, close)
    return close


@inlined
def _past(text: int, p: int, said: Array) -> Whole:
    """Read past a literal and the text behind it; where its closing quote is, or -1."""
    p = after(text, p, said)
    return p if p < 0 else closing(text, p)


@inlined
def _between(text: int, p: int, said: Array, least: int, most: int) -> tuple[Whole, Whole]:
    """Read a literal and the integer behind it, which is within bounds: where it ends, or -1, and itself."""
    p = after(text, p, said)
    if p < 0:
        return p, np.int64(0)
    p, value = whole(text, p)
    return p if least <= value <= most else np.int64(-1), value


@inlined
def _identity(text: int, p: int, out: int) -> Whole:
    """Read a line up to its entity's type; where that ends, or -1."""
    p = after(text, p, _BEGIN)
    if p < 0:
        return p
    there, high, low = id_at(text, p)
    if not there:
        return -1
    store(out, EVENT_HIGH, high)
    store(out, EVENT_LOW, low)
    p = _stretch(text, p + 32, _SOURCE, out, SOURCE)
    if p < 0:
        return p
    p = _past(text, p, _TYPE)
    if p < 0:
        return p
    p = _past(text, p, _TENANT)
    if p < 0:
        return p
    traced = after(text, p, _TRACE)
    if traced >= 0:
        p = closing(text, traced)
        if p < 0:
            return p
    p = _past(text, p, _SUBJECT)
    if p < 0:
        return p
    p = after(text, p, _OP)
    if p < 0:
        return p
    op = byte(text, p)
    if op == 99 or op == 114 or op == 117:
        store(out, OP, UPSERT)
    elif op == 100:
        store(out, OP, DELETE)
    elif op == 118:
        store(out, OP, VOID)
    else:
        return -1
    return _stretch(text, p + 1, _ENTITY, out, TYPE)


@inlined
def _envelope(text: int, p: int, out: int) -> Whole:
    """Read a line up to its fields into the row of parts ``out``; where they begin, or -1."""
    p = _identity(text, p, out)
    if p < 0:
        return p
    p = after(text, p, _ENTITY_ID)
    if p < 0:
        return p
    own = p
    there, high, low = id_at(text, p)
    if not there:
        return -1
    store(out, ENTITY_HIGH, high)
    store(out, ENTITY_LOW, low)
    p = _stretch(text, p + 32, _MATCH_KEY, out, MATCH)
    if p < 0:
        return p
    p = _stretch(text, p, _GROUP, out, GROUP)
    if p < 0:
        return p
    if p - load(out, GROUP) == 32 and alike(text, own, text, load(out, GROUP), 32):
        store(out, GROUP, -1)
    p = _stretch(text, p, _STREAM, out, STREAM)
    if p < 0:
        return p
    p = _stretch(text, p, _KEY, out, KEY)
    if p < 0 or p - load(out, KEY) > MAX_KEY:
        return -1
    return _position(text, p, out)


@inlined
def _position(text: int, p: int, out: int) -> Whole:
    """Read what stands between a line's key and its fields; where these begin, or -1."""
    p, us = _between(text, p, _TS_US, EARLIEST_US, LATEST_US)
    if p < 0:
        return p
    p, run = _between(text, p, _RUN, 0, (1 << 31) - 1)
    if p < 0:
        return p
    p, row = _between(text, p, _ROW, 0, (1 << 32) - 1)
    if p < 0:
        return p
    p, _ = _between(text, p, _CAPTURED, EARLIEST_US, LATEST_US)
    if p < 0:
        return p
    revision = np.int64(0)
    if after(text, p, _REV) >= 0:
        p, revision = _between(text, p, _REV, 0, (1 << 62) - 1)
        if p < 0:
            return p
    store(out, US, us)
    store(out, RR, run << 32 | row)
    store(out, REVISION, revision)
    return after(text, p, _FIELDS)


@inlined
def _sound(text: int, begin: int, fields: int, end: int) -> Truth:
    """Whether a line's fields are plain members, not too large, up to the three braces at its end, and it is UTF-8."""
    close = end - 3
    return close - fields <= MAX_FIELDS_BYTES and members_end(text, fields) == close and is_utf8(text, begin, end)


@inlined
def _begun(text: int, begin: int, out: int) -> Whole:
    """Read a line up to its fields into the row of parts ``out``, FIELDS -1 where it is none of ours; where it ends."""
    fields = _envelope(text, begin, out)
    p = max(begin, fields)
    found = newlines(text, p)
    while found == 0:
        p += WIDE
        found = newlines(text, p)
    p += lowest(found)
    ours = fields >= 0 and p - fields >= 3 and after(text, p - 3, _CLOSED) == p
    store(out, BEGIN, begin)
    store(out, END, p)
    store(out, FIELDS, fields if ours else np.int64(-1))
    return p


@compiled
def scan(
    bytes_: Array,
    size: int,
    events: Array,
    parts: Array,
    left: Array,
    counts: Array,
    homes: Array,
    secret: Array,
    key: Array,
) -> bool:
    """Find the parts of each line of a text, ``bytes_``, which has ``size`` bytes of NDJSON and PADDING behind them.

    ``parts``: int64 [n, P], of the lines taken (see parts.py); ``left``: int64 [m, 3], of the others their
    number from 0, where they begin and end. ``events``: int64 [E, 2], where each event's text begins; its first line's
    number is put beside. ``counts``: how many lines were taken, and left, and how many there are. False
    where ``left`` has no room. ``homes``, ``secret``: what lines are known by (prints.py); ``key``: int64 [n], the
    lanes of the keys of those that are, whose fields have been looked at when they first came.

    AT_ONCE lines are taken together, step by step: what a step looks into, the one before it has asked for.
    """
    text, rows, keys = bytes_.ctypes.data, parts.ctypes.data, key.ctypes.data
    n = others = line = event = 0
    p = 0
    while p <= size:
        first, here = n, 0
        while here < AT_ONCE and p <= size:
            if event < len(events) and p == events[event, 0]:
                events[event, 1] = line
                event += 1
            out = rows + (first + here) * 8 * PARTS
            store(out, LINE, line)
            p = _begun(text, p, out) + 1
            if load(out, FIELDS) >= 0:
                place(text, out, homes, secret)
            line += 1
            here += 1
        for i in range(first, first + here):
            if load(rows + i * 8 * PARTS, FIELDS) >= 0:
                ask_id(rows + i * 8 * PARTS, homes)
        for i in range(first, first + here):
            if load(rows + i * 8 * PARTS, FIELDS) >= 0:
                find(rows + i * 8 * PARTS, homes)
        for i in range(first, first + here):
            out = rows + i * 8 * PARTS
            begin, fields, end = load(out, BEGIN), load(out, FIELDS), load(out, END)
            if fields >= 0 and know(out, n, homes, secret, keys):
                taken = is_utf8(text, begin, fields)
            else:
                taken = fields >= 0 and _sound(text, begin, fields, end)
            if taken:
                if n < i:
                    copy(rows, n * 8 * PARTS, out, 0, 8 * PARTS)
                n += 1
                continue
            if others == len(left):
                return False
            left[others, 0], left[others, 1], left[others, 2] = load(out, LINE), begin, end
            others += 1
    counts[0], counts[1], counts[2] = n, others, line
    return True
