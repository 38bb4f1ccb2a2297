"""Golden records as rows of table Entities and lines of hub ``entities``, a column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.merge.golden import DELETED, PRESENT, UNSEEN, Golden
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.written import in_json, instants, of, written
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Texts
from flockiq.shared.layout import OVERRIDE, Layout
from flockiq.shared.tabular import Columns

_ROW = 0xFFFFFFFF
Fragments = npt.NDArray[np.object_]
"""Members of JSON objects, "" where there is none."""


class ToldEntities(NamedTuple):
    """n golden records, told.

    ids, times (of the source): of each; columns: the rows of table Entities; form % a row of parts: the
    same in JSON.
    """

    ids: list[str]
    times: list[str]
    columns: Columns
    parts: tuple[Sequence[str], ...]
    form: str


def tell_entities(
    state: TypeState, entities: Int64s, texts: Texts, tenant: str, version: int, now_us: int
) -> ToldEntities:
    """Tell at least one golden record with the source of every field and what each source says."""
    layout, golden, numbers = state.plan.layout, state.live.golden.take(entities), entities.tolist()
    n = len(numbers)
    ids = [state.ids.names[one] for one in numbers]
    match_keys = [state.match_keys[one] for one in numbers]
    said, values = _values(layout, golden, texts)
    fields = _objects(said)
    provenance = _objects(_provenance(state, golden))
    sources = _objects(_sources(layout, golden, values, texts))
    deleted = (golden.state[:, : len(layout.sources)] != PRESENT).all(axis=1)
    us = np.maximum(golden.seen_us.max(axis=1, initial=0), 0)
    times = instants(us)

    columns = Columns(n)
    columns.text("Tenant", tenant)
    columns.text("EntityType", layout.entity)
    columns.texts("EntityId", ids)
    columns.texts("MatchKey", match_keys)
    columns.numbers("Version", np.full(n, version, np.int64))
    columns.instants("UpdatedAt", np.full(n, now_us, np.int64))
    columns.instants("SourceTime", us)
    columns.numbers("Deleted", deleted)
    columns.dynamic("Fields", fields)
    columns.dynamic("Provenance", provenance)
    columns.dynamic("Sources", sources)

    kind, owner = in_json([layout.entity, tenant])
    now = instants(np.array([now_us]))[0]
    form = (
        f'{{"EntityType":{kind.replace("%", "%%")},"EntityId":%s,"MatchKey":%s,"SourceTime":"%s","Deleted":%s,'
        f'"Fields":%s,"Provenance":%s,"Sources":%s,'
        f'"Tenant":{owner.replace("%", "%%")},"Version":{version},"UpdatedAt":"{now}"}}'
    )
    gone = of(["false", "true"], deleted.astype(np.int64))
    parts = (in_json(ids), in_json(match_keys), times, gone, fields, provenance, sources)
    return ToldEntities(ids, times, columns, parts, form)


def _objects(members: Fragments) -> list[str]:
    """A JSON object of each row's members."""
    if members.all():
        return [f"{{{','.join(row)}}}" for row in members.tolist()]
    return [f"{{{','.join(filter(None, row))}}}" for row in members.tolist()]


def _values(layout: Layout, golden: Golden, texts: Texts) -> tuple[Fragments, Fragments]:
    """Members of the golden fields [n, F] and of each source's values [n, S, F]."""
    n = len(golden)
    names = in_json([field.name for field in layout.fields])
    best: Fragments = np.empty((n, len(names)), object)
    each: Fragments = np.empty((n, len(layout.sources), len(names)), object)
    for number, (name, field) in enumerate(zip(names, layout.fields, strict=True)):
        lanes = np.column_stack([golden.golden[:, number], golden.value[:, : len(layout.sources), number]])
        found = written(field, lanes, texts)
        members = np.array([f"{name}:{value}" for value in found.json], object)
        every = np.where(lanes == ABSENT, "", members[found.which])
        best[:, number], each[:, :, number] = every[:, 0], every[:, 1:]
    return best, each


def _provenance(state: TypeState, golden: Golden) -> Fragments:
    """Members that tell each golden field's source, rule and position [n, F]."""
    layout, people = state.plan.layout, len(state.plan.layout.sources)
    members = _by_rule(layout, golden)
    for row, number in np.argwhere(golden.winner == people).tolist():
        override = state.overrides.by_event.get(int(golden.hash[row, people, number]))
        if override is not None:
            name, who = in_json([layout.fields[number].name, override.by])
            members[row, number] = (
                f'{name}:{{"source":{who},"rule":"{OVERRIDE}","us":{golden.us[row, people, number]},"run":0,"row":0,'
                f'"until":{override.until_us},"override":"{override.id}"}}'
            )
    return members


def _by_rule(layout: Layout, golden: Golden) -> Fragments:
    """The same as the rules have it, without what is known of people."""
    n, fields = golden.golden.shape
    there = golden.golden != ABSENT
    winner = np.where(there, golden.winner, 0).astype(np.int64)
    row, column = np.arange(n)[:, None], np.arange(fields)[None, :]
    us, rr = golden.us[row, winner, column], golden.rr[row, winner, column]
    value = golden.value[:, : len(layout.sources)]
    filled = ((value != ABSENT) & (value != NULL)).sum(axis=1)
    members: Fragments = np.empty((n, fields), object)
    names, sources = in_json([field.name for field in layout.fields]), in_json(layout.tellers)
    places: dict[tuple[int, int], str] = {}
    for number, name in enumerate(names):
        cascade = layout.survivorship[number]
        rules = [*cascade, "first", "only"]
        rule = golden.rule[:, number].astype(np.int64)
        rule = np.where((rule >= 0) & (rule < len(cascade)), rule, len(cascade))
        rule = np.where(filled[:, number] <= 1, len(cascade) + 1, rule)
        heads = [f'{name}:{{"source":{source},"rule":"{said}",' for source in sources for said in rules]
        head = of(heads, winner[:, number] * len(rules) + rule)
        members[:, number] = [
            begin + (places.get(place) or _placed(places, place))
            for begin, place in zip(head, zip(us[:, number].tolist(), rr[:, number].tolist(), strict=True), strict=True)
        ]
    members[~there] = ""
    return members


def _placed(places: dict[tuple[int, int], str], place: tuple[int, int]) -> str:
    us, rr = place
    text = places[place] = f'"us":{us},"run":{rr >> 32},"row":{rr & _ROW}}}'
    return text


def _sources(layout: Layout, golden: Golden, values: Fragments, texts: Texts) -> Fragments:
    """Members that tell what each source says [n, S]."""
    members: Fragments = np.empty((len(golden), len(layout.sources)), object)
    for number, name in enumerate(in_json(layout.sources)):
        state = golden.state[:, number]
        seen = np.flatnonzero(state != UNSEEN)
        members[:, number] = ""
        if not len(seen):
            continue
        keys = [text.partition("/") for text in texts.many(golden.key[seen, number])]
        events = texts.many(golden.event[seen, number])
        columns = zip(
            in_json([record for _, _, record in keys]),
            in_json([stream for stream, _, _ in keys]),
            of(["false", "true"], (state[seen] == DELETED).astype(np.int64)),
            golden.seen_us[seen, number].tolist(),
            in_json(events),
            _objects(values[seen, number]),
            strict=True,
        )
        form = f'{name.replace("%", "%%")}:{{"key":%s,"stream":%s,"deleted":%s,"us":%d,"event":%s,"values":%s}}'
        members[seen, number] = [form % one for one in columns]
    return members
