"""Golden records as rows of table Entities and lines of hub ``entities``, a column at a time."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.merge.golden import DELETED, PRESENT, UNSEEN, Golden
from flockiq.merge.survivorship import FOLLOWED
from flockiq.pipeline.tellings import OTHER_RULES
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.written import written
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Texts
from flockiq.shared.layout import OVERRIDE, Layout
from flockiq.shared.pool import COMMA, EMPTY, INTEGER, MOMENT, Pool, Rows
from flockiq.shared.tabular import Columns

_ROW = 0xFFFFFFFF
_AS_THEY_ARE = ("integer", "boolean", "float")  # types that are no strings in JSON

_encode = msgspec.json.Encoder().encode


class ToldEntities(NamedTuple):
    """n golden records, told.

    ids: of each; times (of the source): texts of the pool, int64 [n]; columns: the rows of table Entities; form
    and parts: the same as JSON (see ``Pool.joined``).
    """

    ids: list[str]
    times: Int64s
    columns: Columns
    form: tuple[str, ...]
    parts: tuple[Int64s, ...]


def tell_entities(
    pool: Pool, state: TypeState, entities: Int64s, texts: Texts, tenant: str, version: int, now_us: int
) -> ToldEntities:
    """Tell at least one golden record with the source of every field and what each source says."""
    layout, golden, numbers = state.plan.layout, state.live.golden.take(entities), entities.tolist()
    n = len(numbers)
    ids, match_keys = state.ids.names.many(entities), state.match_keys.many(entities)
    best, each = _values(pool, layout, golden, texts)
    fields, provenance = _object(pool, best), _object(pool, _provenance(pool, state, golden, entities))
    sources = _sources(pool, layout, golden, each, texts)
    deleted = (golden.state[:, : len(layout.sources)] != PRESENT).all(axis=1)
    us = np.maximum(golden.seen_us.max(axis=1, initial=0), 0)
    times = pool.lanes(MOMENT, 0, us).plain

    columns = Columns(n)
    columns.text("Tenant", tenant)
    columns.text("EntityType", layout.entity)
    columns.texts("EntityId", ids)
    columns.texts("MatchKey", match_keys)
    columns.numbers("Version", np.full(n, version, np.int64))
    columns.instants("UpdatedAt", np.full(n, now_us, np.int64))
    columns.instants("SourceTime", us)
    columns.numbers("Deleted", deleted)
    columns.written("Fields", fields, dynamic=True)
    columns.written("Provenance", provenance, dynamic=True)
    columns.written("Sources", sources, dynamic=True)

    form = (
        f'{{"EntityType":{_json(layout.entity)},"EntityId":',
        ',"MatchKey":',
        ',"SourceTime":"',
        '","Deleted":',
        ',"Fields":',
        ',"Provenance":',
        ',"Sources":',
        f',"Tenant":{_json(tenant)},"Version":{version},"UpdatedAt":"{rfc3339(now_us)}"}}',
    )
    gone = pool.json([False, True])[deleted.astype(np.int64)]
    dynamic = (pool.rows(one) for one in (fields, provenance, sources))
    return ToldEntities(ids, times, columns, form, (pool.json(ids), pool.json(match_keys), times, gone, *dynamic))


def _json(text: str) -> str:
    return _encode(text).decode()


def _object(pool: Pool, members: list[Int64s]) -> Rows:
    """A JSON object of each row's members, which are texts of the pool."""
    return pool.joined(("{", *[""] * (len(members) - 1), "}"), members, members=True)


def _values(pool: Pool, layout: Layout, golden: Golden, texts: Texts) -> tuple[list[Int64s], list[list[Int64s]]]:
    """Members of the golden fields, and of each source's values: names and values in turns, int64 [n]."""
    best: list[Int64s] = []
    each: list[list[Int64s]] = [[] for _ in layout.sources]
    null = pool.text("null")
    for number, field in enumerate(layout.fields):
        lanes = np.stack([golden.golden[:, number], *golden.value[:, : len(layout.sources), number].T])
        found = written(pool, field, lanes.reshape(-1), texts)
        said = (found.plain if field.kind in _AS_THEY_ARE else found.quoted).reshape(lanes.shape)
        said = np.where(lanes == NULL, null, np.where(lanes == ABSENT, EMPTY, said))
        name = np.where(lanes == ABSENT, EMPTY, pool.text(f"{COMMA}{_json(field.name)}:"))
        for members, mine in zip((best, *each), zip(name, said, strict=True), strict=True):
            members.extend(mine)
    return best, each


