"""Conditions over folded rows: which rules begin, go on, end or happen.

Conditions are evaluated as columns, for every row of a batch at once; what changed is the old bits
XOR the new, and only those few rows are looked at one by one, in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from flockiq.shared.lanes import Int64s, Scalar, Texts
from flockiq.shared.rows import round_numbers
from flockiq.signal.by_columns import ByColumns
from flockiq.signal.by_program import ByProgram, RunProgram
from flockiq.signal.columns import Columns, DeltaColumns, FieldDeltas
from flockiq.signal.episodes import Episodes
from flockiq.signal.hits import BEGINS, ENDS, GOES_ON, PASSES, Hits, told
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Act, Observed, Seen
from flockiq.signal.watch import Watch, canonical_values


class _Judging(Protocol):
    """Evaluates conditions over some rows."""

    def held(self, asked: Int64s) -> Int64s:
        """The bits of the states that are asked of a row and hold there, int64 [r]; of others nothing is said."""

    def changed(self, order: int, found: FieldDeltas) -> Int64s:
        """Which deltas of a field a change rule watches for."""

    def unusual(self, order: int, observed: Observed) -> Int64s:
        """Which values are unlike their own history by an anomaly rule."""


def evaluate(
    rules: Ruleset,
    seen: Seen,
    before: Int64s,
    episodes: Episodes,
    texts: Texts,
    acts: Sequence[Act] = (),
    *,
    run: RunProgram | None = None,
) -> Int64s:
    """Take the episodes through some rows; returns the holds words after each, int64 [r].

    ``before``: the words of the rows' entities before all of them, int64 [r]. With ``run``, machine code
    (shared/cel/rowprogram.py) evaluates what it can.
    """
    columns = Columns(rules.layout, seen.golden, seen.key, texts)
    deltas = DeltaColumns(rules.layout, seen, columns, texts)
    judging: _Judging = ByColumns(rules, seen, columns) if run is None else ByProgram(rules, seen, columns, run)
    asked = _by_row(seen, rules.reads) | np.where(seen.fresh, rules.asked_first, 0) | rules.always
    after = _after(seen, before, asked, judging.held(asked) & asked)
    was = np.where(seen.previous >= 0, after[seen.previous], before) if len(after) else after
    hits = [_turns(rules, seen, was, after)]
    for order, watch in enumerate(rules.watches):
        if watch.kind == "change":
            hits += _changes(order, watch, judging, rules, deltas, texts)
        elif watch.kind == "anomaly":
            hits += _anomalies(order, watch, judging, seen)
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


def _changes(
    order: int, watch: Watch, judging: _Judging, rules: Ruleset, deltas: DeltaColumns, texts: Texts
) -> Iterator[Hits]:
    """Where a change happened that a rule watches for."""
    for number in watch.fields:
        found = deltas.of(number)
        if found is None:
            continue
        at = judging.changed(order, found)
        if not len(at):
            continue
        field = rules.layout.fields[number]
        old, new = (canonical_values(field, lanes[at], texts) for lanes in (found.old, found.new))
        told_by = [rules.layout.tellers[source] for source in found.source[at].tolist()]
        said = [
            {"field": field.name, "source": source, "old": was, "new": now}
            for source, was, now in zip(told_by, old, new, strict=True)
        ]
        yield Hits.happening(order, found.row[at], said)


def _anomalies(order: int, watch: Watch, judging: _Judging, seen: Seen) -> Iterator[Hits]:
    """Where a number was unlike its own history."""
    for observed in seen.observed:
        if observed.field in watch.fields:
            at = judging.unusual(order, observed)
            yield Hits.happening(order, observed.row[at], [_shown(observed, hit) for hit in at.tolist()])


def _shown(observed: Observed, hit: int) -> dict[str, Scalar]:
    return {
        "score": round(float(observed.score[hit]), 3),
        "new": float(observed.value[hit]),
        "expected": round(float(observed.expected[hit]), 2),
        "low": round(float(observed.low[hit]), 2),
        "high": round(float(observed.high[hit]), 2),
    }
