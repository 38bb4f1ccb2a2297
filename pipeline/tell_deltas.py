"""Deltas as rows of table Deltas and lines of hub ``deltas``, a column at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
import xxhash

from flockiq.compare.deltas import KINDS
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import DeltaRows
from flockiq.pipeline.written import in_json, instants, of, written
from flockiq.shared.fields import NUMERIC
from flockiq.shared.lanes import ABSENT, NULL, Floats, Int64s, Texts, numbers, value_of
from flockiq.shared.layout import Field, Layout
from flockiq.shared.tabular import Columns

_EXACT = 1 << 53  # of an integer: below it a double is exact


class _Named(NamedTuple):
    """What a delta is about, by the distinct entities and causes: ids, their JSON, and which each delta has."""

    entities: list[str]
    match_keys: list[str]
    about: list[str]  # EntityType, EntityId and MatchKey as members of a JSON object
    entity: Int64s
    causes: list[str]
    causes_json: list[str]
    cause: Int64s


class ToldDeltas(NamedTuple):
    """n deltas, told.

    ids: of each; entity: int64 [n], dense numbers; times: of the source; columns: the rows of
    table Deltas; form % a row of parts: the same in JSON.
    """

    ids: list[str]
    entity: Int64s
    times: list[str]
    columns: Columns
    parts: tuple[Sequence[str], ...]
    form: str


def tell_deltas(
    state: TypeState, told: DeltaRows, texts: Texts, tenant: str, now_us: int, *, retracted_by: int | None = None
) -> ToldDeltas:
    """Tell at least one delta; or, with the number of the commit that does so, take it back."""
    n, layout = len(told.entity), state.plan.layout
    named = _named(state, told, texts)
    said, said_json, old, new, relative = _values(layout, told, texts)
    fields = [field.name for field in layout.fields]
    kinds = ["retracted"] * len(KINDS) if retracted_by is not None else [str(kind) for kind in KINDS]
    entities, causes = of(named.entities, named.entity), of(named.causes, named.cause)
    olds, news = of(said, old), of(said, new)
    deltas = ids_of(zip(entities, of(fields, told.field), causes, olds, news, strict=True))
    ids, retracts = deltas, [""] * n
    if retracted_by is not None:
        ids, retracts = ids_of(zip(deltas, repeat("retracted"), repeat(str(retracted_by)), strict=False)), deltas
    kind = told.kind.astype(np.int64)
    tellers, teller = _tellers(state, told)
    distinct_us, when = np.unique(told.us, return_inverse=True)
    times = of(instants(distinct_us), when)

    columns = Columns(n)
    columns.texts("DeltaId", ids)
    columns.text("Tenant", tenant)
    columns.text("EntityType", layout.entity)
    columns.texts("EntityId", named.entities, named.entity)
    columns.texts("MatchKey", named.match_keys, named.entity)
    columns.texts("Field", fields, told.field)
    columns.texts("Kind", kinds, kind)
    columns.texts("Old", said, old)
    columns.texts("New", said, new)
    columns.numbers("RelativeChange", relative)
    columns.texts("Source", tellers, teller)
    columns.texts("CauseId", named.causes, named.cause)
    columns.instants("SourceTime", told.us)
    columns.instants("CommittedAt", np.full(n, now_us, np.int64))
    columns.texts("Retracts", retracts)

    form = _form(tenant, instants(np.array([now_us]))[0])
    parts = (
        ids,
        of(named.about, named.entity),
        of(in_json(fields), told.field),
        of(kinds, kind),
        of(said_json, old),
        of(said_json, new),
        _numbers(relative),
        of(in_json(tellers), teller),
        of(named.causes_json, named.cause),
        times,
        retracts,
    )
    return ToldDeltas(ids, told.entity, times, columns, parts, form)


def _tellers(state: TypeState, told: DeltaRows) -> tuple[list[str], Int64s]:
    """Who said the values: the sources, and each person by name; which of them each delta is from."""
    layout = state.plan.layout
    tellers, which = list(layout.tellers), told.source
    by_person = np.flatnonzero(which == len(layout.sources))
    if len(by_person):
        which = which.copy()
        for at in by_person.tolist():
            override = state.overrides.by_event.get(int(told.event[at]))
            if override is not None:
                which[at] = len(tellers)
                tellers.append(override.by)
    return tellers, which


def _form(tenant: str, now: str) -> str:
    """A row's JSON, with places for what differs."""
    (tenant_json,) = in_json([tenant])
    return (
        f'{{"DeltaId":"%s","Tenant":{tenant_json.replace("%", "%%")},%s,"Field":%s,"Kind":"%s","Old":%s,"New":%s,'
        f'"RelativeChange":%s,"Source":%s,"CauseId":%s,"SourceTime":"%s","CommittedAt":"{now}","Retracts":"%s"}}'
    )


