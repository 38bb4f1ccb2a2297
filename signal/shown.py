"""The values that alerts show: of the golden record, and of what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from flockiq.shared.lanes import ABSENT, NULL, Int64s, Scalar, Texts, value_of
from flockiq.shared.layout import Field
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Seen

Read = Callable[[int], Scalar]
"""The canonical value of a lane."""


class Shown:
    """What rules show of some rows and deltas, whose texts are looked up all at once."""

    def __init__(self, rules: Ruleset, seen: Seen, texts: Texts) -> None:
        self._rules, self._seen, self._texts = rules, seen, texts

    def golden(self, row: Int64s, order: Int64s) -> Iterator[dict[str, Scalar]]:
        """Of each of h hits the golden values that its rule shows; row of Seen, order of the rule: int64 [h]."""
        rules, seen = self._rules, self._seen
        lanes = np.concatenate([seen.golden[row], seen.key[row][:, None]], axis=1)
        read = self._readers(lanes[rules.texts_of[order]])
        of_rule = {
            rule: [(name, number, read(rules.fields[number])) for name, number in rules.shown[rule]]
            for rule in set(order.tolist())
        }
        for rule, said in zip(order.tolist(), lanes.tolist(), strict=True):
            yield {name: one(said[number]) for name, number, one in of_rule[rule]}

    def changes(self, delta: Int64s) -> Iterator[dict[str, Scalar]]:
        """Of each of some of Seen's deltas, int64 [k], what it is."""
        seen, layout = self._seen, self._rules.layout
        field, source = seen.delta_field[delta], seen.delta_source[delta]
        lanes = np.stack([seen.delta_old[delta], seen.delta_new[delta]], axis=1)
        read = self._readers(lanes[self._rules.is_text[field]])
        readers = {number: read(layout.fields[number]) for number in set(field.tolist())}
        for number, teller, (old, new) in zip(field.tolist(), source.tolist(), lanes.tolist(), strict=True):
            one, name = readers[number], layout.fields[number].name
            yield {"field": name, "source": layout.tellers[teller], "old": one(old), "new": one(new)}

    def scores(self, number: Int64s) -> Iterator[dict[str, Scalar]]:
        """Of each of some of Seen's observed numbers, int64 [k], what its baseline says."""
        columns = (column.tolist() for column in self._seen.observed.take(number)[2:])
        for value, score, expected, low, high in zip(*columns, strict=True):
            told: dict[str, Scalar] = {"score": round(score, 3), "new": value, "expected": round(expected, 2)}
            yield told | {"low": round(low, 2), "high": round(high, 2)}

    def _readers(self, lanes: Int64s) -> Callable[[Field], Read]:
        """What reads a field's lanes, if those of texts are among these."""
        said = lanes[(lanes != ABSENT) & (lanes != NULL)]
        known: Read = dict(zip(said.tolist(), self._texts.many(said), strict=True)).get
        return lambda field: known if field.kind in ("string", "json") else _reader(field)


@lru_cache(maxsize=1024)
def _reader(field: Field) -> Read:
    """What gives ``value_of`` of a field's lanes, numbers as quickly as it can be done."""
    kind, scale = field.kind, field.scale

    def plainly(lane: int) -> Scalar:
        return value_of(kind, scale, lane, _NO_TEXTS)

    def decimal(lane: int) -> Scalar:
        digits = str(lane)
        return f"{digits[:-scale]}.{digits[-scale:]}" if lane > 0 and len(digits) > scale else plainly(lane)

    def integer(lane: int) -> Scalar:
        return lane if lane not in (ABSENT, NULL) else None

    return {"decimal": decimal if scale else plainly, "integer": integer}.get(kind, plainly)


_NO_TEXTS = Texts()  # stands in where a type has none
