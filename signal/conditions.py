"""Conditions over folded rows: which rules begin, go on, end or happen.

Conditions are evaluated as columns, for every row of a batch at once; what changed is the old bits
XOR the new, and only those few rows are looked at one by one, in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from flockiq.shared.lanes import Int64s, Scalar, Texts
from flockiq.signal.by_columns import ByColumns
from flockiq.signal.by_program import ByProgram, Machine
from flockiq.signal.columns import Columns, DeltaColumns, FieldDeltas
from flockiq.signal.episodes import Episodes
from flockiq.signal.hits import Hits, told
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Act, Observed, Seen
from flockiq.signal.watch import Watch, canonical_values


class _Judging(Protocol):
    """Evaluates conditions over some rows."""

    def asked(self) -> tuple[Int64s, Int64s]:
        """The bits of the states that are asked of each row, and of those that show what is new there: int64 [r]."""

    def turned(self, before: Int64s, asked: Int64s, held: Int64s, shown: Int64s) -> tuple[Int64s, Hits]:
        """The bits that hold after each row, int64 [r], and what of it is told.

        Where a rule was not asked, what held before still does.
        """

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
    machine: Machine | None = None,
) -> Int64s:
    """Take the episodes through some rows; returns the holds words after each, int64 [r].

    ``before``: the words of the rows' entities before all of them, int64 [r]. With a ``machine``, machine
    code evaluates what it can.
    """
    columns = Columns(rules.layout, seen.golden, seen.key, texts)
    deltas = DeltaColumns(rules.layout, seen, columns, texts)
    judging: _Judging = ByColumns(rules, seen, columns) if machine is None else ByProgram(rules, seen, columns, machine)
    asked, shown = judging.asked()
    after, turns = judging.turned(before, asked, judging.held(asked), shown)
    hits = [turns]
    for order, watch in enumerate(rules.watches):
        if watch.kind == "change":
            hits += _changes(order, watch, judging, rules, deltas, texts)
        elif watch.kind == "anomaly":
            hits += _anomalies(order, watch, judging, seen)
    told(rules, hits, acts, seen, episodes, texts)
    return after


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
