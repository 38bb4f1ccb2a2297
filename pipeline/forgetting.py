"""Forgetting entities for good: what is known of them is removed, and what is from before that is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from flockiq.compare.anomalies import Series
from flockiq.merge.golden import Golden
from flockiq.pipeline.history import Marks
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import Signs
from flockiq.shared import wire
from flockiq.shared.lanes import Int64s
from flockiq.shared.rows import Rows
from flockiq.shared.tombstones import NEVER, Tombstones

Counts = dict[str, int]


def forget(state: TypeState, entities: Int64s) -> Counts:
    """Remove entities, each given once; what was removed. Their numbers stay, and stand for nothing.

    A group that is theirs alone goes with them: its baselines, and how far it has come. One that others are part of
    keeps what its baselines have learned, which are numbers of all of them together.
    """
    layout, gone = state.plan.layout, set(entities.tolist())
    state.room()
    logged = state.history.live()
    stay = ~np.isin(logged.entity, entities)
    of_people = sum(one.entity in gone for one in state.overrides.by_event.values())
    groups = state.unname(entities)
    state.history.rebuild(logged.take(stay))
    base = state.base
    base.only(np.setdiff1d(base.entities.kept, entities), np.setdiff1d(base.groups.kept, groups))
    state.live.golden.put(entities, Golden.empty(layout, len(entities)))
    state.live.signs.put(entities, Signs.empty(layout, len(entities)))
    state.live.series.put(groups, Series.empty(layout, len(groups)))
    state.history.marks.put(groups, Marks.empty(len(groups)))
    for open_ in (state.live.episodes.open, base.open):
        for entity in gone:
            open_.pop(entity, None)
    state.overrides.without(gone)
    return {
        "entities": len(gone),
        "baselines": len(groups) if layout.baselines else 0,
        "rows of the late-data log": int((~stay).sum()),
        "overrides": of_people,
    }


def known(state: TypeState, entity_ids: Sequence[str]) -> Int64s:
    """The numbers of those entities that are known."""
    found = (state.ids.find(entity_id) for entity_id in entity_ids)
    return np.array(sorted(number for number in found if number is not None), np.int64)


def erase(
    erasures: Sequence[wire.Erase], types: Mapping[str, TypeState], tombstones: Tombstones
) -> tuple[dict[str, list[int]], dict[str, Counts]]:
    """Carry out erasures; the numbers of the entities forgotten by type, and what was removed by request."""
    numbers: dict[str, list[int]] = {}
    receipts: dict[str, Counts] = {}
    for erasure in erasures:
        said = erasure.data
        counts = receipts.setdefault(said.request, {})
        for name in said.names:
            tombstones.put_digest(bytes.fromhex(said.salt), bytes.fromhex(name), said.at_us)
        for entity_id in said.entities:
            tombstones.put(bytes.fromhex(said.salt), entity_id, said.at_us)
        for name, state in types.items():
            entities = known(state, said.entities)
            if len(entities):
                numbers.setdefault(name, []).extend(entities.tolist())
                for what, count in forget(state, entities).items():
                    counts[what] = counts.get(what, 0) + count
    return numbers, receipts


def refuse(state: TypeState, rows: Rows, tombstones: Tombstones, known_before: int) -> tuple[Rows, bool]:
    """Rows without those that an erasure forbids; whether there were any.

    Entities numbered from ``known_before`` on that only such rows told of are forgotten again.
    """
    old = rows.us <= tombstones.latest_us
    if not old.any():
        return rows, False
    entities, where = np.unique(rows.entity, return_inverse=True)
    asked = set(np.unique(rows.entity[old]).tolist())
    until = np.array(
        [tombstones.until_us(state.ids.names[one]) if one in asked else NEVER for one in entities.tolist()], np.int64
    )
    forbidden = rows.us <= until[where]
    if not forbidden.any():
        return rows, False
    left = rows.take(~forbidden)
    brought = np.setdiff1d(rows.entity[forbidden], left.entity)
    brought = brought[brought >= known_before]
    if len(brought):
        forget(state, brought)
    return left, True
