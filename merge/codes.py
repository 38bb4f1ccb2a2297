"""A stream's plan, and room for what compiled code finds, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from flockiq.merge.known import Bytes
from flockiq.merge.mapping import MISSING, StreamPlan, mapped_columns
from flockiq.shared.fields import FieldType
from flockiq.shared.lanes import Bools, Int64s

STRING, JSON, DECIMAL, INTEGER, FLOAT, BOOLEAN, DATE, TIMESTAMP = range(8)
ALONE = -2
"""Stands for the place of records that nothing else can match: each has its own."""

_KINDS: Mapping[FieldType, int] = {
    "string": STRING,
    "json": JSON,
    "decimal": DECIMAL,
    "integer": INTEGER,
    "float": FLOAT,
    "boolean": BOOLEAN,
    "date": DATE,
    "timestamp": TIMESTAMP,
}
DEEPEST = 32  # a record that is nested deeper is left to others
DEEPEST_CHAIN = 64  # a version that more than so many follow is left to others
_SCRATCH = 1 << 17  # bytes of a text that is looked up
_MOST_FIELDS = 128  # a plan with more is left to merge/mapping.py
_MOST_PLACING = 16


class Parts(NamedTuple):
    """Where the parts of n lines stand in a text: int64 [n], but op uint8. See ``rowscan.scan_changes``."""

    line: Int64s
    begin: Int64s
    end: Int64s
    tie: Int64s
    rest: Int64s
    source_begin: Int64s
    source_end: Int64s
    trace_begin: Int64s
    trace_end: Int64s
    stream_begin: Int64s
    stream_end: Int64s
    key_begin: Int64s
    key_end: Int64s
    us: Int64s
    rr: Int64s
    captured_us: Int64s
    after_begin: Int64s
    after_end: Int64s
    op: Bytes
    left: Int64s
    left_begin: Int64s
    left_end: Int64s
    counts: Int64s


def parts(n: int) -> Parts:
    """Room for the parts of n lines."""
    made = {name: np.empty(n, np.int64) for name in Parts._fields}
    return Parts(**(made | {"op": np.empty(n, np.uint8), "counts": np.zeros(1, np.int64)}))  # type: ignore[arg-type]


class Shape(NamedTuple):
    """A plan of F fields. Texts are given as their bytes and int64 bounds, one more than there are.

    names: of the G members of a record that are mapped; group: int64 [F], which of them a field is in.
    step_names: of the members below it that lead to the value; steps: int64 [F + 1], those of each field.
    heads: what stands before a value ('"name":'); empties: the canonical form of no value, as JSON.
    kind: int8 [F]; scale: int64 [F]; translated: bool [F], values are codes or in a form of their own.
    placing: int64 [P], the fields that say where a record belongs, -1 for one that is not mapped.
    room: bytes that suffice for a record beside twice its own.
    """

    names: Bytes
    bounds: Int64s
    group: Int64s
    step_names: Bytes
    step_bounds: Int64s
    steps: Int64s
    heads: Bytes
    head_bounds: Int64s
    empties: Bytes
    empty_bounds: Int64s
    kind: npt.NDArray[np.int8]
    scale: Int64s
    translated: Bools
    placing: Int64s
    room: int


def shape(plan: StreamPlan) -> Shape | None:
    """The shape of a plan; None for one that is left to merge/mapping.py."""
    empties = [_empty(plan, number) for number in range(len(plan.fields))]
    if len(plan.fields) > _MOST_FIELDS or len(plan.placing) > _MOST_PLACING or None in empties:
        return None
    groups = list(dict.fromkeys(one.path[0] for one in plan.fields))
    steps = [one.path[1:] for one in plan.fields]
    heads = [msgspec.json.encode(one.field.name) + b":" for one in plan.fields]
    given = [one.field.name for one in plan.fields]
    empty = [text for text in empties if text is not None]
    return Shape(
        *_texts(name.encode() for name in groups),
        np.array([groups.index(one.path[0]) for one in plan.fields], np.int64),
        *_texts(name.encode() for path in steps for name in path),
        np.cumsum([0, *map(len, steps)]),
        *_texts(heads),
        *_texts(empty),
        np.array([_KINDS[one.field.type] for one in plan.fields], np.int8),
        np.array([one.field.scale for one in plan.fields], np.int64),
        np.array([bool(one.codes or one.format) for one in plan.fields], np.bool_),
        np.array([given.index(name) if name in given else -1 for name in plan.placing], np.int64),
        sum(map(len, heads)) + sum(map(len, empty)) + 16 * len(plan.fields) + 16,
    )


def texts(given: Iterable[str]) -> tuple[Bytes, Int64s]:
    """Texts as their bytes and bounds."""
    return _texts(one.encode() for one in given)


def _texts(given: Iterable[bytes]) -> tuple[Bytes, Int64s]:
    several = list(given)
    return np.frombuffer(b"".join(several) or b" ", np.uint8), np.cumsum([0, *map(len, several)])


def _empty(plan: StreamPlan, number: int) -> bytes | None:
    """What stands for no value in a field, as JSON; None where nothing may."""
    one = plan.fields[number]
    found = mapped_columns(plan._replace(fields=(one,)), [[MISSING, None]], [True, True])
    if found.bad or (not one.codes and not one.format and len(set(found.columns[one.field.name])) > 1):
        return None
    return msgspec.json.encode(found.columns[one.field.name][0])


class Scratch(NamedTuple):
    """Room that compiled code uses for itself: it makes none."""

    text: Bytes
    kinds: Bytes
    number: Int64s
    here: Int64s
    begin: Int64s
    end: Int64s
    value: Int64s
    path: Int64s
    now: Int64s
    was: Int64s
    turn: Int64s


def scratch() -> Scratch:
    """Such room, for any plan."""
    return Scratch(
        text=np.empty(_SCRATCH, np.uint8),
        kinds=np.empty(DEEPEST, np.uint8),
        number=np.empty(1, np.int64),
        here=np.empty(2, np.int64),
        begin=np.empty(_MOST_FIELDS, np.int64),
        end=np.empty(_MOST_FIELDS, np.int64),
        value=np.empty((_MOST_FIELDS, 2), np.int64),
        path=np.empty(DEEPEST_CHAIN, np.int64),
        now=np.empty((DEEPEST_CHAIN + 2, 3), np.int64),
        was=np.empty((DEEPEST_CHAIN + 2, 3), np.int64),
        turn=np.empty(DEEPEST_CHAIN, np.int64),
    )


class Mapped(NamedTuple):
    """Room for what mapping n records gives: ``rowmap.map_records`` says what is in it.

    said: uint8; begin, end, content, place: int64 [n]; left_*: int64 [n * (F + 1)]; counts: int64 [1].
    """

    said: Bytes
    begin: Int64s
    end: Int64s
    content: Int64s
    place: Int64s
    left_row: Int64s
    left_field: Int64s
    left_begin: Int64s
    left_end: Int64s
    counts: Int64s


def mapped_room(n: int, fields: int, size: int) -> Mapped:
    """Room for n records of so many fields and, said, about so many bytes."""
    a_row, a_field = np.empty((4, n), np.int64), np.empty((4, n * (fields + 1)), np.int64)
    return Mapped._make([np.empty(size, np.uint8), *a_row, *a_field, np.zeros(1, np.int64)])


DONE, FULL, BY_HAND = range(3)
"""Why ``rowjudge.judge`` stopped: at the end, for want of room in the heap, at a row that is judged by hand."""

_TOLD = 2 * DEEPEST_CHAIN + 2  # lines that one late row may tell
_COUNTS = VERSIONS, HEAP, DUPLICATES, UNCHANGED, TOLD = range(5)
"""What ``Judged.counts`` counts: versions and bytes of the heap that there are, rows of no news, lines told anew."""


class Judged(NamedTuple):
    """Room for what judging n rows gives: see ``judging.Judging``. NONE is -1.

    version, after: int64 [n]; plain: bool [n]. late: int64 [n], the version of a row that came late; shown: bool [n],
    an entity was told of that. told_row, told_version: int64 [m] and told_void: bool [m], lines that late rows told
    anew, or voided, in order. counts: int64 [5].
    """

    version: Int64s
    after: Int64s
    plain: Bools
    late: Int64s
    shown: Bools
    told_row: Int64s
    told_version: Int64s
    told_void: Bools
    counts: Int64s


def judged_room(n: int) -> Judged:
    """Room for n rows, of which nothing is said yet."""
    version, after, late = np.full((3, n), -1, np.int64)
    plain, shown = np.zeros((2, n), np.bool_)
    told_row, told_version = np.empty((2, 2 * n + _TOLD), np.int64)
    told_void, counts = np.empty(len(told_row), np.bool_), np.zeros(len(_COUNTS), np.int64)
    return Judged(version, after, plain, late, shown, told_row, told_version, told_void, counts)
