"""Golden records told by compiled code: what pipeline/tell_entities.py does with numpy, many times as fast.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.merge.ages import NEWEST, OLDER
from flockiq.merge.golden import DELETED, UNSEEN
from flockiq.merge.survivorship import FOLLOWED
from flockiq.pipeline.parts import BOOLEAN, FLOAT, INTEGER
from flockiq.pipeline.rowindex import Held, held, held_ids
from flockiq.pipeline.rowspell import (
    Spelt,
    begin_line,
    end_line,
    is_text,
    literals_of,
    named_room,
    number_of_text,
    put_literal,
    put_member,
    put_named,
    put_value,
    there,
)
from flockiq.pipeline.tellings import (
    END,
    FIELDS_ROOM,
    FIXED_ROOM,
    GOLDEN_FIELDS,
    GOLDEN_ROOM,
    MATCH_KEY,
    NAMES_ROOM,
    NOTHING,
    OF_FIELDS,
    OF_GONE,
    OF_PROVENANCE,
    OF_SOURCES,
    OF_TIME,
    OTHER_RULES,
    PLACE_ROW,
    PLACE_RUN,
    PLACE_US,
    SAID_EVENT,
    SAID_GONE,
    SAID_ROOM,
    SAID_STREAM,
    SAID_US,
    SAID_VALUES,
)
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.machine.code import Array, Columns, Truth, Whole, borrowing, inlined
from flockiq.shared.machine.memory import byte, copy_wide, load, put
from flockiq.shared.machine.spelling import (
    put_boolean,
    put_id,
    put_number,
    put_quoted,
    put_text,
    quoted_room,
)

_ID, _MOMENT = 32, 27  # bytes
_QUOTE, _OPEN, _CLOSE, _SLASH = 34, 123, 125, 47
_ROW = (1 << 32) - 1
_US, _RR, _AT, _SIZE = range(4)
_OTHER_RULES = len(OTHER_RULES)


@inlined
def _value_room(texts: Held, lane: int, kind: int) -> Whole:
    """At least as many bytes as a value has as JSON."""
    return named_room(texts, lane) if is_text(kind) and there(lane) else np.int64(FIXED_ROOM)


@borrowing
def measure_entities(golden: Columns, known: Columns, sources: int, sizes: Array) -> Whole:
    """How much room golden records need at most, beyond what every one does; -1: a text is not known.

    sizes: int64, zeros: see GOLDEN_ROOM.
    """
    texts, entities = held(known.texts), known.entities
    partitions = (len(sizes) - GOLDEN_ROOM) // 2
    keys, fields = entities.utf8.ctypes.data, len(known.kind)
    for i in range(len(golden.entity)):
        entity = golden.entity[i]
        best = said = 0
        for field in range(fields):
            kind, lane = known.kind[field], golden.golden[i, field]
            if is_text(kind) and there(lane) and number_of_text(texts, lane) < 0:
                return -1
            best += _value_room(texts, lane, kind)
        for source in range(sources):
            if golden.state[i, source] == UNSEEN:
                continue
            said += 2 * named_room(texts, golden.key[i, source]) + named_room(texts, golden.event[i, source])
            for field in range(fields):
                kind, lane = known.kind[field], golden.value[i, source, field]
                if is_text(kind) and there(lane) and number_of_text(texts, lane) < 0:
                    return -1
                said += _value_room(texts, lane, kind)
        begin = entities.bounds[entity]
        size = entities.bounds[entity + 1] - begin
        sizes[FIELDS_ROOM] += best
        sizes[SAID_ROOM] += said
        sizes[NAMES_ROOM] += size
        if partitions:
            partition = known.partition[entities.group[entity]]
            sizes[GOLDEN_ROOM + partition] += best + said + quoted_room(keys, begin, size)
            sizes[GOLDEN_ROOM + partitions + partition] += 1
    return 0


@borrowing
def _put_json(
    out: int, p: int, texts: Held, literals: Spelt, lane: int, kind: int, scale: int, floats: int, at: Array
) -> Whole:
    """Write a value as JSON; ``at``: int64 [1], where the next float is."""
    if lane == NULL:
        return put_literal(out, p, literals, NOTHING)
    if is_text(kind):
        number = number_of_text(texts, lane)
        begin = load(texts[3], number)
        return put_quoted(out, p, texts[4], begin, load(texts[3], number + 1) - begin)
    if kind == INTEGER or kind == BOOLEAN or kind == FLOAT:
        end = put_value(out, p, texts, lane, kind, scale, floats, at[0])
        if kind == FLOAT:
            at[0] += end - p + 1
        return end
    put(out, p, _QUOTE)
    p = put_value(out, p + 1, texts, lane, kind, scale, floats, 0)
    put(out, p, _QUOTE)
    return p + 1


@borrowing
def _put_key(out: int, p: int, texts: Held, literals: Spelt, lane: int) -> Whole:
    """Write a record's key and stream, which its lane has as stream/key; -1: it is not known."""
    number = number_of_text(texts, lane)
    if number < 0:
        return np.int64(-1)
    begin, end, utf8 = load(texts[3], number), load(texts[3], number + 1), texts[4]
    slash = begin
    while slash < end and byte(utf8, slash) != _SLASH:
        slash += 1
    after = min(slash + 1, end)
    p = put_quoted(out, p, utf8, after, end - after)
    p = put_literal(out, p, literals, SAID_STREAM)
    return put_quoted(out, p, utf8, begin, slash - begin)


