"""Records mapped to an entity type's fields by compiled code: what merge/mapping.py does, many times as fast.

A value in its usual form is written at once (merge/rowvalue.py); of every other value the canonical form is
looked up among those that are known, and where it is not, the value is left to the mapping that can say what is
wrong with it.

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.merge.codes import ALONE
from flockiq.merge.rowknown import number_of
from flockiq.merge.rowscan import json_end
from flockiq.merge.rowvalue import usual
from flockiq.shared.machine.code import Array, Columns, Whole, borrowing
from flockiq.shared.machine.stretches import lane_of_bytes
from flockiq.shared.machine.tokens import (
    CLOSE,
    COMMA,
    NULL_WORD,
    OPEN,
    OPEN_LIST,
    QUOTE,
    after,
    bytes_of,
    closing,
    copied,
    past,
    quoted_end,
    same,
    value_end,
)
from flockiq.shared.wire import MAX_KEY

_PARTIAL = 117  # op u
_DELETED = 100  # op d
_N = 110
_ENDS = np.zeros(256, np.bool_)  # what stands behind a number or a word
_ENDS[bytes_of(",]} \t")] = True
_ONE = np.uint64(1)
_OWN = 31  # parts what places a record that nothing else can match from its key; more than any number of a field
_UNKNOWN = -1
_NULL = -2


@borrowing
def _end(text: Array, p: int, kinds: Array) -> Whole:
    """Where a value ends that is sound JSON."""
    byte = text[p]
    if byte == QUOTE:
        return quoted_end(text, p)
    if byte == OPEN or byte == OPEN_LIST:
        return json_end(text, p, kinds)
    at = np.uint64(p)
    while not _ENDS[text[at]]:
        at += _ONE
    return np.int64(at)


@borrowing
def _reach(text: Array, begin: int, end: int, shape: Columns, field: int, kinds: Array, at: Array) -> bool:
    """Follow a field's path into nested objects: ``at`` begin and end of the value there, or (_UNKNOWN, 0), (_NULL, 0).

    False where an object has a member's name twice, or written with escapes.
    """
    at[0], at[1] = begin, end
    for step in range(shape.steps[field], shape.steps[field + 1]):
        p = at[0]
        if text[p] != OPEN:
            at[0] = _NULL if text[p] == _N else _UNKNOWN
            return True
        end = at[1]
        at[0] = _UNKNOWN
        p = past(text, p + 1)
        while text[p] != CLOSE:
            first = p + 1
            close = closing(text, first)
            p = past(text, past(text, close + 1) + 1)
            stop = _end(text, p, kinds)
            if same(text, first, close, shape.step_names, shape.step_bounds[step], shape.step_bounds[step + 1]):
                if at[0] >= 0:
                    return False
                at[0], at[1] = p, stop
            p = past(text, stop)
            if text[p] == COMMA:
                p = past(text, p + 1)
        if at[0] == _UNKNOWN:
            return True
    return True


@borrowing
def _members(text: Array, p: int, shape: Columns, kinds: Array, begin: Array, end: Array) -> bool:
    """Where a record's mapped members are, by first name; _UNKNOWN where there is none. False: one is twice."""
    groups = len(shape.bounds) - 1
    for group in range(groups):
        begin[group] = _UNKNOWN
    expected = 0
    p = past(text, p + 1)
    while text[p] != CLOSE:
        first = p + 1
        close = closing(text, first)
        p = past(text, past(text, close + 1) + 1)
        stop = _end(text, p, kinds)
        group = expected
        if group >= groups or not same(text, first, close, shape.names, shape.bounds[group], shape.bounds[group + 1]):
            group = 0
            while group < groups and not same(
                text, first, close, shape.names, shape.bounds[group], shape.bounds[group + 1]
            ):
                group += 1
        if group < groups:
            if begin[group] >= 0:
                return False
            begin[group], end[group] = p, stop
            expected = group + 1
        p = past(text, stop)
        if text[p] == COMMA:
            p = past(text, p + 1)
    return True


@borrowing
def _looked_up(
    text: Array, begin: int, end: int, field: int, memo: Columns, results: Columns, scratch: Array, out: Array, o: int
) -> Whole:
    """Write the canonical form that is known of a value; where it ends, or -1."""
    if end - begin + 1 > len(scratch):
        return -1
    scratch[0] = field
    size = copied(scratch, 1, text, begin, end)
    number = number_of(memo, scratch, 0, size)
    if number < 0:
        return -1
    first = results.ends[number - 1] if number else 0
    return copied(out, o, results.utf8, first, results.ends[number])


@borrowing
def placed(
    said: Array, value: Array, shape: Columns, text: Array, key_begin: int, key_end: int, placings: Columns,
    place_of: Array, scratch: Array,
) -> Whole:  # fmt: skip
    """Where a record belongs, by its fields (``value``: int64 [F, 2], where each is in ``said``); -1: not known."""
    size = 0
    for number in range(len(shape.placing)):
        field = shape.placing[number]
        scratch[size] = number  # no JSON holds such a byte
        size += 1
        if field >= 0 and value[field, 0] >= 0 and said[value[field, 0]] != _N:
            if size + value[field, 1] - value[field, 0] + len(shape.placing) + MAX_KEY > len(scratch):
                return -1
            size = copied(scratch, size, said, value[field, 0], value[field, 1])
    number = number_of(placings, scratch, 0, size)
    if number >= 0 and place_of[number] != ALONE:
        return place_of[number]
    scratch[size] = _OWN
    size = copied(scratch, size + 1, text, key_begin, key_end)
    number = number_of(placings, scratch, 0, size) if number >= 0 else number
    return place_of[number] if number >= 0 else -1


