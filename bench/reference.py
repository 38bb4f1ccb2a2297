"""The measured semantics once more, row by row over dicts, sharing no code with the engine.

Slow and plain on purpose. It sees a whole history at once, sorted by position, so nothing is late
or repeated here; conditions are judged by an independent implementation of CEL.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import cel
import xxhash

from flockiq.shared.config.model import Config, Entity, Rule

CLIP, FLOOR = 4.0, 0.02
BEYOND = 4.0
Value = str | int | float | bool | None
Position = tuple[int, int, int, int]
Slot = tuple[str, str]
_GONE = object()  # what a deleted record says of every field


@dataclass
class Episode:
    """An open alert."""

    cause: str
    opened: int
    last: int
    count: int = 1
    fired: bool = False
    ended: int = 0


@dataclass
class Outcome:
    """What a history comes to."""

    golden: dict[str, dict[str, Value]] = field(default_factory=dict)
    deltas: set[tuple[object, ...]] = field(default_factory=set)
    open: dict[Slot, tuple[str, int, int, bool]] = field(default_factory=dict)


@dataclass
class Rhythm:
    """What a series has learnt of the hours of the week: offsets from its mean, and how much they differ."""

    spread: float = 0.0
    hours: dict[int, tuple[float, int]] = field(default_factory=dict)

    def known(self, hour: int, variance: float) -> tuple[float, float]:
        """The hour's offset, and the variance of what is not known of it."""
        offset, hits = self.hours.get(hour, (0.0, 0))
        spread = max(self.spread, variance)
        return offset, spread * variance / (variance + hits * spread) if variance else 0.0

    def learn(self, hour: int, variance: float, plain: float, error: float, slow: float) -> None:
        """One value: ``plain`` its distance from the mean, ``error`` what the mean leaves to the hour."""
        offset, hits = self.hours.get(hour, (0.0, 0))
        spread = max(self.spread, variance)
        gain = max(0.1, spread / (variance + (hits + 1) * spread)) if spread else 0.1
        self.hours[hour] = (offset + gain * error, hits + 1)
        self.spread = (1.0 - slow) * (self.spread + slow * plain * plain)


