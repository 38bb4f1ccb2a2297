"""Conditions evaluated with numpy, rule by rule over whole columns.

This is what programs (signal/by_program.py) are held equal to, and what runs until machine code is there.
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.lanes import Bools, Int64s
from flockiq.signal.columns import Columns, FieldDeltas
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Observed, Seen
from flockiq.signal.watch import BEYOND, KEY, Watch, floats, holds

_MUCH = 6  # an nth of all rows from which on all are evaluated, where no texts are read


class ByColumns:
    """Some rows under judgement: every column they need is made once for all rules."""

    def __init__(self, rules: Ruleset, seen: Seen, columns: Columns) -> None:
        self._rules, self._layout, self._seen, self._columns = rules, rules.layout, seen, columns
        self._texts = {field.name for field in self._layout.fields if field.kind in ("string", "json")} | {KEY}
        self._asked: dict[tuple[str, ...], Bools] = {}

    def held(self, asked: Int64s) -> Int64s:
        """The bits of the states that are asked of a row and hold there, int64 [r]."""
        held = np.zeros(len(asked), np.int64)
        for watch in self._rules.states:
            true = self._drifting(watch) if watch.kind == "drift" else self._true(watch, asked)
            held[np.flatnonzero(true)] |= np.int64(1 << watch.number)
        return held

    def _true(self, watch: Watch, asked: Int64s) -> Bools:
        """Where a threshold is asked and holds, bool [r]."""
        new = self._asked.get(watch.names)
        if new is None:  # many rules are asked of the same rows
            new = self._asked[watch.names] = asked & np.int64(1 << watch.number) != 0
        count = np.count_nonzero(new)
        if not count:
            return new
        if _MUCH * count > len(new) and self._texts.isdisjoint(watch.names):  # cheaper than picking out columns
            return new & holds(watch.condition, self._columns.all(watch.names), len(new))
        rows = np.flatnonzero(new)
        true = np.zeros(len(new), np.bool_)
        true[rows] = holds(watch.condition, self._columns.of(watch.names, rows, watch.names), len(rows))
        return true

    def _drifting(self, watch: Watch) -> Bools:
        """Where a drift rule holds."""
        true = np.zeros(len(self._seen.entity), np.bool_)
        for number, tolerance in enumerate(self._layout.tolerances):
            if tolerance.field in watch.fields:
                true |= self._seen.drift[:, number]
        rows = np.flatnonzero(true)
        if len(rows) and watch.condition is not None:
            true[rows] = holds(watch.condition, self._columns.of(watch.names, rows), len(rows))
        return true

    def changed(self, order: int, found: FieldDeltas) -> Int64s:
        """Which deltas of a field a change rule watches for."""
        watch = self._rules.watches[order]
        return np.flatnonzero(holds(watch.condition, found.columns(watch.names), len(found.row)))

    def unusual(self, order: int, observed: Observed) -> Int64s:
        """Which values are unlike their own history by an anomaly rule."""
        return np.flatnonzero(self._unusual(self._rules.watches[order], observed))

    def _unusual(self, watch: Watch, observed: Observed) -> Bools:
        known = ~np.isnan(observed.score)
        if watch.condition is None:
            with np.errstate(invalid="ignore"):
                beyond: Bools = known & (np.abs(observed.score) > BEYOND)
            return beyond
        rows = np.flatnonzero(known)
        columns = self._columns.of(watch.names, observed.row[rows]) | {
            "score": floats(observed.score[rows]),
            "new": floats(observed.value[rows]),
            "expected": floats(observed.expected[rows]),
            "low": floats(observed.low[rows]),
            "high": floats(observed.high[rows]),
        }
        known[rows] = holds(watch.condition, columns, len(rows))
        return known
