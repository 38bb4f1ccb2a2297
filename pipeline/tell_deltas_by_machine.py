"""Deltas told by compiled code: what tell_deltas.py does with numpy, many times as fast."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from flockiq.compare.deltas import KINDS
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.parts import FLOAT, shape
from flockiq.pipeline.tell_deltas import relative_of, tellers_of
from flockiq.pipeline.tellings import (
    FIXED_ROOM,
    LINES_ROOM,
    About,
    DeltaRoom,
    Known,
    Said,
    Told,
    ToldColumns,
    first,
    lines_room,
    literals,
    padded,
    room_for,
    room_for_ids,
)
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import DeltaRows
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Texts, numbers
from flockiq.shared.layout import Layout
from flockiq.shared.pool import Rows
from flockiq.shared.stored_texts import PADDING
from flockiq.shared.tabular import Columns

_ID = 32  # bytes
_VARYING = 10 * _ID  # bytes of a line that are neither literals nor texts: five ids, four times, a relative change
_HASHED = 2 * _ID  # of what an id is the hash of: another id, and what stands between

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


def known_of(functions: Functions, state: TypeState, texts: Texts, about: About, entities: Int64s) -> Known:
    """What lanes and numbers stand for, to tell of these entities of a type."""
    fields = shape(state.plan.layout)
    return Known(
        texts.columns(functions.reindex),
        texts.id_columns(functions.reindex, 0),
        state.entities.columns(0, 0, functions.reindex),
        about.placing.of(state, entities),
        fields.kind,
        fields.scale,
    )


def tell_deltas_by_machine(
    functions: Functions,
    state: TypeState,
    told: DeltaRows,
    texts: Texts,
    about: About,
    *,
    retracted_by: int | None = None,
) -> Told | None:
    """Tell at least one delta, or take it back, as ``tell_deltas`` does; None: these are left to that one."""
    layout, n = state.plan.layout, len(told.entity)
    if not state.ids.are_ids(told.entity):
        return None
    known = known_of(functions, state, texts, about, told.entity)
    tellers, teller = tellers_of(state, told)
    kinds = ["retracted"] * len(KINDS) if retracted_by is not None else list(KINDS)
    said = literals(_literals(layout, kinds, tellers, about))
    rows = _rows(told, teller)
    sizes = np.zeros(LINES_ROOM + 2 * about.placing.partitions, np.int64)
    relative, odd = np.full(n, np.nan), np.empty(n, np.int64)
    count = functions.measure_deltas(rows, known, int(said.bounds[-1]) + _VARYING, sizes, relative, odd)
    if count < 0:
        return None
    for row in odd[:count].tolist():
        one = slice(row, row + 1)
        relative[one] = relative_of(layout.fields[told.field[row]], told.old[one], told.new[one])
    changes = _encode_lines(relative[~np.isnan(relative)].tolist())
    numbers_said = Said(padded(_floats(layout, told)), padded(changes), relative)
    room = _room(n, sizes, int(said.bounds[-1]))
    if not functions.tell_deltas(rows, known, said, numbers_said, retracted_by is not None, room):
        return None
    columns = Columns(n)
    columns.written("DeltaId", first(room.ids, n))
    columns.text("Tenant", about.tenant)
    columns.text("EntityType", layout.entity)
    columns.picked("EntityId", first(room.entities, room.counts[0]), room.entity)
    columns.picked("MatchKey", first(room.match_keys, room.counts[0]), room.entity)
    columns.texts("Field", [field.name for field in layout.fields], told.field)
    columns.texts("Kind", kinds, rows.kind)
    columns.written("Old", first(room.old, n))
    columns.written("New", first(room.new, n))
    columns.numbers("RelativeChange", relative)
    columns.texts("Source", tellers, teller)
    columns.picked("CauseId", first(room.causes, room.counts[1]), room.cause)
    columns.instants("SourceTime", told.us)
    columns.instants("OldSourceTime", told.old_us)
    columns.instants("NewSourceTime", told.new_us)
    columns.instants("CommittedAt", np.full(n, about.now_us, np.int64))
    columns.written("Retracts", first(room.retracts, n) if retracted_by is not None else _no_texts(n))
    return Told(columns, room.lines.told())


def _rows(told: DeltaRows, teller: Int64s) -> ToldColumns:
    columns = told._replace(source=teller)._asdict()
    return ToldColumns._make(np.ascontiguousarray(columns[name], np.int64) for name in ToldColumns._fields)


def _floats(layout: Layout, told: DeltaRows) -> bytes:
    """The values that are floats, as JSON says them, each on a line: old and new by turns."""
    floats = shape(layout).kind == FLOAT
    if not floats.any():
        return b""
    mine = floats[told.field]
    lanes = np.stack([told.old[mine], told.new[mine]], axis=1).reshape(-1)
    return _encode_lines(numbers("float", 0, lanes[(lanes != ABSENT) & (lanes != NULL)]).tolist())


def _room(n: int, sizes: Int64s, literal: int) -> DeltaRoom:
    """Room for n deltas as ``measure_deltas`` has found it."""
    partitions = (len(sizes) - LINES_ROOM) // 2
    old, new, keys, causes, hashed = sizes[:LINES_ROOM].tolist()
    values = n * FIXED_ROOM
    return DeltaRoom(
        lines_room(sizes[LINES_ROOM : LINES_ROOM + partitions], sizes[LINES_ROOM + partitions :]),
        room_for_ids(n),
        room_for_ids(n),
        room_for(n, old + values),
        room_for(n, new + values),
        np.empty(n, np.int32),
        room_for_ids(n),
        room_for(n, keys),
        np.empty(n, np.int32),
        room_for(n, causes),
        np.zeros(2, np.int64),
        np.empty(hashed + _HASHED + literal + PADDING, np.uint8),
        np.empty(8, np.uint64),
    )


def _no_texts(n: int) -> Rows:
    """Texts that are empty."""
    return Rows(np.empty(0, np.uint8), np.zeros(n, np.int64))


def _literals(layout: Layout, kinds: Sequence[str], tellers: Sequence[str], about: About) -> list[str]:
    """What is the same in many lines, by number (pipeline/tellings.py)."""
    tenant, entity = _json(about.tenant), _json(layout.entity)
    fields = [field.name for field in layout.fields]
    return [
        '{"specversion":"1.0","id":"',
        f'","source":"flockiq","type":"{wire.DELTA}","time":"',
        f'","tenant":{tenant},"subject":{entity[:-1]}/',
        '","data":{"DeltaId":"',
        f'","Tenant":{tenant},"EntityType":{entity},"EntityId":"',
        '","MatchKey":',
        ',"New":',
        ',"RelativeChange":',
        ',"SourceTime":"',
        f',"CommittedAt":"{rfc3339(about.now_us)}","Retracts":"',
        '"}}\n',
        f"\x1fretracted\x1f{about.commit}",
        "null",
        '","OldSourceTime":',
        ',"NewSourceTime":',
        *(f'"{kind}","Old":' for kind in kinds),
        *(f',"Field":{_json(field)},"Kind":' for field in fields),
        *(f"\x1f{field}\x1f" for field in fields),
        *(f',"Source":{_json(teller)},"CauseId":' for teller in tellers),
    ]


def _json(text: str) -> str:
    return _encode(text).decode()
