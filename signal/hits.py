"""Hits: what rows do to episodes, in the order in which it is told, with the values that alerts show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flockiq.shared.lanes import Int64s, Scalar, Texts
from flockiq.shared.layout import Field
from flockiq.signal.episodes import Episodes
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Act, Seen
from flockiq.signal.watch import KEY, canonical_values

PASSES, GOES_ON, BEGINS, ENDS, HAPPENS = range(5)
"""What a hit is: time comes to a state that holds, its values may have changed, it begins, it ends; an event."""


class Hits(NamedTuple):
    """h things for episodes, in order: of the row in Seen, of the rule of that order, and which; int64 [h].

    ``item``: of what HAPPENS, which of Seen's deltas, or of its observed numbers, it is.
    """

    row: Int64s
    order: Int64s
    what: Int64s
    item: Int64s

    @classmethod
    def happening(cls, order: int, rows: Int64s, items: Int64s) -> Hits:
        """Events of one rule."""
        return cls(rows, np.full(len(rows), order), np.full(len(rows), HAPPENS), items)

    @classmethod
    def in_order(cls, parts: Sequence[Hits]) -> Hits:
        """Several as one: by row, of a row by rule, of a rule as they are given."""
        row, order, what, item = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        sorted_ = np.lexsort((order, row))
        return cls(row[sorted_], order[sorted_], what[sorted_], item[sorted_])


def told(rules: Ruleset, hits: Hits, acts: Sequence[Act], seen: Seen, episodes: Episodes, texts: Texts) -> None:
    """Take the episodes through the hits, and through what people did between them."""
    row, order, what, _ = hits
    columns = (seen.row[row], order, what, seen.entity[row], seen.us[row], seen.event[row])
    waiting = list(reversed(acts))
    shown = _shown(rules, seen, row, order, what, texts)
    for values, besides, (place, rule, which, entity, us, event) in zip(
        shown,
        _besides(rules, hits, seen, texts),
        zip(*(column.tolist() for column in columns), strict=True),
        strict=True,
    ):
        while waiting and waiting[-1].row < place:
            _act(waiting.pop(), episodes)
        watch = rules.watches[rule]
        if which == PASSES:
            episodes.settles(entity, watch, us)
        elif which == GOES_ON:
            episodes.goes_on(entity, watch, us, values)
        elif which == BEGINS:
            episodes.begins(entity, watch, us, event, values)
        elif which == ENDS:
            episodes.ends(entity, watch, us)
        else:
            episodes.happens(entity, watch, us, event, values | besides)
    while waiting:
        _act(waiting.pop(), episodes)


def _act(act: Act, episodes: Episodes) -> None:
    episodes.closes(act.entity, act.watch, act.us)


def _shown(
    rules: Ruleset, seen: Seen, row: Int64s, order: Int64s, what: Int64s, texts: Texts
) -> Iterator[dict[str, Scalar]]:
    """The golden values that go with the alert of each hit, as far as its kind has any."""
    showing = (what != PASSES) & (what != ENDS)
    fields = (*rules.layout.fields, Field(KEY, "string"))
    columns: dict[int, list[Scalar]] = {}
    for number in np.flatnonzero(rules.shown_of[order].any(axis=0)).tolist():
        at = np.flatnonzero(showing & rules.shown_of[order, number])
        column: list[Scalar] = [None] * len(row)
        lanes = seen.golden[row[at], number] if number < len(rules.layout.fields) else seen.key[row[at]]
        for hit, value in zip(at.tolist(), canonical_values(fields[number], lanes, texts), strict=True):
            column[hit] = value
        columns[number] = column
    of_rule = {rule: [(name, columns[number]) for name, number in rules.shown[rule]] for rule in set(order.tolist())}
    for hit, (rule, values) in enumerate(zip(order.tolist(), showing.tolist(), strict=True)):
        yield {name: column[hit] for name, column in of_rule[rule]} if values else {}


def _besides(rules: Ruleset, hits: Hits, seen: Seen, texts: Texts) -> list[dict[str, Scalar]]:
    """What the alert of each event shows besides."""
    found: list[dict[str, Scalar]] = [{}] * len(hits.row)
    of_changes = np.array([watch.kind == "change" for watch in rules.watches], np.bool_)[hits.order]
    happens = hits.what == HAPPENS
    scored = np.flatnonzero(happens & ~of_changes)
    scores = zip(*(column.tolist() for column in seen.observed.take(hits.item[scored])[2:]), strict=True)
    for hit, numbers in zip(scored.tolist(), scores, strict=True):
        found[hit] = _score(*numbers)
    changed = np.flatnonzero(happens & of_changes)
    if not len(changed):
        return found
    delta, tellers = hits.item[changed], rules.layout.tellers
    fields, sources = seen.delta_field[delta], seen.delta_source[delta].tolist()
    for number in np.unique(fields).tolist():
        at, field = np.flatnonzero(fields == number), rules.layout.fields[number]
        old, new = (canonical_values(field, lanes[delta[at]], texts) for lanes in (seen.delta_old, seen.delta_new))
        for one, was, now in zip(at.tolist(), old, new, strict=True):
            found[changed[one]] = {"field": field.name, "source": tellers[sources[one]], "old": was, "new": now}
    return found


def _score(value: float, score: float, expected: float, low: float, high: float) -> dict[str, Scalar]:
    numbers: dict[str, Scalar] = {"expected": round(expected, 2), "low": round(low, 2), "high": round(high, 2)}
    return {"score": round(score, 3), "new": value, **numbers}
