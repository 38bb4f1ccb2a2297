"""Matching: which entity a record describes, and where that entity lives.

The entity id is a pure function of tenant, type and match key, so it is the same in any order and
on any machine, and needs no registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flockiq.merge.mapping import StreamPlan
from flockiq.shared.cel.columns import Column
from flockiq.shared.fields import Value
from flockiq.shared.lanes import NULL, Texts, lanes_of
from flockiq.shared.layout import Field as LaneField
from flockiq.shared.positions import entity_ids, group_of, own_key

REMEMBERED = 1 << 16  # places of a stream: bounds what is kept of them


class Place(NamedTuple):
    """The entity a record belongs to, and the group that it is bucketed by."""

    entity_id: str
    match_key: str
    group: str


NOWHERE = Place("", "", "")

type Placing = tuple[Value, ...]
"""What places a record: its values of ``StreamPlan.placing``, None where it has none."""


class Places:
    """Where the records of one stream belong, each place worked out once."""

    def __init__(self, plan: StreamPlan, tenant: str) -> None:
        self._plan = plan
        self._tenant = tenant
        self._matched: dict[Placing, Place | None] = {}  # None: without a value to match by
        self._own: dict[tuple[str, Placing], Place] = {}

    def of(self, keys: Sequence[str], placing: Sequence[Placing]) -> list[Place]:
        """Where each record belongs, by its key and what places it."""
        known = self._matched
        new = [one for one in dict.fromkeys(placing) if one not in known]
        if new:
            if len(known) + len(new) > REMEMBERED:
                known = self._matched = {}
                new = list(dict.fromkeys(placing))
            known.update(dict.fromkeys(new))
            found = [pair for pair in zip(new, self._match_keys(new), strict=True) if pair[1]]
            matched, match_keys = [one for one, _ in found], [key for _, key in found]
            known.update(zip(matched, self._places(match_keys, matched), strict=True))
        return [known[one] or self._alone(key, one) for key, one in zip(keys, placing, strict=True)]

    def alone(self, placing: Placing) -> bool:
        """Whether records that ``of`` has placed by this can be matched by nothing else."""
        return self._matched[placing] is None

    def _alone(self, key: str, placing: Placing) -> Place:
        """The place of a record that nothing else can match."""
        found = self._own.get((key, placing))
        if found is None:
            if len(self._own) >= REMEMBERED:
                self._own = {}
            match_key = own_key(self._plan.source, self._plan.stream, key)
            (found,) = self._places([match_key], [placing])
            self._own[key, placing] = found
        return found

    def _places(self, match_keys: Sequence[str], placing: Sequence[Placing]) -> list[Place]:
        """The place of each match key."""
        entity = self._plan.entity
        ids = entity_ids(self._tenant, entity, match_keys)
        if not self._plan.partition_by:
            return [Place(one, key, one) for one, key in zip(ids, match_keys, strict=True)]
        return [
            Place(one, key, group_of(entity, one, by[-1]))
            for one, key, by in zip(ids, match_keys, placing, strict=True)
        ]

    def _match_keys(self, placing: Sequence[Placing]) -> Sequence[str]:
        """The match key's value for each, "" where there is none."""
        if self._plan.match is None:
            return [""] * len(placing)
        columns = {
            field.name: _column(LaneField(field.name, field.type, field.scale), [one[number] for one in placing])
            for number, field in enumerate(self._plan.match_fields)
        }
        answer = self._plan.match(columns, len(placing))
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
