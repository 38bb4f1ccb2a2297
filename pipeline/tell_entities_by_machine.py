"""Golden records told by compiled code: what tell_entities.py does with numpy, many times as fast."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.merge.golden import PRESENT, UNSEEN, Golden
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.parts import FLOAT, shape
from flockiq.pipeline.tell_deltas_by_machine import known_of
from flockiq.pipeline.tell_entities import set_by_people
from flockiq.pipeline.tellings import (
    FIELDS_ROOM,
    GOLDEN_FIELDS,
    GOLDEN_ROOM,
    NAMES_ROOM,
    OTHER_RULES,
    SAID_ROOM,
    About,
    GoldenForm,
    GoldenRoom,
    GoldenTaken,
    SaidGolden,
    Told,
    first,
    lines_room,
    literals,
    padded,
    room_for,
    room_for_ids,
)
from flockiq.pipeline.types import TypeState
from flockiq.shared import wire
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Texts, numbers
from flockiq.shared.layout import Layout
from flockiq.shared.tabular import Columns

_ID = 32  # bytes
_VARYING = 6 * _ID  # bytes of a line that are neither literals nor texts nor an object: three ids, two times, a truth
_SAID_VARYING = 32  # bytes of what a source said that are neither literals nor texts: a time, a truth, braces
_PLACE_VARYING = 48  # bytes of a position: three numbers

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


def tell_entities_by_machine(
    functions: Functions, state: TypeState, entities: Int64s, texts: Texts, about: About
) -> Told | None:
    """Tell at least one golden record, as ``tell_entities`` does; None: they are left to that one."""
    layout, n = state.plan.layout, len(entities)
    if not state.ids.are_ids(entities):
        return None
    golden, form = _taken(state.live.golden, layout, entities), _form(layout)
    people = set_by_people(state, entities)
    begin = GOLDEN_FIELDS + len(form.texts)
    places = [(row * len(layout.fields) + field, begin + at) for at, (row, field, _) in enumerate(people)]
    by_people = np.array(places, np.int64).reshape(-1, 2)
    said = literals([*_literals(layout, about), *form.texts, *(f",{member}" for _, _, member in people)])
    known = known_of(functions, state, texts, about, entities)
    golden_form = GoldenForm(len(layout.sources), form.rules, form.heads)
    sizes = np.zeros(GOLDEN_ROOM + 2 * about.placing.partitions, np.int64)
    if functions.measure_entities(golden, known, golden_form.sources, sizes) < 0:
        return None
    room = _room(n, sizes, layout, np.diff(said.bounds))
    written = SaidGolden(padded(_floats(layout, golden)), by_people)
    if not functions.tell_entities(golden, known, golden_form, said, written, room):
        return None
    columns = Columns(n)
    columns.text("Tenant", about.tenant)
    columns.text("EntityType", layout.entity)
    columns.written("EntityId", first(room.ids, n))
    columns.written("MatchKey", first(room.match_keys, n))
    columns.numbers("Version", np.full(n, about.version, np.int64))
    columns.instants("UpdatedAt", np.full(n, about.now_us, np.int64))
    columns.instants("SourceTime", golden.us)
    columns.numbers("Deleted", golden.deleted)
    columns.written("Fields", first(room.fields, n), dynamic=True)
    columns.written("Provenance", first(room.provenance, n), dynamic=True)
    columns.written("Sources", first(room.sources, n), dynamic=True)
    return Told(columns, room.lines.told())


def _taken(golden: Golden, layout: Layout, entities: Int64s) -> GoldenTaken:
    state, seen_us = golden.state[entities], golden.seen_us[entities]
    return GoldenTaken(
        entity=np.ascontiguousarray(entities),
        us=np.maximum(seen_us.max(axis=1, initial=0), 0),
        deleted=(state[:, : len(layout.sources)] != PRESENT).all(axis=1),
        golden=golden.golden[entities],
        winner=golden.winner[entities],
        rule=golden.rule[entities],
        value=golden.value[entities],
        age=golden.age[entities],
        older=golden.older[entities],
        seen_us=seen_us,
        seen_rr=golden.seen_rr[entities],
        event=golden.event[entities],
        key=golden.key[entities],
        state=state,
        older_us=golden.aged.us,
        older_rr=golden.aged.rr,
    )


def _floats(layout: Layout, golden: GoldenTaken) -> bytes:
    """The values that are floats, as JSON says them, on a line each: of a record the golden ones, then by source."""
    mine = np.flatnonzero(shape(layout).kind == FLOAT)
    if not len(mine):
        return b""
    sources = len(layout.sources)
    lanes = np.concatenate([golden.golden[:, None, mine], golden.value[:, :sources, mine]], axis=1)
    there = (lanes != ABSENT) & (lanes != NULL)
    there[:, 1:] &= (golden.state[:, :sources] != UNSEEN)[:, :, None]
    return _encode_lines(numbers("float", 0, lanes[there]).tolist())


def _room(n: int, sizes: Int64s, layout: Layout, lengths: Int64s) -> GoldenRoom:
    """Room for n records as ``measure_entities`` has found it."""
    partitions, fields, sources = (len(sizes) - GOLDEN_ROOM) // 2, len(layout.fields), len(layout.sources)
    names = int(lengths[GOLDEN_FIELDS : GOLDEN_FIELDS + fields].sum())
    others = int(lengths[:GOLDEN_FIELDS].sum())  # at least as many as any of them stand together
    told_by = GOLDEN_FIELDS + fields
    each = names + 2
    provenance = fields * (int(lengths[told_by + sources :].max(initial=0)) + others + _PLACE_VARYING) + 2
    said = sources * (names + others + _SAID_VARYING) + int(lengths[told_by : told_by + sources].sum()) + 2
    lines = sizes[GOLDEN_ROOM : GOLDEN_ROOM + partitions]
    counts = sizes[GOLDEN_ROOM + partitions :]
    return GoldenRoom(
        lines=lines_room(lines + counts * (each + provenance + said + others + _VARYING), counts),
        ids=room_for_ids(n),
        match_keys=room_for(n, int(sizes[NAMES_ROOM])),
        fields=room_for(n, n * each + int(sizes[FIELDS_ROOM])),
        provenance=room_for(n, n * provenance),
        sources=room_for(n, n * said + int(sizes[SAID_ROOM])),
        float_at=np.zeros(1, np.int64),
        last=np.zeros((len(layout.tellers), 4), np.int64),
    )


class _Form(NamedTuple):
    """Literals that a layout's golden records share, from GOLDEN_FIELDS on; rules and heads: see ``GoldenForm``."""

    texts: tuple[str, ...]
    rules: Int64s
    heads: Int64s