def _provenance(pool: Pool, state: TypeState, golden: Golden, entities: Int64s) -> list[Int64s]:
    """Members that tell each golden field's source, rule and position: heads and positions in turns, int64 [n]."""
    heads, places = _by_rule(pool, state.plan.layout, golden)
    for row, number, member in set_by_people(state, entities):
        heads[number][row], places[number][row] = pool.text(f"{COMMA}{member}"), EMPTY
    return [member for pair in zip(heads, places, strict=True) for member in pair]


def set_by_people(state: TypeState, entities: Int64s) -> list[tuple[int, int, str]]:
    """The golden fields that people have set: row, field, and the member of the provenance that says so."""
    layout, golden, people = state.plan.layout, state.live.golden, len(state.plan.layout.sources)
    if not layout.overrides:
        return []
    at = np.argwhere((golden.winner[entities] == people) & (golden.golden[entities] != ABSENT))
    said_us, _, said_by = golden.positions(entities[at[:, 0]], people, at[:, 1])
    found = []
    for (row, number), us, event in zip(at.tolist(), said_us.tolist(), said_by.tolist(), strict=True):
        override = state.overrides.by_event.get(event)
        if override is not None:
            name, who = _json(layout.fields[number].name), _json(override.by)
            member = (
                f'{name}:{{"source":{who},"rule":"{OVERRIDE}","us":{us},"run":0,'
                f'"row":0,"until":{override.until_us},"override":"{override.id}"}}'
            )
            found.append((row, number, member))
    return found


def _by_rule(pool: Pool, layout: Layout, golden: Golden) -> tuple[list[Int64s], list[Int64s]]:
    """The same as the rules have it, without what is known of people: heads and positions by field."""
    n, fields = golden.golden.shape
    there = golden.golden != ABSENT
    winner = np.where(there, golden.winner, 0).astype(np.int64)
    row, column = np.arange(n)[:, None], np.arange(fields)[None, :]
    us, rr, _ = golden.positions(row, winner, column)
    value = golden.value[:, : len(layout.sources)]
    filled = ((value != ABSENT) & (value != NULL)).sum(axis=1)
    sources = [_json(name) for name in layout.tellers]
    position = [pool.lanes(INTEGER, 0, part.reshape(-1)).plain for part in (us, rr >> 32, rr & _ROW)]
    place = pool.rows(pool.joined(('"us":', ',"run":', ',"row":', "}"), position)).reshape(n, fields)
    place[~there] = EMPTY
    heads = []
    for number, field in enumerate(layout.fields):
        name, cascade = _json(field.name), layout.survivorship[number]
        rules = [*cascade, *OTHER_RULES]
        told = golden.rule[:, number].astype(np.int64)
        rule = np.where((told >= 0) & (told < len(cascade)), told, len(cascade))
        rule = np.where(told == FOLLOWED, len(cascade) + 2, rule)
        rule = np.where(filled[:, number] <= 1, len(cascade) + 1, rule)
        texts = [f'{COMMA}{name}:{{"source":{source},"rule":"{said}",' for source in sources for said in rules]
        head = pool.texts(texts)[winner[:, number] * len(rules) + rule]
        head[~there[:, number]] = EMPTY
        heads.append(head)
    return heads, list(place.T)


def _sources(pool: Pool, layout: Layout, golden: Golden, values: list[list[Int64s]], texts: Texts) -> Rows:
    """A JSON object of what each source says of each entity."""
    comma, deleted = pool.text(COMMA), pool.json([False, True])
    members: list[Int64s] = []
    for number, source in enumerate(layout.sources):
        state = golden.state[:, number]
        seen = np.flatnonzero(state != UNSEEN)
        between, objects = np.full((2, len(state)), EMPTY)
        members += [between, objects]
        if not len(seen):
            continue
        keys = [text.partition("/") for text in texts.many(golden.key[seen, number])]
        said = [
            pool.json([record for _, _, record in keys]),
            pool.json([stream for stream, _, _ in keys]),
            deleted[(state[seen] == DELETED).astype(np.int64)],
            pool.lanes(INTEGER, 0, golden.seen_us[seen, number]).plain,
            pool.json(texts.many(golden.event[seen, number])),
            *(member[seen] for member in values[number]),
        ]
        parts = ('{"key":', ',"stream":', ',"deleted":', ',"us":', ',"event":', ',"values":{')
        begin = f"{_json(source)}:{parts[0]}"
        form = (begin, *parts[1:], *[""] * (len(values[number]) - 1), "}}")
        between[seen], objects[seen] = comma, pool.rows(pool.joined(form, said, members=True))
    return _object(pool, members)
