"""Rows through fold and compare in one compiled pass: what ``rounds.in_rounds`` does, many times as fast."""

from __future__ import annotations

import numpy as np

from flockiq.compare.drift import exceeded
from flockiq.compare.seasons import hours_of
from flockiq.pipeline.codes import (
    NORMALISED,
    Codes,
    OlderColumns,
    Out,
    RowColumns,
    StructColumns,
    codes,
    room,
    scratch,
)
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.rounds import Passed
from flockiq.pipeline.world import World
from flockiq.shared.lanes import Int64s, Texts
from flockiq.shared.layout import Layout
from flockiq.shared.rows import Rows
from flockiq.signal.seen import Observed

_SPARE_BYTES = 32 << 20  # that are kept for the next fold of an entity type
_spare: dict[Layout, Out] = {}
"""Room that is not in use: memory that is new to the process costs more than what is done with it."""


def in_one_pass(functions: Functions, world: World, layout: Layout, rows: Rows, texts: Texts) -> Passed:
    """Fold rows, sorted by group and position, into ``world`` in place."""
    n, told = len(rows), codes(layout)
    out, aged = _room(layout, n), world.golden.aged
    lengths, hours = texts.columns(functions.reindex), hours_of(layout, rows.us)
    columns = RowColumns.of(rows)
    golden, signs, series = (
        StructColumns.of(world.golden),
        StructColumns.of(world.signs),
        StructColumns.of(world.series),
    )
    work = scratch(layout)
    begin = judged = deltas = observed = 0
    while begin < n:  # until no place for older positions is left
        aged.room(1)
        begin, judged, deltas, observed, aged.left = functions.fold_rows(
            begin,
            judged,
            deltas,
            observed,
            aged.left,
            columns,
            golden,
            OlderColumns(aged.us, aged.rr, aged.hash, aged.free),
            signs,
            series,
            hours,
            told,
            lengths,
            work,
            out,
        )
    _normalised(world, layout, rows.entity, texts, told, out, judged)
    passed = Passed(
        judged=out.judged[:judged].copy(),
        golden=out.golden[:judged].copy(),
        fresh=out.fresh[:judged].copy(),
        drift=out.drift[:judged].copy(),
        row=out.row[:deltas].copy(),
        field=out.field[:deltas].copy(),
        kind=out.kind[:deltas].copy(),
        old=out.old[:deltas].copy(),
        new=out.new[:deltas].copy(),
        source=out.source[:deltas].copy(),
        old_us=out.old_us[:deltas].copy(),
        new_us=out.new_us[:deltas].copy(),
        observed=_observed(told, out, observed),
    )
    if sum(column.nbytes for column in out) <= _SPARE_BYTES:
        _spare[layout] = out
    return passed


def _room(layout: Layout, n: int) -> Out:
    """Room for a fold of n rows: what a fold before has left, if it is enough."""
    spare = _spare.pop(layout, None)
    return room(layout, n) if spare is None or len(spare.judged) < n else spare


def _normalised(world: World, layout: Layout, entity: Int64s, texts: Texts, told: Codes, out: Out, judged: int) -> None:
    """Where texts differ as they stand, ask again of their normal forms."""
    for number, how in enumerate(told.drift_how.tolist()):
        if how != NORMALISED:
            continue
        suspect = np.flatnonzero(out.drift[:judged, number])
        if len(suspect):
            found = exceeded(out.said[suspect, number], layout, layout.tolerances[number], texts)
            out.drift[suspect, number] = found
            world.signs.drift[entity[out.judged[:judged]], number] = out.drift[
                :judged, number
            ]  # an entity's last row is what stays


def _observed(told: Codes, out: Out, count: int) -> Observed:
    return Observed(
        field=told.base_field[out.seen_base[:count]],
        row=out.seen_row[:count].copy(),
        value=out.seen_value[:count].copy(),
        score=out.seen_score[:count].copy(),
        expected=out.seen_expected[:count].copy(),
        low=out.seen_low[:count].copy(),
        high=out.seen_high[:count].copy(),
    )
