"""What lanes stand for, written out by compiled code.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is. A function that writes returns where that ends; see
shared/machine/spelling.py for the room it needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flockiq.pipeline.parts import BOOLEAN, DATE, DECIMAL, FLOAT, JSON, STRING, TIMESTAMP
from flockiq.pipeline.rowindex import Held, sought
from flockiq.pipeline.tellings import BEGIN, DATA, FIXED_ROOM, SUBJECT, TIME
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.machine.code import Columns, Truth, Whole, borrowing, inlined
from flockiq.shared.machine.memory import load, lowest, newlines, put
from flockiq.shared.machine.spelling import (
    put_boolean,
    put_date,
    put_id,
    put_moment,
    put_quoted,
    put_scaled,
    put_text,
    quoted_room,
)

Spelt = Any  # the addresses of literals

_QUOTE = 34
_SIGN = np.uint64(1 << 63)


@inlined
def is_text(kind: int) -> Truth:
    """Whether a field's lanes stand for texts."""
    return kind == STRING or kind == JSON


@inlined
def there(lane: int) -> Truth:
    """Whether a lane is a value."""
    return lane != ABSENT and lane != NULL


@inlined
def literals_of(literals: Columns) -> Spelt:
    """The addresses of ``Literals``."""
    return literals.utf8.ctypes.data, literals.bounds.ctypes.data


@borrowing
def put_literal(out: int, p: int, literals: Spelt, number: int) -> Whole:
    """Write a literal."""
    utf8, bounds = literals
    begin = load(bounds, number)
    return put_text(out, p, utf8, begin, load(bounds, number + 1) - begin)


@borrowing
def put_member(out: int, p: int, literals: Spelt, number: int, first: Truth) -> Whole:
    """Write a literal that begins with a comma, without it where it is the first in its object."""
    utf8, bounds = literals
    begin = load(bounds, number) + first
    return put_text(out, p, utf8, begin, load(bounds, number + 1) - begin)


@inlined
def begin_line(
    out: int, p: int, literals: Spelt, high: Whole, low: Whole, us: int, entity_high: Whole, entity_low: Whole
) -> tuple[Whole, Whole]:
    """Write a line up to the id that its data begins with, which is its own; where that ends, and where its time is."""
    p = put_literal(out, p, literals, BEGIN)
    p = put_id(out, p, high, low)
    time = put_literal(out, p, literals, TIME)
    p = put_moment(out, time, us)
    p = put_literal(out, p, literals, SUBJECT)
    p = put_id(out, p, entity_high, entity_low)
    p = put_literal(out, p, literals, DATA)
    return put_id(out, p, high, low), time


@inlined
def end_line(lines: Columns, partition: int, p: int) -> None:
    """Note that a partition's line (``Lines``) ends at ``p``."""
    lines.at[partition] = p
    lines.ends[lines.first[partition] + lines.written[partition]] = p
    lines.written[partition] += 1


@inlined
def number_of_text(texts: Held, lane: int) -> Whole:
    """The number of a text, or -1."""
    places, lanes, _, _, _, mask = texts
    _, number = sought(places, lanes, mask, lane)
    return number


@inlined
def size_of(texts: Held, lane: int) -> Whole:
    """The bytes of a text, 0 where there is no value; -1: it is not known."""
    if not there(lane):
        return np.int64(0)
    number = number_of_text(texts, lane)
    if number < 0:
        return np.int64(-1)
    bounds = texts[3]
    return load(bounds, number + 1) - load(bounds, number)


@inlined
def named_room(texts: Held, lane: int) -> Whole:
    """At least as many bytes as a text has in quotes; or an id, which is what is no text."""
    number = number_of_text(texts, lane)
    if number < 0:
        return np.int64(FIXED_ROOM)
    bounds, utf8 = texts[3], texts[4]
    begin = load(bounds, number)
    return quoted_room(utf8, begin, load(bounds, number + 1) - begin)


@inlined
def put_known(out: int, p: int, texts: Held, number: int) -> Whole:
    """Write a text as it is, by its number."""
    bounds, utf8 = texts[3], texts[4]
    begin = load(bounds, number)
    return put_text(out, p, utf8, begin, load(bounds, number + 1) - begin)


@borrowing
def put_name(out: int, p: int, texts: Held, ids: Held, lane: int) -> Whole:
    """Write the text or the id behind a lane; -1: neither is known."""
    number = number_of_text(texts, lane)
    if number >= 0:
        return put_known(out, p, texts, number)
    places, lanes, _, rest, mask = ids
    _, number = sought(places, lanes, mask, lane)
    if number < 0:
        return np.int64(-1)
    return put_id(out, p, np.uint64(lane) ^ _SIGN, np.uint64(load(rest, number)))


@borrowing
def put_named(out: int, p: int, texts: Held, ids: Held, lane: int) -> Whole:
    """The same in quotes; -1, and nothing that counts is written: neither is known."""
    number = number_of_text(texts, lane)
    if number >= 0:
        bounds, utf8 = texts[3], texts[4]
        begin = load(bounds, number)
        return put_quoted(out, p, utf8, begin, load(bounds, number + 1) - begin)
    put(out, p, _QUOTE)
    p = put_name(out, p + 1, texts, ids, lane)
    if p < 0:
        return p
    put(out, p, _QUOTE)
    return p + 1


@borrowing
def put_value(out: int, p: int, texts: Held, lane: int, kind: int, scale: int, floats: int, float_at: int) -> Whole:
    """Write a value as it is said: nothing, where there is none. ``floats``: a line for each, as Python writes it."""
    if not there(lane):
        return p
    if is_text(kind):
        return put_known(out, p, texts, number_of_text(texts, lane))
    if kind == FLOAT:
        return put_text(out, p, floats, float_at, lowest(newlines(floats, float_at)))
    if kind == BOOLEAN:
        return put_boolean(out, p, lane != 0)
    if kind == DATE:
        return put_date(out, p, lane)
    if kind == TIMESTAMP:
        return put_moment(out, p, lane)
    return put_scaled(out, p, lane, scale if kind == DECIMAL else 0)
