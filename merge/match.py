"""Matching: which entity a record describes, and where that entity lives.

The entity id is a pure function of tenant, type and match key, so it is the same in any order and
on any machine, and needs no registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flockiq.merge.mapping import StreamPlan
from flockiq.shared.cel.columns import Column
from flockiq.shared.fields import Value
from flockiq.shared.lanes import NULL, Texts, lanes_of
from flockiq.shared.layout import Field as LaneField
from flockiq.shared.positions import entity_id, own_key


class Place(NamedTuple):
    """The entity a record belongs to, and the group that it is bucketed by."""

    entity_id: str
    match_key: str
    group: str


NOWHERE = Place("", "", "")


def places(plan: StreamPlan, keys: Sequence[str], fields: Sequence[Mapping[str, Value]], tenant: str) -> list[Place]:
    """Where each record belongs, by its full fields."""
    match_keys = _match_keys(plan, fields)
    found = []
    for key, matched, values in zip(keys, match_keys, fields, strict=True):
        match_key = matched or own_key(plan.source, plan.stream, key)
        entity = entity_id(tenant, plan.entity, match_key)
        by = values.get(plan.partition_by) if plan.partition_by else None
        group = entity if by is None or by == "" else f"{plan.entity}/{by}"
        found.append(Place(entity, match_key, group))
    return found


def _match_keys(plan: StreamPlan, fields: Sequence[Mapping[str, Value]]) -> Sequence[str]:
    """The match key's value for each record, "" where it has none."""
    if plan.match is None:
        return [""] * len(fields)
    columns = {}
    for field in plan.match_fields:
        values = [record.get(field.name) for record in fields]
        columns[field.name] = _column(LaneField(field.name, field.type, field.scale), values)
    answer = plan.match(columns, len(fields))
    return ["" if null else str(value) for value, null in zip(answer.values, answer.null, strict=True)]


def _column(field: LaneField, values: Sequence[Value]) -> Column:
    """A column of canonical values as an expression reads it."""
    if field.kind in ("string", "json"):
        null = np.array([value is None for value in values], np.bool_)
        return Column(np.array(["" if value is None else value for value in values], object), null)
    lanes = np.array(lanes_of(field.kind, field.scale, values, Texts()), np.int64)
    null = lanes == NULL
    if field.kind == "decimal":
        return Column(lanes / np.float64(10**field.scale), null)
    if field.kind == "float":
        return Column(np.array([np.nan if value is None else value for value in values], np.float64), null)
    scale = 86_400_000_000 if field.kind == "date" else 1
    given = np.where(null, 0, lanes) * scale
    return Column(given == 1 if field.kind == "boolean" else given, null)
