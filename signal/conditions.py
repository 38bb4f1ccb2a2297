"""Conditions over a round of folded rows: which rules begin, go on, end or happen.

Conditions are evaluated as columns for every row at once; what changed is the old bits XOR the
new, and only those few rows are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flockiq.shared.cel.columns import Column
from flockiq.shared.lanes import Bools, Floats, Int64s, Scalar, Texts, numbers, value_of
from flockiq.shared.layout import Layout
from flockiq.signal.episodes import Episodes
from flockiq.signal.watch import Watch, column, floats, golden_columns, holds, shown_values

BEYOND = 4.0  # deviations: an anomaly rule without a condition means this


class Observed(NamedTuple):
    """Scores of one baseline: ``row`` int64 [k] in the round, the rest float64 [k]."""

    field: int
    row: Int64s
    value: Floats
    score: Floats
    expected: Floats
    low: Floats
    high: Floats


class Seen(NamedTuple):
    """One round of r rows as the conditions read it.

    entity, us, event: int64 [r]; key: text lanes int64 [r]; golden: int64 [r, F] after the fold;
    drift: bool [r, T]; the deltas' row, field, old, new: int64 [d]; source: int8 [d] winner index.
    """

    entity: Int64s
    us: Int64s
    event: Int64s
    key: Int64s
    golden: Int64s
    drift: Bools
    delta_row: Int64s
    delta_field: Int64s
    delta_old: Int64s
    delta_new: Int64s
    delta_source: Sequence[str]
    observed: Sequence[Observed]


def evaluate(
    watches: Sequence[Watch], layout: Layout, seen: Seen, before: Int64s, episodes: Episodes, texts: Texts
) -> Int64s:
    """Take the episodes through one round; returns the new holds words, int64 [r], from the old."""
    n = len(seen.entity)
    after = before.copy()
    columns = _Columns(layout, seen, texts)
    for watch in watches:
        if watch.is_state:
            true = _state(watch, layout, seen, columns)
            bit = np.int64(1 << watch.number)
            after = np.where(true, after | bit, after & ~bit)
            _turn(watch, layout, seen, (before & bit) != 0, true, episodes, texts)
        elif watch.kind == "change":
            _changes(watch, layout, seen, columns, episodes, texts)
        else:
            _anomalies(watch, layout, seen, columns, episodes, texts)
    if len(after) != n:
        raise AssertionError("a condition changed the number of rows")
    return after


def _values(watch: Watch, layout: Layout, seen: Seen, row: int, texts: Texts) -> dict[str, Scalar]:
    values = shown_values(watch, layout, seen.golden[row], texts)
    if "key" in watch.shown:
        values["key"] = texts.text(int(seen.key[row]))
    return values


class _Columns:
    """A round's golden fields as columns, each made once for all rules that read it."""

    def __init__(self, layout: Layout, seen: Seen, texts: Texts) -> None:
        self._layout, self._seen, self._texts = layout, seen, texts
        self._made: dict[str, Column] = {}

    def of(self, watch: Watch, rows: Int64s | None = None) -> dict[str, Column]:
        """The columns a rule reads, of all rows or of some."""
        found: dict[str, Column] = {}
        for name in watch.names:
            made = self._column(name)
            if made is not None:
                found[name] = made if rows is None else Column(made.values[rows], made.null[rows])
        return found

    def _column(self, name: str) -> Column | None:
        made = self._made.get(name)
        if made is None:
            if name == "key":
                made = column("string", 0, self._seen.key, self._texts)
            else:
                made = golden_columns((name,), self._layout, self._seen.golden, self._texts).get(name)
            if made is not None:
                self._made[name] = made
        return made


def _holds(watch: Watch, columns: Mapping[str, Column], n: int) -> Bools:
    return holds(watch.condition, columns, n)


