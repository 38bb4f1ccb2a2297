"""Lines that were read become rows, compiled: their entities, groups and texts are found, and those that are new added.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.parts import (
    ENTITY_HIGH,
    ENTITY_LOW,
    ENTITY_OF,
    EVENT,
    EVENT_HIGH,
    EVENT_LOW,
    GROUP,
    GROUP_OF,
    KEY,
    KEY_END,
    KEY_LANE,
    KNOWN,
    MATCH,
    MATCH_END,
    OP,
    OP_OF,
    PARTS,
    PRINT,
    REVISION,
    REVISION_OF,
    RR,
    RR_OF,
    SHOWN,
    SOURCE,
    SOURCE_END,
    STREAM,
    STREAM_END,
    US,
    US_OF,
)
from flockiq.pipeline.rowindex import NEW, Held, ask_place, held, held_ids, id_number, keep, likely, sought
from flockiq.pipeline.rowknown import with_lanes
from flockiq.shared.machine.code import Array, Columns, Truth, Whole, compiled, inlined
from flockiq.shared.machine.memory import ask_for, ask_for_row, byte, copy, load, put, store
from flockiq.shared.machine.stretches import alike, lane_of_bytes

_SLASH = 47
_AHEAD = 8  # lines: what is to be looked into is asked for so many before it is


@inlined
def _own(text: int, line: int) -> Truth:
    """Whether a line's match key is its record's own: source/stream/key (shared.positions.own_key)."""
    match = load(line, MATCH)
    source = load(line, SOURCE_END) - load(line, SOURCE)
    stream = load(line, STREAM_END) - load(line, STREAM)
    key = load(line, KEY_END) - load(line, KEY)
    if load(line, MATCH_END) - match != source + stream + key + 2:
        return False
    if byte(text, match + source) != _SLASH or byte(text, match + source + stream + 1) != _SLASH:
        return False
    return (
        alike(text, match, text, load(line, SOURCE), source)
        and alike(text, match + source + 1, text, load(line, STREAM), stream)
        and alike(text, match + source + stream + 2, text, load(line, KEY), key)
    )


@inlined
def _shown(text: int, line: int, texts: Held) -> Whole:
    """The lane of what people call the entity of a line: its match key, or its record's key; it is kept."""
    begin, end = load(line, MATCH), load(line, MATCH_END)
    if _own(text, line):
        begin, end = load(line, KEY), load(line, KEY_END)
    lane = lane_of_bytes(text, begin, end)
    keep(texts, lane, text, begin, end)
    return lane


@inlined
def _key(text: int, line: int, scratch: int) -> Whole:
    """Put a line's stream/key into ``scratch``; its size."""
    stream = load(line, STREAM_END) - load(line, STREAM)
    size = stream + 1 + load(line, KEY_END) - load(line, KEY)
    copy(scratch, 0, text, load(line, STREAM), stream)
    put(scratch, stream, _SLASH)
    copy(scratch, stream + 1, text, load(line, KEY), size - stream - 1)
    return size


@inlined
def _ask(text: int, line: int, key: int, names: Held, texts: Held, events: Held, scratch: int) -> Whole:
    """Ask for the places where a line's entity, event and key are looked for; the lane of its key, ``key`` if known."""
    ask_place(names[0], names[4], load(line, ENTITY_HIGH))
    ask_place(events[0], events[4], load(line, EVENT_HIGH))
    if load(line, KNOWN) >= 0:
        return key
    lane = lane_of_bytes(scratch, 0, _key(text, line, scratch))
    ask_place(texts[0], texts[5], lane)
    return lane


