"""Rows through fold and compare with numpy: in rounds, each with at most one row of a group.

This is what the compiled pass (pipeline/rowwise.py) is held equal to, and what runs until it is ready.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.compare.anomalies import Season, observe
from flockiq.compare.deltas import Deltas, deltas
from flockiq.compare.drift import disagree
from flockiq.compare.seasons import hours_of
from flockiq.merge.golden import UNSEEN, fold
from flockiq.pipeline.world import World
from flockiq.shared.lanes import ABSENT, NULL, Bools, Int64s, Texts, numbers
from flockiq.shared.layout import Layout
from flockiq.shared.rows import Rows, round_numbers
from flockiq.signal.seen import Observed


class Passed(NamedTuple):
    """What a fold of n rows did.

    judged: int64 [m], ascending: the rows whose conditions may have changed; golden: int64 [m, F] after
    them; fresh: bool [m], nothing was known of the entity before; drift: bool [m, T]. Then the deltas, by
    row: row, field, old, new, source: int64 [d], source the winner's index (the row's own when removed);
    kind: int8 [d]; old_us, new_us: int64 [d], see ``pipeline.world.DeltaRows``. observed: what the baselines say,
    by row and baseline.
    """

    judged: Int64s
    golden: Int64s
    fresh: Bools
    drift: Bools
    row: Int64s
    field: Int64s
    kind: npt.NDArray[np.int8]
    old: Int64s
    new: Int64s
    source: Int64s
    old_us: Int64s
    new_us: Int64s
    observed: Observed


class _Round(NamedTuple):
    """One round's part of it; rows are numbered within all rows."""

    judged: Int64s
    golden: Int64s
    fresh: Bools
    drift: Bools
    deltas: Deltas
    source: Int64s
    old_us: Int64s
    new_us: Int64s
    observed: list[Observed]


def in_rounds(world: World, layout: Layout, rows: Rows, texts: Texts) -> Passed:
    """Fold rows, sorted by group and position, into ``world`` in place."""
    rounds = round_numbers(rows.group)
    by_round = np.argsort(rounds, kind="stable")
    done: list[_Round] = []
    start = 0
    for end in np.cumsum(np.bincount(rounds)).tolist():
        at = by_round[start:end]
        done.append(_round(world, layout, rows.take(at), at, texts))
        start = end
    return _joined(done)


def _round(world: World, layout: Layout, rows: Rows, at: Int64s, texts: Texts) -> _Round:
    entity = rows.entity
    unseen = (world.golden.state[entity] == UNSEEN).all(axis=1)
    folded = fold(world.golden, layout, rows, texts)
    found = deltas(folded.before, folded.after)
    winner = folded.source[found.row, found.field].astype(np.int64)
    source = np.where(winner >= 0, winner, rows.source[found.row])
    # What conditions read changes only with a golden value or a source's own: other rows need no judging.
    touched = folded.moved | unseen
    touched[found.row] = True
    judged = np.flatnonzero(touched)
    drift = disagree(world.golden.value[entity[judged]], layout, texts)
    world.signs.drift[entity[judged]] = drift
    observed = [one._replace(row=at[one.row]) for one in _observe(world, layout, rows, found)]
    return _Round(
        judged=at[judged],
        golden=folded.after[judged],
        fresh=unseen[judged],
        drift=drift,
        deltas=found._replace(row=at[found.row]),
        source=source,
        old_us=np.where(found.old == NULL, NULL, folded.before_us[found.row, found.field]),
        new_us=np.where(found.new == NULL, NULL, folded.after_us[found.row, found.field]),
        observed=observed,
    )


def _observe(world: World, layout: Layout, rows: Rows, found: Deltas) -> list[Observed]:
    observed = []
    hours = hours_of(layout, rows.us)
    seasons = {number: slot for slot, number in enumerate(layout.seasons)}
    for number, baseline in enumerate(layout.baselines):
        mine = (found.field == baseline.field) & (found.new != NULL) & (found.new != ABSENT)
        row = found.row[mine]
        if not len(row):
            continue
        field = layout.fields[baseline.field]
        value = numbers(field.kind, field.scale, found.new[mine])
        season = Season(seasons[number], hours[seasons[number], row]) if number in seasons else None
        findings = observe(world.series, number, baseline, rows.group[row], value, rows.us[row], season)
        observed.append(Observed(np.full(len(row), baseline.field), row, value, *findings))
    return observed


def _joined(done: list[_Round]) -> Passed:
    judged = np.concatenate([one.judged for one in done])
    order = np.argsort(judged)
    told = [np.concatenate(columns) for columns in zip(*(one.deltas for one in done), strict=True)]
    source, old_us, new_us = (
        np.concatenate([getattr(one, name) for one in done]) for name in ("source", "old_us", "new_us")
    )
    by_row = np.lexsort((told[1], told[0]))
    row, field, kind, old, new = (column[by_row] for column in told)
    return Passed(
        judged=judged[order],
        golden=np.concatenate([one.golden for one in done])[order],
        fresh=np.concatenate([one.fresh for one in done])[order],
        drift=np.concatenate([one.drift for one in done])[order],
        row=row,
        field=field,
        kind=kind.astype(np.int8),
        old=old,
        new=new,
        source=source[by_row],
        old_us=old_us[by_row],
        new_us=new_us[by_row],
        observed=_observed([one for part in done for one in part.observed]),
    )


def _observed(parts: list[Observed]) -> Observed:
    """Several as one, by row; of a row, as baselines stand."""
    whole = Observed._make(np.concatenate(columns) for columns in zip(Observed.none(), *parts, strict=True))
    return whole.take(np.argsort(whole.row, kind="stable"))