def _hour_of_week(us: int, zone: str) -> int:
    moment = dt.datetime.fromtimestamp(us // 1_000_000, ZoneInfo(zone))
    return moment.weekday() * 24 + moment.hour


@lru_cache(maxsize=1024)
def _program(text: str) -> Any:
    return cel.compile(text)


class Reference:
    """Folds lines of hub ``resolved`` of one entity type."""

    def __init__(self, config: Config, entity: str) -> None:
        self.entity: Entity = config.entities[entity]
        self.rules: list[Rule] = config.rules_of(entity)
        self.fields = list(self.entity.fields)
        self.said: dict[tuple[str, str], dict[str, tuple[Position, object]]] = {}
        self.golden: dict[str, dict[str, Value]] = {}
        self.winner: dict[tuple[str, str], str] = {}
        self.shown: dict[str, str] = {}
        self.series: dict[tuple[str, str], tuple[int, float, float, int]] = {}
        self.rhythms: dict[tuple[str, str], Rhythm] = {}
        self.held: dict[Slot, bool] = {}
        self.alerts: dict[Slot, Episode] = {}
        self.deltas: set[tuple[object, ...]] = set()

    def run(self, lines: Iterable[bytes], clock_us: int) -> Outcome:
        """Fold every line in the order of positions, then let the clock come to ``clock_us``."""
        distinct = {line["id"]: line for line in map(json.loads, lines)}
        for line in sorted(distinct.values(), key=_position):
            self._line(line)
        rules = {rule.name: rule for rule in self.rules}
        for entity, name in list(self.alerts):
            self._settle((entity, name), rules[name], clock_us)
        return Outcome(
            {entity: {name: value for name, value in record.items() if value is not None}
             for entity, record in self.golden.items()},
            self.deltas,
            {slot: (one.cause, one.opened, one.count, one.fired) for slot, one in self.alerts.items()},
        )  # fmt: skip

    def _line(self, line: dict[str, Any]) -> None:
        data, source, position = line["data"], line["source"], _position(line)
        entity: str = data["entity_id"]
        self.shown[entity] = data["match_key"]
        given = dict.fromkeys(self.fields, _GONE) if data["op"] == "d" else data.get("fields", {})
        mine = self.said.setdefault((entity, source), {})
        for name, value in given.items():
            if name not in mine or mine[name][0] < position:
                mine[name] = (position, value)
        before = self.golden.get(entity, {})
        after = {name: self._survivor(entity, name, source) for name in self.fields}
        self.golden[entity] = after
        changed = {name: (before.get(name), after[name]) for name in self.fields if before.get(name) != after[name]}
        self.deltas |= {(entity, name, line["id"], old, new) for name, (old, new) in changed.items()}
        self._judge(line["id"], data["ts_us"], entity, after, changed)

    def _candidates(self, entity: str, name: str) -> dict[str, tuple[Position, Value]]:
        found = {}
        for source in self.entity.ranks[name]:
            position, value = self.said.get((entity, source), {}).get(name, ((0, 0, 0, 0), None))
            if value is not None and value is not _GONE:
                found[source] = (position, value)
        return found  # type: ignore[return-value]  # what is left are values

    def _survivor(self, entity: str, name: str, teller: str) -> Value:
        left = self._candidates(entity, name)
        if not left:
            self.winner[entity, name] = self._empty(entity, name, teller)
            return None
        for rule in (*self.entity.survivorship[name], "rank"):
            score = {source: self._score(rule, entity, name, source, left) for source in left}
            best = max(score.values())
            left = {source: said for source, said in left.items() if score[source] == best}
        ((source, (_, value)),) = left.items()
        self.winner[entity, name] = source
        return value

    def _empty(self, entity: str, name: str, teller: str) -> str:
        """Whose empty value it is, when nobody has one: a source that said null, by the same cascade."""
        nulls = {
            source: (said[name][0], None)
            for source in self.entity.ranks[name]
            if (said := self.said.get((entity, source), {})) and name in said and said[name][1] is None
        }
        for rule in (*self.entity.survivorship[name], "rank"):
            score = {source: self._score(rule, entity, name, source, nulls) for source in nulls}
            nulls = {source: nulls[source] for source in nulls if score[source] == max(score.values())}
        return next(iter(nulls), teller)

    def _score(self, rule: str, entity: str, name: str, source: str, left: Mapping[str, tuple[Position, Value]]) -> Any:
        position, value = left[source]
        match rule:
            case "rank":
                return -self.entity.ranks[name].index(source)
            case "recent":
                return position
            case "complete":
                record = self.said.get((entity, source), {}).values()
                return sum(given is not None and given is not _GONE for _, given in record)
            case "longest":
                return len(str(value)) if value is not None else 0
            case "highest":
                return -math.inf if value is None else value
            case "frequent":
                return sum(other == value for _, other in left.values())
        raise AssertionError(rule)

    def _judge(
        self, event: str, us: int, entity: str, after: dict[str, Value], changed: dict[str, tuple[Value, Value]]
    ) -> None:
        scores = {
            name: self._observe(entity, name, us, float(changed[name][1]))  # type: ignore[arg-type]  # numbers
            for name in self.entity.anomalies
            if name in changed and changed[name][1] is not None
        }
        drifting = {name for name in self.entity.drift if self._apart(entity, name)}
        names = self._variables(after) | {"key": self.shown[entity]}
        for rule in self.rules:
            slot = (entity, rule.name)
            match rule.kind:
                case "threshold":
                    self._state(slot, rule, event, us, holds=self._true(rule, names))
                case "drift":
                    holds = bool(drifting & set(rule.fields)) and self._true(rule, names)
                    self._state(slot, rule, event, us, holds=holds)
                case "change":
                    for name in rule.fields:
                        if name in changed and self._true(rule, names | self._change(entity, name, *changed[name])):
                            self._happens(slot, rule, event, us)
                case "anomaly":
                    for name in rule.fields:
                        finding = scores.get(name)
                        if finding and self._true(rule, names | finding, otherwise=abs(finding["score"]) > BEYOND):
                            self._happens(slot, rule, event, us)

    def _variables(self, record: dict[str, Value]) -> dict[str, object]:
        """A record as the conditions see it; what is null is not there."""
        seen = {name: self._seen(name, value) for name, value in record.items() if value is not None}
        return seen | {f"lower_{name}": value.lower() for name, value in seen.items() if isinstance(value, str)}

    def _seen(self, name: str, value: Value) -> object:
        match self.entity.fields[name].type:
            case "decimal" | "float":
                return float(value)  # type: ignore[arg-type]  # a number
            case "date":
                return dt.datetime.combine(dt.date.fromisoformat(str(value)), dt.time(), dt.UTC)
            case "timestamp":
                return dt.datetime.fromisoformat(str(value))
        return value

    def _change(self, entity: str, name: str, old: Value, new: Value) -> dict[str, object]:
        found: dict[str, object] = {"field": name, "source": self.winner[entity, name]}
        if old is not None:
            found["old"] = self._seen(name, old)
        if new is not None:
            found["new"] = self._seen(name, new)
        was, now = found.get("old"), found.get("new")
        if type(was) in (int, float) and type(now) in (int, float) and was:
            found["relative_change"] = (now - was) / abs(was)  # type: ignore[operator,arg-type]  # numbers
        return found

    @staticmethod
    def _true(rule: Rule, names: Mapping[str, object], *, otherwise: bool = True) -> bool:
        """Whether the condition is true; what can't be told for want of a value is not."""
        if rule.when is None:
            return otherwise
        text = _asked(rule.when, tuple(sorted(names)))
        try:
            return _program(text).execute(dict(names)) is True
        except (ValueError, RuntimeError, TypeError):
            return False

    def _apart(self, entity: str, name: str) -> bool:
        tolerance = self.entity.drift[name]
        values = [value for _, value in self._candidates(entity, name).values()]
        if len(values) < 2:
            return False
        if self.entity.fields[name].type in ("decimal", "float", "integer"):
            numbers = [float(value) for value in values]  # type: ignore[arg-type]  # numbers
            low, high = min(numbers), max(numbers)
            return high - low > max(tolerance.absolute or 0.0, (tolerance.relative or 0.0) * max(abs(low), abs(high)))
        return len({_plain(str(value), tolerance.ignore) for value in values}) > 1

    def _observe(self, entity: str, name: str, us: int, value: float) -> dict[str, float] | None:
        one = self.entity.anomalies[name]
        count, mean, variance, quiet = self.series.get((entity, name), (0, 0.0, 0.0, -(1 << 62)))
        rhythm = self.rhythms.setdefault((entity, name), Rhythm()) if one.clocks else None
        hour = _hour_of_week(us, one.clocks) if one.clocks else 0
        offset, doubt = rhythm.known(hour, variance) if rhythm else (0.0, 0.0)
        expected = mean + offset
        deviation = max(math.sqrt(variance + doubt), FLOOR * abs(expected), 1e-9)
        warm, silent = count >= one.warm_up, us < quiet
        score = (value - expected) / deviation
        low, high = expected - CLIP * deviation, expected + CLIP * deviation
        learnt = min(max(value, low), high) if warm else value
        weight = max(one.alpha, 1.0 / (count + 1))
        step = learnt - expected
        if rhythm:
            rhythm.learn(hour, variance, learnt - mean, (1.0 - weight) * step, max(one.alpha / 16, 1.0 / (count + 1)))
        if one.refractory and warm and abs(score) > CLIP and not silent:
            quiet = us + one.refractory
        self.series[entity, name] = (
            count + 1,
            mean + weight * step,
            (1.0 - weight) * (variance + weight * step * step),
            quiet,
        )
        if not warm or (one.refractory and silent):
            return None
        return {"score": score, "new": value, "expected": expected, "low": low, "high": high}

    def _state(self, slot: Slot, rule: Rule, event: str, us: int, *, holds: bool) -> None:
        held, self.held[slot] = self.held.get(slot, False), holds
        if not held and not holds:
            return
        self._settle(slot, rule, us)
        open_ = self.alerts.get(slot)
        if holds and not held:
            if open_ is not None:
                open_.ended, open_.last = 0, us
            else:
                self.alerts[slot] = Episode(event, us, us, fired=not rule.for_us)
        elif not holds and open_ is not None:
            if open_.fired and rule.keep_us:
                open_.ended = us
            else:
                del self.alerts[slot]

    def _happens(self, slot: Slot, rule: Rule, event: str, us: int) -> None:
        self._settle(slot, rule, us)
        open_ = self.alerts.get(slot)
        if open_ is None:
            self.alerts[slot] = Episode(event, us, us, fired=True)
        else:
            open_.count, open_.last = open_.count + 1, us

    def _settle(self, slot: Slot, rule: Rule, now_us: int) -> None:
        one = self.alerts.get(slot)
        if one is None:
            return
        if rule.kind in ("threshold", "drift"):
            one.fired = one.fired or (not one.ended and now_us >= one.opened + rule.for_us)
            if one.ended and now_us >= one.ended + rule.keep_us:
                del self.alerts[slot]
        elif now_us >= one.last + rule.resolve_after_us:
            del self.alerts[slot]


def _position(line: Mapping[str, Any]) -> Position:
    data = line["data"]
    return (data["ts_us"], data["run"], data["row"], xxhash.xxh3_64_intdigest(line["id"].encode()) & ((1 << 61) - 1))


@lru_cache(maxsize=4096)
def _asked(text: str, known: tuple[str, ...]) -> str:
    """The condition as the oracle takes it: it knows no ``has`` of a plain name, and no ``lower``."""
    text = re.sub(r"has\((\w+)\)", lambda found: "true" if found[1] in known else "false", text)
    text = re.sub(r"lower\((\w+)\)", r"lower_\1", text)
    return re.sub(r"timestamp\('(\d{4}-\d{2}-\d{2})'\)", r"timestamp('\1T00:00:00Z')", text)


def _plain(text: str, ignored: Iterable[str]) -> str:
    if "case" in ignored:
        text = text.casefold()
    if "punctuation" in ignored:
        text = re.sub(r"[^\w\s]|_", "", text)
    if "space" in ignored:
        text = re.sub(r"\s+", "", text)
    return text