@inlined
def _ask_further(line: int, lane: int, names: Held, texts: Held, group_of: int, shown_of: int, prints: Array) -> None:
    """Ask for what the places say: what is known of the entity, and the key's lane."""
    entity = likely(names[0], names[4], load(line, ENTITY_HIGH))
    if entity >= 0:
        ask_for(names[1], entity)
        ask_for(names[3], entity)
        ask_for(group_of, entity)
        ask_for(shown_of, entity)
        ask_for_row(prints, entity)
    if load(line, KNOWN) < 0:
        number = likely(texts[0], texts[5], lane)
        if number >= 0:
            ask_for(texts[1], number)


@compiled
def enter(
    bytes_: Array,
    parts: Array,
    at: Array,
    entities: Columns,
    texts: Columns,
    ids: Columns,
    prints: Array,
    secret: Array,
    source: Array,
    value: Array,
    key: Array,
    out: Array,
    left: Array,
    scratch: Array,
) -> Whole:
    """Find or add what the lines ``at`` of a text, ``bytes_``, speak of: ``out`` int64 [ENTERED, n].

    ``entities``, ``texts`` and ``ids`` have room for all of it. ``source``, ``value``: of the rows, as they were read;
    ``key`` int64 [n]: the lanes of their keys where they are known. What was read is remembered in ``prints``,
    keyed with ``secret``. Returns how many entities are left to others: ``left`` int64 [n], the rows.
    """
    text, spare, lines = bytes_.ctypes.data, scratch.ctypes.data, parts.ctypes.data
    names, groups = held_ids(entities.ids), held_ids(entities.groups)
    group_of, shown_of = entities.group.ctypes.data, entities.shown.ctypes.data
    bounds, utf8 = entities.bounds.ctypes.data, entities.utf8.ctypes.data
    kept, events = held(texts), held_ids(ids)
    values, fields = value.ctypes.data, value.shape[1]
    others, n = 0, len(at)
    for i in range(-2 * _AHEAD, n):
        coming = i + 2 * _AHEAD
        if coming < n:
            line = lines + at[coming] * 8 * PARTS
            out[KEY_LANE, coming] = _ask(text, line, key[coming], names, kept, events, spare)
        coming = i + _AHEAD
        if 0 <= coming < n:
            _ask_further(lines + at[coming] * 8 * PARTS, out[KEY_LANE, coming], names, kept, group_of, shown_of, prints)
        if i < 0:
            continue
        line = lines + at[i] * 8 * PARTS
        high, low = load(line, ENTITY_HIGH), load(line, ENTITY_LOW)
        entity = id_number(names, high, low, False)  # noqa: FBT003
        if entity == NEW and load(line, GROUP) < 0:
            group = id_number(groups, high, low, True)  # noqa: FBT003
            if group >= 0:
                entity = id_number(names, high, low, True)  # noqa: FBT003
                begin, match = load(bounds, entity), load(line, MATCH)
                size = load(line, MATCH_END) - match
                copy(utf8, begin, text, match, size)
                store(bounds, entity + 1, begin + size)
                store(group_of, entity, group)
                store(shown_of, entity, _shown(text, line, kept))
        out[ENTITY_OF, i] = entity
        if entity >= 0:
            out[GROUP_OF, i], out[SHOWN, i] = load(group_of, entity), load(shown_of, entity)
        else:
            left[others] = i
            others += 1
        high = load(line, EVENT_HIGH)
        id_number(events, high, load(line, EVENT_LOW), True)  # noqa: FBT003
        out[EVENT, i] = high
        if load(line, KNOWN) < 0:
            lane = out[KEY_LANE, i]
            if sought(kept[0], kept[1], kept[5], lane)[1] < 0:
                keep(kept, lane, spare, 0, _key(text, line, spare))
            if 0 <= entity < len(prints):
                mine = with_lanes(np.uint64(load(line, PRINT)), values + i * 8 * fields, fields, lane, secret)
                prints[entity, source[i]] = np.int64(mine)
        out[OP_OF, i], out[US_OF, i], out[RR_OF, i] = load(line, OP), load(line, US), load(line, RR)
        out[REVISION_OF, i] = load(line, REVISION)
    return others
