"""Conditions evaluated with numpy, rule by rule over whole columns.

This is what programs (signal/by_program.py) are held equal to, and what runs until machine code is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from flockiq.shared.lanes import Bools, Int64s, Texts
from flockiq.shared.rows import round_numbers
from flockiq.signal.columns import Columns, DeltaColumns
from flockiq.signal.hits import BEGINS, ENDS, GOES_ON, PASSES, Hits
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Observed, Seen
from flockiq.signal.watch import BEYOND, KEY, Watch, floats, holds

_MUCH = 6  # an nth of all rows from which on all are evaluated, where no texts are read


def by_columns(rules: Ruleset, seen: Seen, before: Int64s, texts: Texts) -> tuple[Int64s, Hits]:
    """The words of the states that hold after each row, int64 [r], and what is told of it."""
    return ByColumns(rules, seen, texts).judged(before)


class ByColumns:
    """Some rows under judgement: every column they need is made once for all rules."""

    def __init__(self, rules: Ruleset, seen: Seen, texts: Texts) -> None:
        self._rules, self._layout, self._seen = rules, rules.layout, seen
        self._columns = Columns(rules.layout, seen.golden, seen.key, texts)
        self._deltas = DeltaColumns(rules.layout, seen, self._columns, texts)
        self._texts = {field.name for field in self._layout.fields if field.kind in ("string", "json")} | {KEY}
        self._asked: dict[tuple[str, ...], Bools] = {}

    def judged(self, before: Int64s) -> tuple[Int64s, Hits]:
        """The words of the states that hold after each row, int64 [r], and what is told of it."""
        rules, seen = self._rules, self._seen
        asked = _by_row(seen, rules.reads) | np.where(seen.fresh, rules.asked_first, 0) | rules.always
        shown = _by_row(seen, rules.shows) | rules.renamed
        after = _after(seen, before, asked, self._held(asked) & asked)
        was = np.where(seen.previous >= 0, after[seen.previous], before) if len(after) else after
        events = [
            hits
            for order, watch in enumerate(rules.watches)
            if not watch.is_state
            for hits in (self._changes(order, watch) if watch.kind == "change" else self._anomalies(order, watch))
        ]
        return after, Hits.in_order([_turns(rules, was, after, shown), *events])

    def _held(self, asked: Int64s) -> Int64s:
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

    def _changes(self, order: int, watch: Watch) -> Iterator[Hits]:
        """Where a change happened that a rule watches for."""
        for number in dict.fromkeys(watch.fields):
            found = self._deltas.of(number)
            if found is not None:
                at = np.flatnonzero(holds(watch.condition, found.columns(watch.names), len(found.row)))
                yield Hits.happening(order, found.row[at], found.at[at])

    def _anomalies(self, order: int, watch: Watch) -> Iterator[Hits]:
        """Where a number was unlike its own history."""
        observed = self._seen.observed
        at = np.flatnonzero(np.isin(observed.field, watch.fields) & ~np.isnan(observed.score))
        at = at[self._unusual(watch, observed.take(at))]
        yield Hits.happening(order, observed.row[at], at)

    def _unusual(self, watch: Watch, observed: Observed) -> Bools:
        """Which numbers, each with a score, are unlike their own history by an anomaly rule."""
        if watch.condition is None:
            beyond: Bools = np.abs(observed.score) > BEYOND
            return beyond
        columns = self._columns.of(watch.names, observed.row) | {
            "score": floats(observed.score),
            "new": floats(observed.value),
            "expected": floats(observed.expected),
            "low": floats(observed.low),
            "high": floats(observed.high),
        }
        return holds(watch.condition, columns, len(observed.row))


def _by_row(seen: Seen, words: Int64s) -> Int64s:
    """Each row's deltas' fields' words as one, int64 [r]; ``words``: int64 [F]."""
    found = np.zeros(len(seen.entity), np.int64)
    row = seen.delta_row
    if len(row):
        first = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
        found[row[first]] = np.bitwise_or.reduceat(words[seen.delta_field], first)
    return found


def _after(seen: Seen, before: Int64s, asked: Int64s, held: Int64s) -> Int64s:
    """The bits of the states that hold after each row: where a rule was not asked, what held before still does."""
    after: Int64s = held | (before & ~asked)
    order = np.argsort(seen.entity, kind="stable")
    depth = round_numbers(seen.entity[order])
    by_depth = order[np.argsort(depth, kind="stable")]
    ends = np.cumsum(np.bincount(depth)).tolist()
    for begin, end in pairwise(ends):  # first all rows that are their entity's second, then all third ones
        rows = by_depth[begin:end]
        after[rows] = held[rows] | (after[seen.previous[rows]] & ~asked[rows])
    return after


def _turns(rules: Ruleset, was: Int64s, after: Int64s, shown: Int64s) -> Hits:
    """Where states begin, end, or go on with something to tell; words of bits before and after each row."""
    turned, lasting = was ^ after, was & after
    lasting &= shown | rules.waiting
    row = np.flatnonzero(turned | lasting)
    number = rules.state_numbers
    at, state = np.nonzero(((turned | lasting)[row, None] >> number) & 1)
    row, number = row[at], number[state]
    ends, stays, shows = (words[row] >> number & 1 != 0 for words in (was, lasting, shown))
    what = np.where(stays, np.where(shows, GOES_ON, PASSES), np.where(ends, ENDS, BEGINS))
    return Hits(row, rules.state_orders[state], what, np.full(len(row), -1))
