"""Hits: what rows do to episodes, in the order in which it is told, with the values that alerts show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    """h things for episodes: of the row in Seen, of the rule of that order, and which; int64 [h].

    ``said``: what the alerts of those that HAPPEN show besides, one each.
    """

    row: Int64s
    order: Int64s
    what: Int64s
    said: Sequence[Mapping[str, Scalar]] = ()

    @classmethod
    def happening(cls, order: int, rows: Int64s, said: Sequence[Mapping[str, Scalar]]) -> Hits:
        """Events of one rule."""
        return cls(rows, np.full(len(rows), order), np.full(len(rows), HAPPENS), said)


def told(
    rules: Ruleset, hits: Sequence[Hits], acts: Sequence[Act], seen: Seen, episodes: Episodes, texts: Texts
) -> None:
    """Take the episodes through the hits, by row and rule, and through what people did between them."""
    hits = [one for one in hits if len(one.row)]
    if not hits:
        for act in acts:
            _act(act, episodes)
        return
    row = np.concatenate([one.row for one in hits])
    order = np.concatenate([one.order for one in hits])
    sorted_ = np.lexsort((order, row))
    row, order, what = row[sorted_], order[sorted_], np.concatenate([one.what for one in hits])[sorted_]
    besides = [one for part in hits for one in part.said]
    nth = np.cumsum(np.concatenate([one.what for one in hits]) == HAPPENS)[sorted_] - 1
    columns = (seen.row[row], order, what, seen.entity[row], seen.us[row], seen.event[row], nth)
    waiting = list(reversed(acts))
    shown = _shown(rules, seen, row, order, what, texts)
    for values, (place, rule, which, entity, us, event, nth_event) in zip(
        shown, zip(*(column.tolist() for column in columns), strict=True), strict=True
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
            episodes.happens(entity, watch, us, event, values | besides[nth_event])
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