@lru_cache(maxsize=256)
def _form(layout: Layout) -> _Form:
    names = [f",{_json(field.name)}:" for field in layout.fields]
    texts = [*names, *(f',{_json(source)}:{{"key":' for source in layout.sources)]
    heads, rules = [], []
    for name, cascade in zip(names, layout.survivorship, strict=True):
        heads.append(GOLDEN_FIELDS + len(texts))
        rules.append(len(cascade))
        for source in map(_json, layout.tellers):
            texts += [f'{name}{{"source":{source},"rule":"{rule}",' for rule in (*cascade, *OTHER_RULES)]
    return _Form(tuple(texts), np.array(rules, np.int64), np.array(heads, np.int64))


def _literals(layout: Layout, about: About) -> list[str]:
    """What is the same in the lines of a commit, by number (pipeline/tellings.py)."""
    tenant, entity = _json(about.tenant), _json(layout.entity)
    return [
        '{"specversion":"1.0","id":"',
        f':{about.commit}","source":"flockiq","type":"{wire.ENTITY}","time":"',
        f'","tenant":{tenant},"subject":{entity[:-1]}/',
        f'","data":{{"EntityType":{entity},"EntityId":"',
        ',"SourceTime":"',
        '","MatchKey":',
        '","Deleted":',
        ',"Fields":',
        ',"Provenance":',
        ',"Sources":',
        f',"Tenant":{tenant},"Version":{about.version},"UpdatedAt":"{rfc3339(about.now_us)}"}}}}\n',
        ',"stream":',
        "null",
        ',"deleted":',
        ',"us":',
        ',"event":',
        ',"values":{',
        '"us":',
        ',"run":',
        ',"row":',
    ]


def _json(text: str) -> str:
    return _encode(text).decode()