def ids_of(parts: Iterable[tuple[str, ...]]) -> list[str]:
    """``hash_id`` of each tuple of texts."""
    return list(
        map(xxhash.xxh3_128_hexdigest, map(str.encode, map("\x1f".join, parts)))
    )  # none holds half of a surrogate pair


def _named(state: TypeState, told: DeltaRows, texts: Texts) -> _Named:
    distinct, entity = np.unique(told.entity, return_inverse=True)
    entities = [state.ids.names[one] for one in distinct.tolist()]
    match_keys = [state.match_keys[one] for one in distinct.tolist()]
    (kind,) = in_json([state.plan.layout.entity])
    about = [
        f'"EntityType":{kind},"EntityId":{one},"MatchKey":{match_key}'
        for one, match_key in zip(in_json(entities), in_json(match_keys), strict=True)
    ]
    events, cause = np.unique(told.event, return_inverse=True)
    causes = texts.many(events)
    return _Named(entities, match_keys, about, entity, causes, in_json(causes), cause)


def _values(layout: Layout, told: DeltaRows, texts: Texts) -> tuple[list[str], list[str], Int64s, Int64s, Floats]:
    """Old and new values: the distinct ones as text and as JSON text, which are whose; the relative changes."""
    said: list[str] = []
    old, new = np.zeros_like(told.field), np.zeros_like(told.field)
    relative = np.full(len(told.field), np.nan)
    for number, field in enumerate(layout.fields):
        mine = np.flatnonzero(told.field == number)
        if not len(mine):
            continue
        found = written(field, np.stack([told.old[mine], told.new[mine]]), texts)
        old[mine], new[mine] = found.which[0] + len(said), found.which[1] + len(said)
        said += found.texts
        if field.kind in NUMERIC:
            relative[mine] = _relative(field, told.old[mine], told.new[mine])
    return said, in_json(said), old, new, relative


def _relative(field: Field, old: Int64s, new: Int64s) -> Floats:
    """The change of numbers relative to the old ones; NaN where there is none."""
    was, now = numbers(field.kind, field.scale, old), numbers(field.kind, field.scale, new)
    if field.kind == "decimal":  # of the longest, the nearest double is found by their digits
        _by_digits(field, old, was)
        _by_digits(field, new, now)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative: Floats = (now - was) / np.abs(was)
    return np.where(np.isfinite(relative) & (was != 0), relative, np.nan)


def _by_digits(field: Field, lanes: Int64s, values: Floats) -> None:
    for row in np.flatnonzero((np.abs(lanes) >= _EXACT) & (lanes != ABSENT) & (lanes != NULL)).tolist():
        values[row] = float(str(value_of(field.kind, field.scale, int(lanes[row]), _NO_TEXTS)))


_NO_TEXTS = Texts()  # a decimal has none


def _numbers(values: Floats) -> list[str]:
    """Floats as JSON; NaN is null."""
    distinct, which = np.unique(values, return_inverse=True)
    return of(in_json(distinct.tolist()), which)
