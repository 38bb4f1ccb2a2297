"""What a fold found: drift that begins or ends, numbers unlike their own history."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flockiq.compare.anomalies import CLIP
from flockiq.compare.findings import ANOMALY, Findings, Turns, of_drift, since, turns
from flockiq.pipeline.codes import StructColumns
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.rounds import Passed
from flockiq.pipeline.world import World
from flockiq.shared.lanes import NULL, Bools, Int64s
from flockiq.shared.layout import Layout
from flockiq.shared.rows import Rows
from flockiq.signal.seen import Observed


class Turned(NamedTuple):
    """k places where drift begins or ends: the row, the tolerance, whether it begins, the event that it began with."""

    row: Int64s
    number: Int64s
    began: Bools
    begun: Int64s

    @classmethod
    def of(cls, rows: int, tolerances: int) -> Turned:
        """Room for as many as there can be."""
        most = rows * tolerances
        return cls(
            np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.bool_), np.empty(most, np.int64)
        )


def found(
    world: World, layout: Layout, rows: Rows, passed: Passed, before: Bools, functions: Functions | None
) -> tuple[Int64s, list[Findings]]:
    """Each judged row's predecessor of the same entity among them, or -1; and what a fold of rows found.

    ``before``: the drift of every row's entity before all of them, bool [n, T].
    """
    if functions is None:
        judged = passed.judged
        entity, event, us = (column[judged] for column in (rows.entity, rows.event, rows.us))
        previous = _previous(entity)
        parts = drifted(world, layout, entity, event, us, passed.drift, previous, before[judged])
    else:
        previous, parts = _turned(functions, world, layout, rows, passed, before)
    return previous, [*parts, *_unusual(rows, passed.observed)]


def drifted(
    world: World,
    layout: Layout,
    entity: Int64s,
    event: Int64s,
    us: Int64s,
    drift: Bools,
    previous: Int64s,
    before: Bools,
) -> list[Findings]:
    """Where sources begin to disagree, or agree again; each column is of the rows, which are in order."""
    turned = turns(drift, previous, before)
    if not len(turned.row):
        return []
    return [of_drift(turned, since(turned, entity, event, world.signs.since), entity, event, us, _fields(layout))]


def _turned(
    functions: Functions, world: World, layout: Layout, rows: Rows, passed: Passed, before: Bools
) -> tuple[Int64s, list[Findings]]:
    """The same by machine code, and every judged row's predecessor."""
    m = len(passed.judged)
    previous, places = np.empty(m, np.int64), np.empty(1 << (2 * m).bit_length(), np.int32)
    turned, of_rows = Turned.of(m, len(layout.tolerances)), (rows.entity, rows.event, passed.drift, before)
    count = functions.turn_drift(passed.judged, *of_rows, StructColumns.of(world.signs), places, previous, turned)
    if not count:
        return previous, []
    there = Turns(turned.row[:count], turned.number[:count], turned.began[:count])
    told = of_drift(there, turned.begun[:count], rows.entity, rows.event, rows.us, _fields(layout))
    return previous, [told]


def _fields(layout: Layout) -> Int64s:
    return np.array([one.field for one in layout.tolerances], np.int64)


def _unusual(rows: Rows, observed: Observed) -> list[Findings]:
    """Numbers that are far from what was expected."""
    if not len(observed.row):
        return []
    with np.errstate(invalid="ignore"):
        at = np.flatnonzero(np.abs(observed.score) > CLIP)
    if not len(at):
        return []
    one, k = observed.take(at), len(at)
    entity, event, us = rows.entity[one.row], rows.event[one.row], rows.us[one.row]
    kind, nothing = np.full(k, ANOMALY, np.int8), np.full(k, NULL, np.int64)
    return [Findings(entity, one.field, kind, event, us, nothing, *one[2:])]


def _previous(entity: Int64s) -> Int64s:
    """Each row's predecessor of the same entity, or -1; rows are in order."""
    order = np.argsort(entity, kind="stable")
    sorted_ = entity[order]
    found = np.full(len(entity), -1, np.int64)
    found[order[1:]] = np.where(sorted_[1:] == sorted_[:-1], order[:-1], -1)
    return found
