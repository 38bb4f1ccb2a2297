"""Deltas told by compiled code: what pipeline/tell_deltas.py does with numpy, many times as fast.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.parts import DECIMAL, FLOAT, INTEGER
from flockiq.pipeline.rowindex import held, held_ids
from flockiq.pipeline.rowspell import (
    Spelt,
    begin_line,
    end_line,
    is_text,
    literals_of,
    named_room,
    put_literal,
    put_name,
    put_named,
    put_value,
    size_of,
    there,
)
from flockiq.pipeline.tellings import (
    CAUSES_ROOM,
    DELTA_FIELDS,
    DELTA_KINDS,
    END,
    ENTITY,
    FIXED_ROOM,
    HASHED_ROOM,
    KEYS_ROOM,
    LINES_ROOM,
    MATCH_KEY,
    NEW,
    NEW_ROOM,
    NEW_TIME,
    NOTHING,
    OLD_ROOM,
    OLD_TIME,
    RELATIVE,
    RETRACTED,
    RETRACTS,
    SOURCE_TIME,
)
from flockiq.shared.lanes import NULL
from flockiq.shared.machine.code import Array, Columns, Real, Truth, Whole, borrowing, inlined
from flockiq.shared.machine.ids import hashed
from flockiq.shared.machine.memory import copy_wide, lowest, newlines, put, real_of
from flockiq.shared.machine.spelling import put_id, put_moment, put_quoted, put_text, quoted_room

_EXACT = 1 << 53  # of an integer: below it a double is exact
_BELOW_SIGN = np.int64((1 << 63) - 1)
_POWERS = np.array([10.0**power for power in range(19)])
_SEPARATOR, _QUOTE = 0x1F, 34
_ID, _MOMENT = 32, 27  # bytes


@inlined
def _real(lane: int, kind: int, scale: int) -> Real:
    """A lane as a number: shared.lanes.numbers."""
    if kind == DECIMAL:
        return np.float64(lane) / _POWERS[scale]
    if kind == FLOAT:
        return real_of(lane ^ _BELOW_SIGN if lane < 0 else lane)
    return np.float64(lane)


@inlined
def _relative(old: int, new: int, kind: int, scale: int) -> Real:
    """The change of a number relative to the old one; NaN where there is none."""
    if not there(old) or not there(new):
        return np.nan
    was, now = _real(old, kind, scale), _real(new, kind, scale)
    if was == 0.0:
        return np.nan
    change = (now - was) / abs(was)
    return change if np.isfinite(change) else np.nan


@borrowing
def measure_deltas(told: Columns, known: Columns, line: int, sizes: Array, relative: Array, odd: Array) -> Whole:
    """How much room deltas need at most, and their relative changes; how many ``odd`` there are, or -1.

    line: bytes of a line's literals; sizes: int64, zeros, see LINES_ROOM; odd: those whose change is to be found by
    the digits. -1: a text is not known.
    """
    texts, entities = held(known.texts), known.entities
    partitions = (len(sizes) - LINES_ROOM) // 2
    keys = entities.utf8.ctypes.data
    count = 0
    for i in range(len(told.entity)):
        kind, scale = known.kind[told.field[i]], known.scale[told.field[i]]
        old, new, entity = told.old[i], told.new[i], told.entity[i]
        plain = room = np.int64(2 * FIXED_ROOM)
        if is_text(kind):
            was, now = size_of(texts, old), size_of(texts, new)
            if was < 0 or now < 0:
                return -1
            sizes[OLD_ROOM] += was
            sizes[NEW_ROOM] += now
            plain += was + now
            room += named_room(texts, old) + named_room(texts, new)
        elif (kind == DECIMAL or kind == INTEGER or kind == FLOAT) and len(relative):
            relative[i] = _relative(old, new, kind, scale)
            if kind == DECIMAL and there(old) and there(new) and max(abs(old), abs(new)) >= _EXACT:
                odd[count] = i
                count += 1
        begin = entities.bounds[entity]
        key = entities.bounds[entity + 1] - begin
        cause = named_room(texts, told.event[i])
        sizes[KEYS_ROOM] += key
        sizes[CAUSES_ROOM] += cause
        sizes[HASHED_ROOM] = max(sizes[HASHED_ROOM], plain + cause)
        if partitions == 0:
            continue
        partition = known.partition[entities.group[entity]]
        sizes[LINES_ROOM + partition] += line + room + cause + quoted_room(keys, begin, key)
        sizes[LINES_ROOM + partitions + partition] += 1
    return count


@borrowing
def tell_deltas(told: Columns, known: Columns, spelt: Columns, said: Columns, retracted: Truth, room: Columns) -> Truth:
    """Write lines and columns of deltas; False if an id is not known."""
    texts, ids, entities = held(known.texts), held_ids(known.ids), known.entities
    keys, fields, literals = entities.utf8.ctypes.data, len(known.kind), literals_of(spelt)
    lines, scratch = room.lines.utf8.ctypes.data, room.hashed.ctypes.data
    column_ids, column_retracts = room.ids.utf8.ctypes.data, room.retracts.utf8.ctypes.data
    column_old, column_new = room.old.utf8.ctypes.data, room.new.utf8.ctypes.data
    column_entities, column_keys = room.entities.utf8.ctypes.data, room.match_keys.utf8.ctypes.data
    column_causes = room.causes.utf8.ctypes.data
    floats, ratios = said.floats.ctypes.data, said.ratios.ctypes.data
    float_at = ratio_at = old_at = new_at = key_at = cause = cause_at = 0
    entity_count = cause_count = 0
    for i in range(len(told.entity)):
        entity, field, event = told.entity[i], told.field[i], told.event[i]
        kind, scale = known.kind[field], known.scale[field]
        high = np.uint64(entities.ids.lanes[entity]) ^ np.uint64(1 << 63)
        low = np.uint64(entities.ids.rest[entity])
        key, key_end = entities.bounds[entity], entities.bounds[entity + 1]
        if i == 0 or told.entity[i - 1] != entity:
            put_id(column_entities, _ID * entity_count, high, low)
            key_at = put_text(column_keys, key_at, keys, key, key_end - key)
            entity_count += 1
            room.match_keys.ends[entity_count - 1] = key_at
        if i == 0 or told.event[i - 1] != event:
            cause = cause_at
            cause_at = put_name(column_causes, cause, texts, ids, event)
            if cause_at < 0:
                return False
            cause_count += 1
            room.causes.ends[cause_count - 1] = cause_at
        room.entity[i], room.cause[i] = entity_count - 1, cause_count - 1

        old_begin, new_begin = old_at, new_at
        old_at = put_value(column_old, old_at, texts, told.old[i], kind, scale, floats, float_at)
        if kind == FLOAT and there(told.old[i]):
            float_at += old_at - old_begin + 1
        new_at = put_value(column_new, new_at, texts, told.new[i], kind, scale, floats, float_at)
        if kind == FLOAT and there(told.new[i]):
            float_at += new_at - new_begin + 1
        room.old.ends[i], room.new.ends[i] = old_at, new_at

        p = put_id(scratch, 0, high, low)
        p = put_literal(scratch, p, literals, DELTA_FIELDS + fields + field)
        p = put_text(scratch, p, column_causes, cause, cause_at - cause)
        put(scratch, p, _SEPARATOR)
        p = put_text(scratch, p + 1, column_old, old_begin, old_at - old_begin)
        put(scratch, p, _SEPARATOR)
        p = put_text(scratch, p + 1, column_new, new_begin, new_at - new_begin)
        first, second = hashed(scratch, 0, p, room.state)
        if retracted:
            put_id(column_retracts, _ID * i, first, second)
            p = put_id(scratch, 0, first, second)
            p = put_literal(scratch, p, literals, RETRACTED)
            first, second = hashed(scratch, 0, p, room.state)
        put_id(column_ids, _ID * i, first, second)

        if len(room.lines.at) == 0:
            continue
        partition = known.partition[entities.group[entity]]
        out = lines + room.lines.begin[partition]
        p, time = begin_line(out, room.lines.at[partition], literals, first, second, told.us[i], high, low)
        p = put_literal(out, p, literals, ENTITY)
        p = put_id(out, p, high, low)
        p = put_literal(out, p, literals, MATCH_KEY)
        p = put_quoted(out, p, keys, key, key_end - key)
        p = put_literal(out, p, literals, DELTA_FIELDS + field)
        p = put_literal(out, p, literals, DELTA_KINDS + told.kind[i])
        p = _put_said(out, p, kind, column_old, old_begin, old_at - old_begin)
        p = put_literal(out, p, literals, NEW)
        p = _put_said(out, p, kind, column_new, new_begin, new_at - new_begin)
        p = put_literal(out, p, literals, RELATIVE)
        if np.isnan(said.relative[i]):
            p = put_literal(out, p, literals, NOTHING)
        else:
            size = lowest(newlines(ratios, ratio_at))
            p = put_text(out, p, ratios, ratio_at, size)
            ratio_at += size + 1
        p = put_literal(out, p, literals, DELTA_FIELDS + 2 * fields + told.source[i])
        p = put_named(out, p, texts, ids, event)
        p = put_literal(out, p, literals, SOURCE_TIME)
        copy_wide(out, p, out, time)
        p = put_literal(out, p + _MOMENT, literals, OLD_TIME)
        p = _put_instant(out, p, literals, told.old_us[i])
        p = put_literal(out, p, literals, NEW_TIME)
        p = _put_instant(out, p, literals, told.new_us[i])
        p = put_literal(out, p, literals, RETRACTS)
        if retracted:
            p = put_text(out, p, column_retracts, _ID * i, _ID)
        end_line(room.lines, partition, put_literal(out, p, literals, END))
    room.counts[0], room.counts[1] = entity_count, cause_count
    return True


@inlined
def _put_instant(out: int, p: int, literals: Spelt, us: int) -> Whole:
    """Write an instant as a JSON string, or null."""
    if us == NULL:
        return put_literal(out, p, literals, NOTHING)
    put(out, p, _QUOTE)
    p = put_moment(out, p + 1, us)
    put(out, p, _QUOTE)
    return p + 1


@inlined
def _put_said(out: int, p: int, kind: int, text: int, q: int, size: int) -> Whole:
    """Write a value that has been written out as a JSON string."""
    if is_text(kind):
        return put_quoted(out, p, text, q, size)
    put(out, p, _QUOTE)
    p = put_text(out, p + 1, text, q, size)
    put(out, p, _QUOTE)
    return p + 1