@borrowing
def _put_place(
    out: int, p: int, golden: Columns, literals: Spelt, i: int, field: int, winner: int, last: Array
) -> Whole:
    """Write the position of a field's value; what was written last of each teller is copied where it is the same."""
    us = rr = ABSENT
    if golden.age[i, winner, field] == NEWEST:
        us, rr = golden.seen_us[i, winner], golden.seen_rr[i, winner]
    elif golden.age[i, winner, field] == OLDER:
        place = golden.older[i, winner]
        us, rr = golden.older_us[place, field], golden.older_rr[place, field]
    if last[winner, _SIZE] and last[winner, _US] == us and last[winner, _RR] == rr:
        return put_text(out, p, out, last[winner, _AT], last[winner, _SIZE])
    begin = p
    p = put_literal(out, p, literals, PLACE_US)
    p = put_number(out, p, us)
    p = put_literal(out, p, literals, PLACE_RUN)
    p = put_number(out, p, rr >> 32)
    p = put_literal(out, p, literals, PLACE_ROW)
    p = put_number(out, p, rr & _ROW)
    put(out, p, _CLOSE)
    last[winner, _US], last[winner, _RR], last[winner, _AT], last[winner, _SIZE] = us, rr, begin, p + 1 - begin
    return p + 1


@borrowing
def tell_entities(
    golden: Columns, known: Columns, form: Columns, spelt: Columns, said: Columns, room: Columns
) -> Truth:
    """Write lines and columns of golden records; False if a text or an id is not known."""
    texts, ids, entities = held(known.texts), held_ids(known.ids), known.entities
    keys, sources, fields = entities.utf8.ctypes.data, form.sources, len(known.kind)
    literals = literals_of(spelt)
    lines, floats = room.lines.utf8.ctypes.data, said.floats.ctypes.data
    column_ids, column_keys = room.ids.utf8.ctypes.data, room.match_keys.utf8.ctypes.data
    out_fields, out_provenance = room.fields.utf8.ctypes.data, room.provenance.utf8.ctypes.data
    out_sources = room.sources.utf8.ctypes.data
    key_at = f = v = s = by_people = 0
    for i in range(len(golden.entity)):
        entity = golden.entity[i]
        high = np.uint64(entities.ids.lanes[entity]) ^ np.uint64(1 << 63)
        low = np.uint64(entities.ids.rest[entity])
        key, key_end = entities.bounds[entity], entities.bounds[entity + 1]
        put_id(column_ids, _ID * i, high, low)
        key_at = put_text(column_keys, key_at, keys, key, key_end - key)
        room.match_keys.ends[i] = key_at

        f_begin, v_begin, s_begin = f, v, s
        put(out_fields, f, _OPEN)
        put(out_provenance, v, _OPEN)
        f, v, first = f + 1, v + 1, True
        for field in range(fields):
            lane = golden.golden[i, field]
            if lane == ABSENT:
                continue
            f = put_member(out_fields, f, literals, GOLDEN_FIELDS + field, first)
            kind, scale = known.kind[field], known.scale[field]
            f = _put_json(out_fields, f, texts, literals, lane, kind, scale, floats, room.float_at)
            if by_people < len(said.by_people) and said.by_people[by_people, 0] == i * fields + field:
                v = put_member(out_provenance, v, literals, said.by_people[by_people, 1], first)
                by_people += 1
            else:
                winner, filled = int(golden.winner[i, field]), 0
                for source in range(sources):
                    filled += there(golden.value[i, source, field])
                rules = form.rules[field]
                rule = np.int64(golden.rule[i, field])
                if filled <= 1:
                    rule = rules + 1
                elif rule == FOLLOWED:
                    rule = rules + 2
                elif rule < 0 or rule >= rules:
                    rule = rules
                v = put_member(
                    out_provenance, v, literals, form.heads[field] + winner * (rules + _OTHER_RULES) + rule, first
                )
                v = _put_place(out_provenance, v, golden, literals, i, field, winner, room.last)
            first = False
        put(out_fields, f, _CLOSE)
        put(out_provenance, v, _CLOSE)
        put(out_sources, s, _OPEN)
        f, v, s, first = f + 1, v + 1, s + 1, True
        for source in range(sources):
            if golden.state[i, source] == UNSEEN:
                continue
            s = put_member(out_sources, s, literals, GOLDEN_FIELDS + fields + source, first)
            first = False
            s = _put_key(out_sources, s, texts, literals, golden.key[i, source])
            if s < 0:
                return False
            s = put_literal(out_sources, s, literals, SAID_GONE)
            s = put_boolean(out_sources, s, golden.state[i, source] == DELETED)
            s = put_literal(out_sources, s, literals, SAID_US)
            s = put_number(out_sources, s, golden.seen_us[i, source])
            s = put_literal(out_sources, s, literals, SAID_EVENT)
            s = put_named(out_sources, s, texts, ids, golden.event[i, source])
            if s < 0:
                return False
            s = put_literal(out_sources, s, literals, SAID_VALUES)
            empty = True
            for field in range(fields):
                lane = golden.value[i, source, field]
                if lane == ABSENT:
                    continue
                s = put_member(out_sources, s, literals, GOLDEN_FIELDS + field, empty)
                empty = False
                kind, scale = known.kind[field], known.scale[field]
                s = _put_json(out_sources, s, texts, literals, lane, kind, scale, floats, room.float_at)
            put(out_sources, s, _CLOSE)
            put(out_sources, s + 1, _CLOSE)
            s += 2
        put(out_sources, s, _CLOSE)
        s += 1
        room.fields.ends[i], room.provenance.ends[i], room.sources.ends[i] = f, v, s

        if len(room.lines.at) == 0:
            continue
        partition = known.partition[entities.group[entity]]
        out = lines + room.lines.begin[partition]
        p, time = begin_line(out, room.lines.at[partition], literals, high, low, golden.us[i], high, low)
        p = put_literal(out, p, literals, MATCH_KEY)
        p = put_quoted(out, p, keys, key, key_end - key)
        p = put_literal(out, p, literals, OF_TIME)
        copy_wide(out, p, out, time)
        p = put_literal(out, p + _MOMENT, literals, OF_GONE)
        p = put_boolean(out, p, golden.deleted[i])
        p = put_literal(out, p, literals, OF_FIELDS)
        p = put_text(out, p, out_fields, f_begin, f - f_begin)
        p = put_literal(out, p, literals, OF_PROVENANCE)
        p = put_text(out, p, out_provenance, v_begin, v - v_begin)
        p = put_literal(out, p, literals, OF_SOURCES)
        p = put_text(out, p, out_sources, s_begin, s - s_begin)
        end_line(room.lines, partition, put_literal(out, p, literals, END))
    return True
