"""The job, as one would write it for an engine that hands a function each key's events in order.

Standard library only, and no code of FlockIQ: it runs in the peers' own environment. An account's
state goes in, with one event of it; the state comes out, with what happened: deltas of the golden
record and the matches of five rules.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

RANKS = ("erp", "crm")
FIELDS = ("name", "tax_id", "terms", "credit", "risk", "staff", "active", "founded", "reviewed", "profile")
RULES = ("risk-extreme", "credit-huge", "credit-halved", "credit-unusual", "staff-unusual")
ALPHA, WARM_UP, CLIP, FLOOR = 0.1, 3, 4.0, 0.02


class Delta(NamedTuple):
    """A field of a golden record changed."""

    entity: str
    field: str
    event: str
    old: Any
    new: Any


class Match(NamedTuple):
    """A rule began to hold, or something it watches for happened."""

    entity: str
    rule: str
    us: int


class Account:
    """What is known of one account."""

    __slots__ = ("golden", "held", "last", "said", "series")

    def __init__(self) -> None:
        self.said: dict[str, dict[str, tuple[tuple[int, int, int], Any]]] = {"erp": {}, "crm": {}}
        self.last: dict[str, tuple[int, int, int]] = {}
        self.golden: dict[str, Any] = dict.fromkeys(FIELDS)
        self.series: dict[str, tuple[int, float, float]] = {}
        self.held: dict[str, bool] = {}

    def fold(
        self, entity: str, event: str, source: str, op: str, position: tuple[int, int, int], fields: dict[str, Any]
    ) -> list[Delta | Match]:
        """Take one event in; what it did. A repeated event does nothing: events come in order."""
        if source in self.last and position <= self.last[source]:
            return []
        self.last[source] = position
        if op == "d":
            self.said[source] = {}
        else:
            self.said[source] |= {name: (position, value) for name, value in fields.items()}
        out: list[Delta | Match] = []
        changed = {}
        for name in FIELDS:
            old, new = self.golden[name], self._survivor(name)
            if old != new:
                self.golden[name] = new
                changed[name] = (old, new)
                out.append(Delta(entity, name, event, old, new))
        return out + [Match(entity, rule, position[0]) for rule in self._rules(changed)]

    def _survivor(self, name: str) -> Any:
        found = [
            (source, self.said[source][name])
            for source in RANKS
            if name in self.said[source] and self.said[source][name][1] is not None
        ]
        if len(found) < 2:
            return found[0][1][1] if found else None
        match name:
            case "name":
                best = max(found, key=lambda said: (self._filled(said[0]), len(said[1][1]), said[0] == "erp"))
            case "credit" | "staff" | "reviewed":
                best = max(found, key=lambda said: said[1][0])
            case "risk":
                best = max(found, key=lambda said: (said[1][1], said[1][0]))
            case _:
                best = found[0]
        return best[1][1]

    def _filled(self, source: str) -> int:
        return sum(value is not None for _, value in self.said[source].values())

    def _rules(self, changed: dict[str, tuple[Any, Any]]) -> list[str]:
        risk, credit = self.golden["risk"], self.golden["credit"]
        out = []
        for rule, holds in (
            ("risk-extreme", risk is not None and risk >= 95),
            ("credit-huge", credit is not None and float(credit) > 200_000),
        ):
            if holds and not self.held.get(rule):
                out.append(rule)
            self.held[rule] = holds
        old, new = changed.get("credit", (None, None))
        if old is not None and new is not None and float(new) <= float(old) * 0.5:
            out.append("credit-halved")
        score, expected = self._score("credit", new)
        if score > 8 and float(new) > 2 * expected:
            out.append("credit-unusual")
        score, _ = self._score("staff", changed.get("staff", (None, None))[1])
        if abs(score) > 10:
            out.append("staff-unusual")
        return out

    def _score(self, name: str, given: Any) -> tuple[float, float]:
        """How many deviations the value is from its mean, and the mean; then learn it."""
        if given is None:
            return 0.0, 0.0
        value = float(given)
        count, mean, variance = self.series.get(name, (0, 0.0, 0.0))
        deviation = max(math.sqrt(variance), FLOOR * abs(mean), 1e-9)
        warm = count >= WARM_UP
        learnt = min(max(value, mean - CLIP * deviation), mean + CLIP * deviation) if warm else value
        weight = max(ALPHA, 1 / (count + 1))
        step = learnt - mean
        self.series[name] = (count + 1, mean + weight * step, (1 - weight) * (variance + weight * step * step))
        return ((value - mean) / deviation if warm else 0.0), mean
