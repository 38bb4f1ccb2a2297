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
from flockiq.pipeline.rowindex import NEW, Held, held, held_ids, id_number, keep
from flockiq.pipeline.rowknown import with_lanes
from flockiq.shared.machine.code import Array, Columns, Truth, Whole, compiled, inlined
from flockiq.shared.machine.memory import byte, copy, load, put, store
from flockiq.shared.machine.stretches import alike, lane_of_bytes

_SLASH = 47


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
def _key(text: int, line: int, texts: Held, scratch: int) -> Whole:
    """The lane of a line's stream/key, which is kept."""
    stream = load(line, STREAM_END) - load(line, STREAM)
    size = stream + 1 + load(line, KEY_END) - load(line, KEY)
    copy(scratch, 0, text, load(line, STREAM), stream)
    put(scratch, stream, _SLASH)
    copy(scratch, stream + 1, text, load(line, KEY), size - stream - 1)
    lane = lane_of_bytes(scratch, 0, size)
    keep(texts, lane, scratch, 0, size)
    return lane


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
    others = 0
    for i in range(len(at)):
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
        lane = key[i]
        if load(line, KNOWN) < 0:
            lane = _key(text, line, kept, spare)
            if 0 <= entity < len(prints):
                mine = with_lanes(np.uint64(load(line, PRINT)), values + i * 8 * fields, fields, lane, secret)
                prints[entity, source[i]] = np.int64(mine)
        out[KEY_LANE, i] = lane
        out[OP_OF, i], out[US_OF, i], out[RR_OF, i] = load(line, OP), load(line, US), load(line, RR)
        out[REVISION_OF, i] = load(line, REVISION)
    return others