def _state(watch: Watch, layout: Layout, seen: Seen, columns: _Columns) -> Bools:
    """Where a state rule holds, bool [r]."""
    n = len(seen.entity)
    if watch.kind == "threshold":
        return _holds(watch, columns.of(watch), n)
    watched = [number for number, tolerance in enumerate(layout.tolerances) if tolerance.field in watch.fields]
    true = np.zeros(n, np.bool_)
    for number in watched:
        true |= seen.drift[:, number]
    rows = np.flatnonzero(true)
    if len(rows) and watch.condition is not None:
        true[rows] = _holds(watch, columns.of(watch, rows), len(rows))
    return true


def _turn(watch: Watch, layout: Layout, seen: Seen, was: Bools, true: Bools, episodes: Episodes, texts: Texts) -> None:
    for row in np.flatnonzero(was | true).tolist():
        entity, us = int(seen.entity[row]), int(seen.us[row])
        if true[row] and not was[row]:
            episodes.begins(entity, watch, us, int(seen.event[row]), _values(watch, layout, seen, row, texts))
        elif true[row]:
            episodes.goes_on(entity, watch, us, _values(watch, layout, seen, row, texts))
        else:
            episodes.ends(entity, watch, us)


def _changes(watch: Watch, layout: Layout, seen: Seen, shared: _Columns, episodes: Episodes, texts: Texts) -> None:
    for number in watch.fields:
        deltas = np.flatnonzero(seen.delta_field == number)
        if not len(deltas):
            continue
        field = layout.fields[number]
        old, new, rows = seen.delta_old[deltas], seen.delta_new[deltas], seen.delta_row[deltas]
        columns = shared.of(watch, rows)
        columns |= {
            "old": column(field.kind, field.scale, old, texts),
            "new": column(field.kind, field.scale, new, texts),
            "relative_change": floats(
                relative(numbers(field.kind, field.scale, old), numbers(field.kind, field.scale, new))
            ),
        }
        if {"field", "source"} & set(watch.names):
            columns["field"] = column("string", 0, np.full(len(rows), texts.lane(field.name)), texts)
            sources = [texts.lane(seen.delta_source[delta]) for delta in deltas.tolist()]
            columns["source"] = column("string", 0, np.array(sources, np.int64), texts)
        for hit in np.flatnonzero(_holds(watch, columns, len(rows))).tolist():
            row = int(rows[hit])
            values = _values(watch, layout, seen, row, texts) | {
                "field": field.name,
                "source": seen.delta_source[int(deltas[hit])],
                "old": value_of(field.kind, field.scale, int(old[hit]), texts),
                "new": value_of(field.kind, field.scale, int(new[hit]), texts),
            }
            episodes.happens(int(seen.entity[row]), watch, int(seen.us[row]), int(seen.event[row]), values)


def relative(old: Floats, new: Floats) -> Floats:
    """(new - old) / |old|; NaN where there is no old number to relate to."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = (new - old) / np.abs(old)
    change[~np.isfinite(change)] = np.nan
    return change


def _anomalies(watch: Watch, layout: Layout, seen: Seen, shared: _Columns, episodes: Episodes, texts: Texts) -> None:
    for observed in seen.observed:
        if observed.field not in watch.fields:
            continue
        known = ~np.isnan(observed.score)
        columns = shared.of(watch, observed.row) | {
            "score": floats(observed.score),
            "new": floats(observed.value),
            "expected": floats(observed.expected),
            "low": floats(observed.low),
            "high": floats(observed.high),
        }
        with np.errstate(invalid="ignore"):
            true = known & (
                np.abs(observed.score) > BEYOND
                if watch.condition is None
                else _holds(watch, columns, len(observed.row))
            )
        for hit in np.flatnonzero(true).tolist():
            row = int(observed.row[hit])
            values = _values(watch, layout, seen, row, texts) | {
                "score": round(float(observed.score[hit]), 3),
                "new": float(observed.value[hit]),
                "expected": round(float(observed.expected[hit]), 2),
                "low": round(float(observed.low[hit]), 2),
                "high": round(float(observed.high[hit]), 2),
            }
            episodes.happens(int(seen.entity[row]), watch, int(seen.us[row]), int(seen.event[row]), values)