@borrowing
def place_records(
    text: Array, key_begin: Array, key_end: Array, said: Array, begin: Array, end: Array, shape: Columns,
    placings: Columns, place_of: Array, scratch: Columns, place: Array,
) -> None:  # fmt: skip
    """Where records belong, by what they say; -1 where it is not known."""
    value = scratch.value
    for i in range(len(begin)):
        p, stop = begin[i] + 1, end[i] - 1
        for field in range(len(shape.kind)):
            first, last = shape.head_bounds[field], shape.head_bounds[field + 1]
            value[field, 0] = _UNKNOWN
            if p < stop and same(said, p, min(p + last - first, stop), shape.heads, first, last):
                value[field, 0] = p + last - first
                value[field, 1] = value_end(said, value[field, 0])
                p = value[field, 1] + 1
        place[i] = placed(said, value, shape, text, key_begin[i], key_end[i], placings, place_of, scratch.text)


@borrowing
def map_records(
    text: Array, parts: Columns, at: Array, first: int, shape: Columns, memo: Columns, results: Columns, longest: int,
    placings: Columns, place_of: Array, scratch: Columns, out: Columns, written: int,
) -> tuple[int, int]:  # fmt: skip
    """Map the records of the lines ``at``, from the ``first`` on, as far as ``out.said`` has room.

    Of row i, ``out.said`` from ``begin[i]`` to ``end[i]`` is what it says as JSON, ``content`` the lane of that, and
    ``place`` where it belongs, -1 where that is not known. Begin is -1 where a value is left: then ``out.counts[0]``
    such are in ``left_row``, ``left_field``, ``left_begin``, ``left_end`` (field -1: the whole record).
    Returns the row it came to and how much is written.
    """
    kinds, here, begin, end, value = scratch.kinds, scratch.here, scratch.begin, scratch.end, scratch.value
    fields = len(shape.kind)
    o = written
    for i in range(first, len(at)):
        n = at[i]
        size = parts.after_end[n] - parts.after_begin[n]
        if o + 2 * size + shape.room + longest * fields > len(out.said):
            return i, o
        op = parts.op[n]
        start, complete = o, True
        out.begin[i] = _UNKNOWN
        if op == _DELETED:
            out.said[o], out.said[o + 1] = OPEN, CLOSE
            o += 2
            out.begin[i], out.end[i], out.content[i], out.place[i] = start, o, 0, -1
            continue
        if not _members(text, parts.after_begin[n], shape, kinds, begin, end):
            left = out.counts[0]
            out.left_row[left], out.left_field[left] = i, -1
            out.counts[0] += 1
            continue
        out.said[o] = OPEN
        o += 1
        for field in range(fields):
            group = shape.group[field]
            value[field, 0] = _UNKNOWN
            there, stop = begin[group], end[group]
            if there >= 0 and shape.steps[field] < shape.steps[field + 1]:
                if not _reach(text, there, stop, shape, field, kinds, here):
                    left = out.counts[0]
                    out.left_row[left], out.left_field[left] = i, -1
                    out.counts[0] += 1
                    complete = False
                    break
                there, stop = here[0], here[1]
            if there == _UNKNOWN and op == _PARTIAL:
                continue
            before = o
            if o > start + 1:
                out.said[o] = COMMA
                o += 1
            o = copied(out.said, o, shape.heads, shape.head_bounds[field], shape.head_bounds[field + 1])
            value[field, 0] = o
            empty = there == _UNKNOWN or there == _NULL
            if empty or (not shape.translated[field] and after(text, there, NULL_WORD) == stop):
                if there == _NULL and shape.translated[field]:
                    done = -1
                else:
                    done = copied(out.said, o, shape.empties, shape.empty_bounds[field], shape.empty_bounds[field + 1])
            else:
                done = -1
                if not shape.translated[field]:
                    done = usual(text, there, stop, shape.kind[field], shape.scale[field], out.said, o)
                if done < 0:
                    done = _looked_up(text, there, stop, field, memo, results, scratch.text, out.said, o)
            if done < 0:
                left = out.counts[0]
                if there == _NULL:
                    out.left_row[left], out.left_field[left] = i, -1
                else:
                    out.left_row[left], out.left_field[left] = i, field
                    out.left_begin[left], out.left_end[left] = there, stop
                out.counts[0] += 1
                complete = False
                o = before
                continue
            o = done
            value[field, 1] = o
        if not complete:
            o = start
            continue
        out.said[o] = CLOSE
        o += 1
        out.begin[i], out.end[i] = start, o
        out.content[i] = lane_of_bytes(out.said.ctypes.data, start, o)
        out.place[i] = _UNKNOWN  # where an update belongs is not for what it says alone to tell
        if op != _PARTIAL:
            out.place[i] = placed(
                out.said, value, shape, text, parts.key_begin[n], parts.key_end[n], placings, place_of, scratch.text
            )
    return len(at), o
