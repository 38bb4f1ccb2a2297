"""Conditions over folded rows: which rules begin, go on, end or happen.

Conditions are evaluated as columns, for every row of a batch at once; what changed is the old bits
XOR the new, and only those few rows are looked at one by one, in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from flockiq.shared.lanes import Bools, Int64s, Scalar, Texts
from flockiq.shared.rows import round_numbers
from flockiq.signal.columns import Columns, DeltaColumns
from flockiq.signal.episodes import Episodes
from flockiq.signal.hits import BEGINS, ENDS, GOES_ON, PASSES, Hits, told
from flockiq.signal.ruleset import KEY, Ruleset
from flockiq.signal.seen import Act, Observed, Seen
from flockiq.signal.watch import Watch, canonical_values, floats, holds

_MUCH = 6  # an nth of all rows from which on all are evaluated, where no texts are read
BEYOND = 4.0  # deviations: an anomaly rule without a condition means this


def evaluate(
    rules: Ruleset, seen: Seen, before: Int64s, episodes: Episodes, texts: Texts, acts: Sequence[Act] = ()
) -> Int64s:
    """Take the episodes through some rows; returns the holds words after each, int64 [r].

    ``before``: the words of the rows' entities before all of them, int64 [r].
    """
    judging = _Judging(rules, seen, texts)
    asked = _by_row(seen, rules.reads) | np.where(seen.fresh, rules.asked_first, 0) | rules.always
    after = _after(seen, before, asked, judging.held(asked))
    was = np.where(seen.previous >= 0, after[seen.previous], before) if len(after) else after
    hits = [_turns(rules, seen, was, after)]
    for order, watch in enumerate(rules.watches):
        if watch.kind == "change":
            hits += judging.changes(order, watch)
        elif watch.kind == "anomaly":
            hits += judging.anomalies(order, watch)
    told(rules, hits, acts, seen, episodes, texts)
    return after


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


def _turns(rules: Ruleset, seen: Seen, was: Int64s, after: Int64s) -> Hits:
    """Where states begin, end, or go on with something to tell; words of bits before and after each row."""
    turned, lasting = was ^ after, was & after
    shown = (_by_row(seen, rules.shows) | rules.renamed) & lasting
    lasting &= shown | rules.waiting
    row = np.flatnonzero(turned | lasting)
    number = rules.state_numbers
    at, state = np.nonzero(((turned | lasting)[row, None] >> number) & 1)
    row, number = row[at], number[state]
    ends, stays, shows = (words[row] >> number & 1 != 0 for words in (was, lasting, shown))
    what = np.where(stays, np.where(shows, GOES_ON, PASSES), np.where(ends, ENDS, BEGINS))
    return Hits(row, rules.state_orders[state], what)


class _Judging:
    """Some rows under judgement: every column they need is made once for all rules."""

    def __init__(self, rules: Ruleset, seen: Seen, texts: Texts) -> None:
        self.rules, self.layout, self.seen, self.texts = rules, rules.layout, seen, texts
        self.columns = Columns(self.layout, seen.golden, seen.key, texts)
        self.deltas = DeltaColumns(self.layout, seen, self.columns, texts)
        self._texts = {field.name for field in self.layout.fields if field.kind in ("string", "json")} | {KEY}
        self._asked: dict[tuple[str, ...], Bools] = {}

    def held(self, asked: Int64s) -> Int64s:
        """The bits of the states that are asked of a row and hold there, int64 [r]."""
        held = np.zeros(len(asked), np.int64)
        for watch in self.rules.states:
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
            return new & holds(watch.condition, self.columns.all(watch.names), len(new))
        rows = np.flatnonzero(new)
        true = np.zeros(len(new), np.bool_)
        true[rows] = holds(watch.condition, self.columns.of(watch.names, rows, watch.names), len(rows))
        return true

    def _drifting(self, watch: Watch) -> Bools:
        """Where a drift rule holds."""
        true = np.zeros(len(self.seen.entity), np.bool_)
        for number, tolerance in enumerate(self.layout.tolerances):
            if tolerance.field in watch.fields:
                true |= self.seen.drift[:, number]
        rows = np.flatnonzero(true)
        if len(rows) and watch.condition is not None:
            true[rows] = holds(watch.condition, self.columns.of(watch.names, rows), len(rows))
        return true

    def changes(self, order: int, watch: Watch) -> Iterator[Hits]:
        """Where a change happened that a rule watches for."""
        for number in watch.fields:
            found = self.deltas.of(number)
            if found is None:
                continue
            field = self.layout.fields[number]
            at = np.flatnonzero(holds(watch.condition, found.columns(watch.names), len(found.row)))
            old, new = (canonical_values(field, lanes[at], self.texts) for lanes in (found.old, found.new))
            told_by = [self.layout.tellers[source] for source in found.source[at].tolist()]
            said = [
                {"field": field.name, "source": source, "old": was, "new": now}
                for source, was, now in zip(told_by, old, new, strict=True)
            ]
            yield Hits.happening(order, found.row[at], said)

    def anomalies(self, order: int, watch: Watch) -> Iterator[Hits]:
        """Where a number was unlike its own history."""
        for observed in self.seen.observed:
            if observed.field in watch.fields:
                at = np.flatnonzero(self._unusual(watch, observed))
                yield Hits.happening(order, observed.row[at], [_shown(observed, hit) for hit in at.tolist()])

    def _unusual(self, watch: Watch, observed: Observed) -> Bools:
        known = ~np.isnan(observed.score)
        if watch.condition is None:
            with np.errstate(invalid="ignore"):
                beyond: Bools = known & (np.abs(observed.score) > BEYOND)
            return beyond
        rows = np.flatnonzero(known)
        columns = self.columns.of(watch.names, observed.row[rows]) | {
            "score": floats(observed.score[rows]),
            "new": floats(observed.value[rows]),
            "expected": floats(observed.expected[rows]),
            "low": floats(observed.low[rows]),
            "high": floats(observed.high[rows]),
        }
        known[rows] = holds(watch.condition, columns, len(rows))
        return known


def _shown(observed: Observed, hit: int) -> dict[str, Scalar]:
    return {
        "score": round(float(observed.score[hit]), 3),
        "new": float(observed.value[hit]),
        "expected": round(float(observed.expected[hit]), 2),
        "low": round(float(observed.low[hit]), 2),
        "high": round(float(observed.high[hit]), 2),
    }
