"""The rows of a replay: of the groups in which rows came late, what has been told, and what should have been."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flockiq.pipeline.history import History
from flockiq.pipeline.ordered import order_of
from flockiq.shared.arrays import distinct_of
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.rows import VOID, Rows


class Replay(NamedTuple):
    """Rows by group and position, without those that are void.

    shared: those before the first late row of their group; told: those from there on as they were told, and
    right: as they should have been. Entities and groups are numbered as they stand in entities and groups, int64.
    """

    entities: Int64s
    groups: Int64s
    shared: Rows
    told: Rows
    right: Rows


def replay_of(history: History, late: Rows, revises: Bools) -> Replay:
    """Of late rows, by group and position; ``revises``: bool [n], which take the place of logged ones."""
    first = np.flatnonzero(np.diff(late.group, prepend=-1))
    groups = late.group[first]
    places = history.places(groups)
    rows = _joined(history.at(places), late)
    entities = distinct_of(rows.entity)
    rows.entity, rows.group = np.searchsorted(entities, rows.entity), np.searchsorted(groups, rows.group)
    order = order_of(rows)
    came = order >= len(places)
    shared = _before(rows, order, late.take(first), np.flatnonzero(came)[first])
    alive = rows.op[order] != VOID
    follows = alive & ~shared
    right = follows
    if revises.any():
        right = follows & (came | ~np.isin(order, np.flatnonzero(np.isin(places, history.find(late.take(revises))))))
    parts = [rows.take(order[which]) for which in (alive & shared, follows & ~came, right)]
    return Replay(entities, groups, *parts)


def _before(rows: Rows, order: Int64s, lead: Rows, at: Int64s) -> Bools:
    """Which rows, in order, are before the row of ``lead`` for their group; each is at one place of the order."""
    group = rows.group[order]
    same: Bools = lead.us[group] == rows.us[order]
    same &= lead.rr[group] == rows.rr[order]
    same &= lead.event[group] == rows.event[order]
    return (np.arange(len(order)) < at[group]) & ~same


def _joined(one: Rows, other: Rows) -> Rows:
    return Rows(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in Rows.names})
