"""The engine's semantics once more, row by row over dicts, sharing no code with it.

Slow and plain on purpose: a reader can hold every line against docs/architecture.md. It sees the
whole history at once, in position order, so nothing is ever late here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

ALPHA, WARM_UP, CLIP, FLOOR = 0.1, 4, 4.0, 0.02
WITH_AMOUNT = {"tax", "currency"}  # come from the source that the amount comes from, if it says them


@dataclass(frozen=True, order=True)
class Event:
    """One row: ordered by position."""

    us: int
    rr: int
    tie: int
    id: str = field(compare=False)
    entity: str = field(compare=False)
    group: str = field(compare=False)
    source: str = field(compare=False)
    op: str = field(compare=False)  # say, delete or close
    values: tuple[tuple[str, object], ...] = field(compare=False, default=())
    rule: str = field(compare=False, default="")


@dataclass
class Rule:
    """One rule over plain values."""

    name: str
    kind: str
    field: str = ""
    for_us: int = 0
    resolve_after_us: int = 1 << 50


RULES = (
    Rule("large", "threshold"),
    Rule("lasting", "threshold", for_us=40),
    Rule("halved", "change", "amount", resolve_after_us=60),
    Rule("terms", "drift", "terms", for_us=25),
    Rule("amounts", "drift", "amount"),
    Rule("unusual", "anomaly", "amount"),
)


class Reference:
    """Folds a history."""

    def __init__(self, fields: list[str], ranks: dict[str, list[str]], recent: set[str]) -> None:
        self.fields, self.ranks, self.recent = fields, ranks, recent
        self.said: dict[tuple[str, str, str], tuple[tuple[int, int, int], object]] = {}
        self.golden: dict[str, dict[str, object]] = {}
        self.deltas: set[tuple[object, ...]] = set()
        self.times: dict[tuple[object, ...], tuple[int | None, int | None]] = {}  # of the old and the new values
        self.series: dict[str, tuple[int, float, float]] = {}
        self.open: dict[tuple[str, str], dict[str, object]] = {}
        self.held: dict[tuple[str, str], bool] = {}

    def run(self, events: list[Event], clock_us: int) -> None:
        """Fold all events in the order of their positions, then one clock tick."""
        for event in sorted({event.id: event for event in events}.values()):
            if event.op == "close":
                self._close(event)
            else:
                self._say(event)
        for entity, rule in list(self.open):
            self._settle(entity, next(one for one in RULES if one.name == rule), clock_us)

    def _say(self, event: Event) -> None:
        position = (event.us, event.rr, event.tie)
        said_before = {name: self._said_us(event.entity, name) for name in self.fields}
        given = dict.fromkeys(self.fields, "gone") if event.op == "delete" else dict(event.values)
        for name, value in given.items():
            slot = (event.entity, event.source, name)
            if slot not in self.said or self.said[slot][0] < position:
                self.said[slot] = (position, value)
        before = dict(self.golden.get(event.entity, {}))
        after = {name: self._survivor(event.entity, name) for name in self.fields}
        self.golden[event.entity] = after
        changed = {name: (before.get(name), after[name]) for name in self.fields if before.get(name) != after[name]}
        for name, (old, new) in changed.items():
            delta = (event.entity, name, event.id, old, new)
            self.deltas.add(delta)
            self.times[delta] = said_before[name], self._said_us(event.entity, name)
        self._rules(event, after, changed)

    def _candidates(self, entity: str, name: str) -> dict[str, tuple[tuple[int, int, int], object]]:
        return {
            source: said
            for (one, source, other), said in self.said.items()
            if one == entity and other == name and said[1] != "gone" and said[1] is not None
        }

    def _survivor(self, entity: str, name: str) -> object:
        found = self._candidates(entity, name)
        return found[self._origin(entity, name)][1] if found else None

    def _said_us(self, entity: str, name: str) -> int | None:
        found = self._candidates(entity, name)
        return found[self._origin(entity, name)][0][0] if found else None

    def _origin(self, entity: str, name: str) -> str:
        if name in WITH_AMOUNT and self._winner(entity, "amount") in self._candidates(entity, name):
            return self._winner(entity, "amount")
        return self._winner(entity, name)

    def _winner(self, entity: str, name: str) -> str:
        found = self._candidates(entity, name)
        if name in self.recent:
            return max(found, key=lambda source: found[source][0])
        return min(found, key=self.ranks[name].index, default="")

    def _rules(self, event: Event, after: dict[str, object], changed: dict[str, tuple[object, object]]) -> None:
        amount = after["amount"]
        disagree = {
            "terms": len({value for _, value in self._candidates(event.entity, "terms").values()}) > 1,
            "amounts": self._apart(event.entity),
        }
        for rule in RULES:
            if rule.kind == "threshold":
                self._state(event, rule, holds=isinstance(amount, int) and amount >= 50_000)
            elif rule.kind == "drift":
                self._state(event, rule, holds=disagree[rule.name])
            elif rule.kind == "change" and "amount" in changed:
                old, new = changed["amount"]
                if isinstance(old, int) and isinstance(new, int) and new / 100 <= old / 100 * 0.5:
                    self._event(event, rule)
            elif rule.kind == "anomaly" and "amount" in changed and isinstance(changed["amount"][1], int):
                score = self._observe(event.group, changed["amount"][1] / 100)
                if score is not None and abs(score) > 6:
                    self._event(event, rule)

    def _apart(self, entity: str) -> bool:
        """Whether amounts differ by more than half of the larger, or are of different currencies."""
        amounts, currencies = (
            {source: said[1] for source, said in self._candidates(entity, name).items()}
            for name in ("amount", "currency")
        )
        if len({currencies[source] for source in amounts.keys() & currencies.keys()}) > 1:
            return True
        numbers = [int(str(amount)) for amount in amounts.values()]
        return bool(numbers) and 2 * (max(numbers) - min(numbers)) > max(map(abs, numbers))

    def _observe(self, group: str, value: float) -> float | None:
        count, mean, variance = self.series.get(group, (0, 0.0, 0.0))
        deviation = max(math.sqrt(variance), FLOOR * abs(mean), 1e-9)
        warm = count >= WARM_UP
        learnt = min(max(value, mean - CLIP * deviation), mean + CLIP * deviation) if warm else value
        weight = max(ALPHA, 1.0 / (count + 1))
        step = learnt - mean
        self.series[group] = (count + 1, mean + weight * step, (1.0 - weight) * (variance + weight * step * step))
        return (value - mean) / deviation if warm else None

    def _state(self, event: Event, rule: Rule, *, holds: bool) -> None:
        slot = (event.entity, rule.name)
        held, self.held[slot] = self.held.get(slot, False), holds
        if held or holds:
            self._settle(event.entity, rule, event.us)
        if holds and not held:
            self.open[slot] = {"cause": event.id, "opened": event.us, "count": 1, "fired": not rule.for_us}
        elif held and not holds:
            self.open.pop(slot, None)

    def _event(self, event: Event, rule: Rule) -> None:
        slot = (event.entity, rule.name)
        self._settle(event.entity, rule, event.us)
        if slot in self.open:
            self.open[slot]["count"] += 1  # type: ignore[operator]
        else:
            self.open[slot] = {"cause": event.id, "opened": event.us, "count": 1, "fired": True}
        self.open[slot]["last"] = event.us

    def _settle(self, entity: str, rule: Rule, now_us: int) -> None:
        episode = self.open.get((entity, rule.name))
        if episode is None:
            return
        if rule.kind in ("threshold", "drift"):
            episode["fired"] = bool(episode["fired"]) or now_us >= int(str(episode["opened"])) + rule.for_us
        elif now_us >= int(str(episode["last"])) + rule.resolve_after_us:
            del self.open[entity, rule.name]

    def _close(self, event: Event) -> None:
        rule = next(one for one in RULES if one.name == event.rule)
        episode = self.open.get((event.entity, rule.name))
        if episode is not None and rule.kind in ("change", "anomaly") and int(str(episode["opened"])) <= event.us:
            del self.open[event.entity, rule.name]
