"""Deltas as rows of table Deltas and lines of hub ``deltas``, a column at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np
import xxhash

from flockiq.compare.deltas import KINDS
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import DeltaRows
from flockiq.pipeline.written import written
from flockiq.shared.fields import NUMERIC
from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import ABSENT, NULL, Floats, Int64s, Texts, numbers, value_of
from flockiq.shared.layout import Field, Layout
from flockiq.shared.pool import EMPTY, MOMENT, Pool, Said
from flockiq.shared.tabular import Columns

_EXACT = 1 << 53  # of an integer: below it a double is exact

_encode = msgspec.json.Encoder().encode


class ToldDeltas(NamedTuple):
    """n deltas, told.

    ids, times (of the source): texts of the pool, int64 [n]; entity: int64 [n], dense numbers; columns: the rows
    of table Deltas; form and parts: the same as JSON (see ``Pool.joined``).
    """

    ids: Int64s
    entity: Int64s
    times: Int64s
    columns: Columns
    form: tuple[str, ...]
    parts: tuple[Int64s, ...]


def tell_deltas(
    pool: Pool,
    state: TypeState,
    told: DeltaRows,
    texts: Texts,
    tenant: str,
    now_us: int,
    *,
    retracted_by: int | None = None,
) -> ToldDeltas:
    """Tell at least one delta; or, with the number of the commit that does so, take it back."""
    n, layout = len(told.entity), state.plan.layout
    distinct, entity = pool.distinct(told.entity)
    entities, match_keys = state.ids.names.many(distinct), state.match_keys.many(distinct)
    events, cause = pool.distinct(told.event)
    causes = texts.many(events)
    fields, kinds = [field.name for field in layout.fields], [str(kind) for kind in KINDS]
    kind = told.kind.astype(np.int64)
    tellers, teller = tellers_of(state, told)
    old, new, relative = _values(pool, layout, told, texts)
    about, field, caused = pool.said(entities), pool.said(fields), pool.said(causes)
    ids = pool.ids(about.plain[entity], field.plain[told.field], caused.plain[cause], old.plain, new.plain)
    retracts = np.full(n, EMPTY)
    if retracted_by is not None:
        ids, retracts = pool.ids(ids, "retracted", str(retracted_by)), ids
        kinds = ["retracted"] * len(kinds)
    times = pool.lanes(MOMENT, 0, told.us).plain

    columns = Columns(n)
    columns.written("DeltaId", pool.joined(("", ""), [ids]))
    columns.text("Tenant", tenant)
    columns.text("EntityType", layout.entity)
    columns.texts("EntityId", entities, entity)
    columns.texts("MatchKey", match_keys, entity)
    columns.texts("Field", fields, told.field)
    columns.texts("Kind", kinds, kind)
    columns.written("Old", pool.joined(("", ""), [old.plain]))
    columns.written("New", pool.joined(("", ""), [new.plain]))
    columns.numbers("RelativeChange", relative)
    columns.texts("Source", tellers, teller)
    columns.texts("CauseId", causes, cause)
    columns.instants("SourceTime", told.us)
    columns.instants("OldSourceTime", told.old_us)
    columns.instants("NewSourceTime", told.new_us)
    columns.instants("CommittedAt", np.full(n, now_us, np.int64))
    columns.written("Retracts", pool.joined(("", ""), [retracts]))

    parts = (
        ids,
        about.quoted[entity],
        pool.json(match_keys)[entity],
        field.quoted[told.field],
        pool.json(kinds)[kind],
        old.quoted,
        new.quoted,
        _numbers(pool, relative),
        pool.json(tellers)[teller],
        caused.quoted[cause],
        times,
        _instants(pool, told.old_us),
        _instants(pool, told.new_us),
        retracts,
    )
    return ToldDeltas(ids, told.entity, times, columns, _form(tenant, layout.entity, rfc3339(now_us)), parts)


def _form(tenant: str, entity: str, now: str) -> tuple[str, ...]:
    """A row's JSON, with places for what differs."""
    return (
        '{"DeltaId":"',
        f'","Tenant":{_json(tenant)},"EntityType":{_json(entity)},"EntityId":',
        ',"MatchKey":',
        ',"Field":',
        ',"Kind":',
        ',"Old":',
        ',"New":',
        ',"RelativeChange":',
        ',"Source":',
        ',"CauseId":',
        ',"SourceTime":"',
        '","OldSourceTime":',
        ',"NewSourceTime":',
        f',"CommittedAt":"{now}","Retracts":"',
        '"}',
    )


def _json(text: str) -> str:
    return _encode(text).decode()


def tellers_of(state: TypeState, told: DeltaRows) -> tuple[list[str], Int64s]:
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


def ids_of(parts: Iterable[tuple[str, ...]]) -> list[str]:
    """``hash_id`` of each tuple of texts."""
    return list(
        map(xxhash.xxh3_128_hexdigest, map(str.encode, map("\x1f".join, parts)))
    )  # none holds half of a surrogate pair


def _values(pool: Pool, layout: Layout, told: DeltaRows, texts: Texts) -> tuple[Said, Said, Floats]:
    """Old and new values, and the relative changes."""
    n = len(told.field)
    old, new = (Said(np.empty(n, np.int64), np.empty(n, np.int64)) for _ in range(2))
    relative = np.full(n, np.nan)
    for number, field in enumerate(layout.fields):
        mine = np.flatnonzero(told.field == number)
        if not len(mine):
            continue
        was, now = told.old[mine], told.new[mine]
        found = written(pool, field, np.concatenate([was, now]), texts)
        for whole, said in ((old.plain, found.plain), (old.quoted, found.quoted)):
            whole[mine] = said[: len(mine)]
        for whole, said in ((new.plain, found.plain), (new.quoted, found.quoted)):
            whole[mine] = said[len(mine) :]
        if field.kind in NUMERIC:
            relative[mine] = relative_of(field, was, now)
    return old, new, relative


def relative_of(field: Field, old: Int64s, new: Int64s) -> Floats:
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


def _instants(pool: Pool, us: Int64s) -> Int64s:
    """Instants as JSON; NULL is null."""
    return np.where(us == NULL, pool.json([None]), pool.lanes(MOMENT, 0, us).quoted)


def _numbers(pool: Pool, values: Floats) -> Int64s:
    """Floats as JSON; NaN is null."""
    there = np.flatnonzero(~np.isnan(values))
    found = pool.json([None, *values[there].tolist()])
    said = np.full(len(values), found[0])
    said[there] = found[1:]
    return said
