"""The values that alerts show: of the golden record, and of what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from flockiq.shared.lanes import ABSENT, NULL, Int64s, Scalar, Texts, value_of
from flockiq.shared.layout import Field
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Seen


class Shown:
    """What rules show of some rows and deltas, whose texts are looked up all at once."""

    def __init__(self, rules: Ruleset, seen: Seen, texts: Texts) -> None:
        self._rules, self._seen, self._texts = rules, seen, texts

    def golden(self, row: Int64s, order: Int64s) -> Iterator[dict[str, Scalar]]:
        """Of each of h hits the golden values that its rule shows; row of Seen, order of the rule: int64 [h]."""
        rules, seen = self._rules, self._seen
        hit, place = np.nonzero(rules.shows_at[order])
        field = rules.shown_at[order[hit], place]
        named = field == len(rules.layout.fields)
        lanes = seen.golden[row[hit], np.where(named, 0, field)]
        lanes[named] = seen.key[row[hit[named]]]
        values = iter(self._values(field, lanes))
        for rule in order.tolist():
            yield dict(zip(rules.shown[rule], values, strict=False))  # the names come first: they take what is theirs

    def changes(self, delta: Int64s) -> Iterator[dict[str, Scalar]]:
        """Of each of some of Seen's deltas, int64 [k], what it is."""
        seen, layout = self._seen, self._rules.layout
        field, source = seen.delta_field[delta], seen.delta_source[delta]
        lanes = np.concatenate([seen.delta_old[delta], seen.delta_new[delta]])
        values = self._values(np.concatenate([field, field]), lanes)
        told = zip(field.tolist(), source.tolist(), values[: len(delta)], values[len(delta) :], strict=True)
        for number, teller, old, new in told:
            yield {"field": layout.fields[number].name, "source": layout.tellers[teller], "old": old, "new": new}

    def scores(self, number: Int64s) -> Iterator[dict[str, Scalar]]:
        """Of each of some of Seen's observed numbers, int64 [k], what its baseline says."""
        columns = (column.tolist() for column in self._seen.observed.take(number)[2:])
        for value, score, expected, low, high in zip(*columns, strict=True):
            told: dict[str, Scalar] = {"score": round(score, 3), "new": value, "expected": round(expected, 2)}
            yield told | {"low": round(low, 2), "high": round(high, 2)}

    def _values(self, field: Int64s, lanes: Int64s) -> list[Scalar]:
        """The canonical values of lanes, each of a field."""
        values: list[Scalar] = [None] * len(lanes)
        said = (lanes != ABSENT) & (lanes != NULL)
        text = self._rules.is_text[field]
        at = np.flatnonzero(said & text)
        for place, one in zip(at.tolist(), self._texts.many(lanes[at]), strict=True):
            values[place] = one
        at = np.flatnonzero(said & ~text)
        fields: Sequence[Field] = self._rules.fields
        for place, number, lane in zip(at.tolist(), field[at].tolist(), lanes[at].tolist(), strict=True):
            values[place] = _value(fields[number], lane)
        return values


def _value(field: Field, lane: int) -> Scalar:
    """``value_of`` a lane that has one, numbers as quickly as it can be done."""
    kind, scale = field.kind, field.scale
    if kind == "integer":
        return lane
    if kind == "decimal" and scale and lane > 0:
        digits = str(lane)
        if len(digits) > scale:
            return f"{digits[:-scale]}.{digits[-scale:]}"
    return value_of(kind, scale, lane, _NO_TEXTS)


_NO_TEXTS = Texts()  # stands in where a type has none
