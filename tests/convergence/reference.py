"""What a history means, row by row over dicts, sharing no code with the engine.

Slow and plain on purpose: each line can be held against docs/architecture.md. It sees everything at
once and in the order of positions, so nothing is ever late, repeated or dropped here.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import xxhash

from tests.convergence.histories import History, Override, Press, Told
from tests.convergence.rules import COMPANY, NUMBERS, OF, Rule, Value

FIELDS = {
    "company": COMPANY,
    "order": ("number", "customer", "amount", "status", "currency"),
    "ticket": ("subject", "state", "hours"),
}
SOURCES = {"company": ("crm", "erp", "web"), "order": ("erp", "shop"), "ticket": ("crm",)}
TYPES = {"customers": "company", "accounts": "company", "contacts": "company", "orders": "order", "tickets": "ticket"}
MAPPED = {
    "contacts": ("name", "tax_id", "city", "limit", "staff", "active", "tags"),
}
RANKS = {"company": ("erp", "crm", "web")}
CASCADES = {
    "name": ("longest", "recent"),
    "city": ("recent",),
    "limit": ("highest", "recent"),
    "staff": ("lowest", "rank"),
    "rating": ("frequent",),
    "active": ("frequent", "rank"),
    "tags": ("complete", "recent"),
}
BASELINES = {"company": {"staff": (0.2, 3, 0)}, "order": {"amount": (0.1, 3, 5_000_000)}}
DRIFT = {"company": ("limit", "staff", "name", "tags"), "order": ("amount",), "ticket": ()}
PERSON = "person "
SEASONAL = {"company": {"limit": (0.2, 4)}}
KATHMANDU_S = 20_700  # ahead of UTC, all year
CLIP, FLOOR = 4.0, 0.02

Slot = tuple[str, str]  # entity type, match key
Position = tuple[int, int, int]


class Row(NamedTuple):
    """One version of a record as its entity sees it: in order by position."""

    position: Position
    id: str
    slot: Slot
    group: str
    source: str
    gone: bool
    values: dict[str, Value]
    press: str = ""  # the rule a person resolved the alert of
    ends: str = ""  # the override that is over


class Said(NamedTuple):
    """A source's value of a field and where it was said."""

    value: Value
    since: Position
    id: str


class Golden(NamedTuple):
    """The golden value of a field, the source it is from and the rule that decided for it."""

    value: Value = None
    source: str = ""
    rule: str = ""


class Outcome(NamedTuple):
    """What is compared: golden records, deltas, alerts by subject and rule, findings.

    A golden record's part is {(type, match key, field): (value, source, rule that decided)}, a finding (type, match
    key, field, kind, cause, the cause of the drift that is over).
    """

    golden_records: dict[tuple[str, str, str], tuple[Value, str, str]]
    effective_deltas: set[tuple[str, ...]]
    open_alerts: dict[tuple[str, str, str], tuple[str, int, int, str]]
    findings: set[tuple[str, ...]]


def expected(history: History, clock_us: int) -> Outcome:
    """What is left of a history once the clock says ``clock_us``."""
    by_record: dict[tuple[str, str, str], list[Told]] = defaultdict(list)
    for told in {told.id: told for told in history.told}.values():
        by_record[told.source, told.stream, told.key].append(told)
    rows = [row for versions in by_record.values() for row in _rows(sorted(versions, key=_position))]
    rows += [_pressed(press) for press in history.pressed]
    known = {row.slot for row in rows if not row.press}
    rows += [row for override in history.overridden for row in _overridden(override, clock_us)]
    world = _World()
    for row in sorted(rows, key=lambda row: row.position):
        if row.slot in known:
            world.take(row)
    return world.outcome(clock_us)


def _tie(event: str) -> int:
    """What orders events of one position: the first 60 bits of an id, or of another text's hash."""
    return int(event[:16], 16) - (1 << 63) if len(event) == 32 else xxhash.xxh3_64_intdigest(event.encode()) >> 4


def _position(told: Told) -> Position:
    return told.us, told.run << 32 | told.row, _tie(told.id)


def _pressed(press: Press) -> Row:
    position = press.us, NUMBERS[press.rule], _tie(press.id)
    return Row(position, press.id, (press.entity, press.match_key), "", "", gone=False, values={}, press=press.rule)


def _overridden(override: Override, clock_us: int) -> Iterator[Row]:
    """A person's word on a field, and its end where that has come."""
    group = override.group or override.match_key
    said = Row(
        (override.us, 0, _tie(override.id)),
        override.id,
        (override.entity, override.match_key),
        group,
        PERSON + override.by,
        gone=False,
        values={override.field: override.value},
        ends=override.ends,
    )
    yield said
    if not override.ends and override.until_us <= clock_us:
        name = xxhash.xxh3_128_hexdigest(f"{override.id}\x1fended".encode())
        yield said._replace(position=(override.until_us, 0, _tie(name)), id=name, ends=override.id)


def _rows(versions: list[Told]) -> Iterator[Row]:
    """The rows of one record: where it is, what it says there, and what it leaves behind."""
    fields: dict[str, Value] = {}
    place: Slot | None = None
    gone = False
    for told in versions:
        position, kind = _position(told), TYPES[told.stream]
        if told.op == "d":
            if place is not None:
                yield Row(position, told.id, place, _group(place, fields), told.source, gone=True, values={})
            gone = True
            continue
        given = {
            name: json.dumps(value, sort_keys=True, separators=(",", ":"))
            if name == "extra" and value is not None
            else value
            for name, value in told.after.items()
        }
        if told.op in ("c", "r"):
            full = {name: given.get(name) for name in MAPPED.get(told.stream, FIELDS[kind])}
            if full == fields and place is not None and not gone:
                continue  # what is unchanged goes no further
        else:
            full = fields | given
        here = kind, _match_key(told, full)
        moved = place is not None and here != place
        if place is not None and moved:
            left = position[0], position[1], _tie(f"{told.id}:left")
            yield Row(left, f"{told.id}:left", place, _group(place, fields), told.source, gone=True, values={})
        says = full if moved or told.op != "u" else given
        yield Row(position, told.id, here, _group(here, full), told.source, gone=False, values=dict(says))
        fields, place, gone = full, here, False


def _match_key(told: Told, fields: dict[str, Value]) -> str:
    own = f"{told.source}/{told.stream}/{told.key}"
    match TYPES[told.stream]:
        case "company":
            return "".join(one for one in str(fields.get("tax_id") or "") if one.isdigit()) or own
        case "order":
            return str(fields.get("number") or "") or own
        case _:
            return own


def _group(slot: Slot, fields: dict[str, Value]) -> str:
    return f"order/{fields['customer']}" if slot[0] == "order" else slot[1]


class _Weekly:
    """A series with a weekly rhythm, as docs/entities.md says."""

    def __init__(self) -> None:
        self.count, self.mean, self.variance, self.spread = 0, 0.0, 0.0, 0.0
        self.offset: dict[int, float] = defaultdict(float)
        self.hits: dict[int, int] = defaultdict(int)

    def see(self, value: float, hour: int, alpha: float, warm_up: int) -> float | None:
        spread, hits = max(self.spread, self.variance), self.hits[hour]
        expected, unsure = self.mean + self.offset[hour], self.variance
        if self.variance > 0:
            unsure += spread * self.variance / (self.variance + hits * spread)
        deviation = max(math.sqrt(unsure), FLOOR * abs(expected), 1e-9)
        warm = self.count >= warm_up
        low, high = expected - CLIP * deviation, expected + CLIP * deviation
        learnt = min(max(value, low), high) if warm else value
        error = learnt - expected
        weight, slow = max(alpha, 1 / (self.count + 1)), max(alpha / 16, 1 / (self.count + 1))
        gain = max(0.1, spread / (self.variance + (hits + 1) * spread)) if spread > 0 else 0.1
        self.spread = (1 - slow) * (self.spread + slow * (learnt - self.mean) ** 2)
        self.offset[hour] += gain * (1 - weight) * error
        self.hits[hour] += 1
        self.mean += weight * error
        self.variance = (1 - weight) * (self.variance + weight * error * error)
        self.count += 1
        return (value - expected) / deviation if warm else None


class _World:
    def __init__(self) -> None:
        self.said: dict[tuple[Slot, str], dict[str, Said]] = defaultdict(dict)  # {(entity, source): {field: said}}
        self.golden: dict[Slot, dict[str, Golden]] = {}
        self.deltas: set[tuple[str, ...]] = set()
        self.series: dict[tuple[str, str], tuple[int, float, float, int]] = {}
        self.people: dict[str, str] = {}  # {override: who}
        self.weekly: dict[tuple[str, str], _Weekly] = defaultdict(_Weekly)
        self.findings: set[tuple[str, ...]] = set()
        self.drifting: dict[tuple[Slot, str], str] = {}  # by what it began
        self.held: dict[tuple[Slot, str], bool] = {}
        self.open: dict[tuple[Slot, str], dict[str, Any]] = {}

    def take(self, row: Row) -> None:
        """One row through fold, compare and signal."""
        if row.press:
            self._press(row)
            return
        fields = FIELDS[row.slot[0]]
        if row.source.startswith(PERSON):
            self.people[row.id] = row.source
        mine = self.said[row.slot, PERSON if row.source.startswith(PERSON) else row.source]
        given: dict[str, Value] = dict.fromkeys(fields) if row.gone else row.values
        for name, value in given.items():
            if row.gone or (row.ends and name in mine and mine[name].id == row.ends):
                mine.pop(name, None)
            elif row.ends:
                continue
            else:
                mine[name] = Said(value, row.position, row.id)
        before = self.golden.get(row.slot, {})
        after = {name: self._survivor(row.slot, name) for name in fields}
        self.golden[row.slot] = after
        changed = [
            (name, before.get(name, Golden()).value, after[name].value)
            for name in fields
            if before.get(name, Golden()).value != after[name].value
        ]
        for name, old, new in changed:
            self.deltas.add((*row.slot, name, row.id, _text(old), _text(new)))
        self._rules(row, changed)

    def _survivor(self, slot: Slot, name: str) -> Golden:
        """What survives of all that is said of a field."""
        person = self.said[slot, PERSON].get(name)
        if person is not None:
            return Golden(person.value, self.people[person.id], "override")
        found = self._candidates(slot, name)
        if slot[0] == "order" and name == "currency" and len(found) > 1:
            amount = self._survivor(slot, "amount")
            if amount.value is not None and amount.source in found:
                return Golden(found[amount.source].value, amount.source, "together")
        return self._by_rules(slot, name, found)

    def _candidates(self, slot: Slot, name: str) -> dict[str, Said]:
        """By source, what may survive: what is no null, or else all that is said."""
        said = {source: self.said[slot, source] for source in SOURCES[slot[0]]}
        told = {source: mine[name] for source, mine in said.items() if name in mine}
        return {source: one for source, one in told.items() if one.value is not None} or told

    def _by_rules(self, slot: Slot, name: str, found: dict[str, Said]) -> Golden:
        """What survives among the sources' values. The first rule that leaves one has decided, if one does."""
        sources = SOURCES[slot[0]]
        ranks = RANKS.get(slot[0], ())
        rank = {source: ranks.index(source) if source in ranks else len(ranks) for source in sources}
        filled = {source: sum(one.value is not None for one in self.said[slot, source].values()) for source in sources}
        cascade = CASCADES.get(name, ("rank", "recent")) if slot[0] == "company" else ("recent",)
        if not found:
            return Golden()
        decided = "only" if len(found) == 1 else ""
        for rule, called in (*zip(cascade, cascade, strict=True), ("rank", "first")):

            def score(source: str, rule: str = rule, found: dict[str, Said] = found) -> Any:
                value = found[source].value
                match rule:
                    case "rank":
                        return -rank[source]
                    case "recent":
                        return found[source].since
                    case "longest":
                        return len(str(value or ""))
                    case "highest":
                        return float(value or 0)
                    case "lowest":
                        return -float(value or 0)
                    case "complete":
                        return filled[source]
                    case _:
                        return sum(other.value == value for other in found.values())

            best = max(map(score, found))
            found = {source: one for source, one in found.items() if score(source) == best}
            decided = decided or (called if len(found) == 1 else "")
        winner = next(source for source in sources if source in found)
        return Golden(found[winner].value, winner, decided or "first")

    def _drifts(self, slot: Slot, name: str) -> bool:
        values = [
            self.said[slot, source][name].value
            for source in SOURCES[slot[0]]
            if name in self.said[slot, source] and self.said[slot, source][name].value is not None
        ]
        if len(values) < 2:
            return False
        if name == "amount" and len(self._currencies(slot)) > 1:
            return True
        match name:
            case "limit" | "staff" | "amount":
                numbers = [float(value) for value in values if value is not None]
                apart = max(numbers) - min(numbers)
                allowed = {"limit": 0.05 * max(abs(min(numbers)), abs(max(numbers))), "staff": 5.0, "amount": 0.0}
                return apart > allowed[name]
            case "tags":
                return len({frozenset(re.split(r"\s*[,;]\s*", str(value).strip())) - {""} for value in values}) > 1
            case _:
                return len({re.sub(r"[\W_]", "", str(value)).casefold() for value in values}) > 1

    def _currencies(self, slot: Slot) -> set[Value]:
        """In which the sources that say an order's amount say it."""
        said = [self.said[slot, source] for source in SOURCES[slot[0]]]
        there = [one for one in said if all(name in one for name in ("amount", "currency"))]
        return {one["currency"].value for one in there if one["amount"].value is not None} - {None}

    def _find(self, row: Row, scores: dict[str, float | None]) -> None:
        """What is to be told of drift and of odd numbers, whether a rule asks for it or not."""
        slot = row.slot
        for name in DRIFT[slot[0]]:
            began, drifts = self.drifting.get((slot, name), ""), self._drifts(slot, name)
            if drifts and not began:
                self.drifting[slot, name] = row.id
                self.findings.add((*slot, name, "drift", row.id, ""))
            elif began and not drifts:
                del self.drifting[slot, name]
                self.findings.add((*slot, name, "agreement", row.id, began))
        for name, score in scores.items():
            if score is not None and abs(score) > CLIP:
                self.findings.add((*slot, name, "anomaly", row.id, ""))

    def _rules(self, row: Row, changed: list[tuple[str, Value, Value]]) -> None:
        slot = row.slot
        golden = {name: one.value for name, one in self.golden[slot].items()}
        scores = self._observe(row, changed)
        self._find(row, scores)
        for rule in OF[slot[0]]:
            if rule.kind == "threshold":
                self._state(row, rule, holds=rule.holds(golden))
            elif rule.kind == "drift":
                drifts = any(self._drifts(slot, name) for name in rule.fields)
                self._state(row, rule, holds=drifts and rule.holds(golden))
            elif rule.kind == "change":
                for name in rule.fields:
                    for field, old, new in changed:
                        source = self.golden[slot][field].source or row.source
                        source = "override" if source.startswith(PERSON) else source
                        if field == name and rule.holds(golden | {"old": old, "new": new, "source": source}):
                            self._event(row, rule)
            else:
                for name in rule.fields:
                    score = scores.get(name)
                    if score is not None and rule.holds(golden | {"score": score}):
                        self._event(row, rule)

    def _observe(self, row: Row, changed: list[tuple[str, Value, Value]]) -> dict[str, float | None]:
        scores: dict[str, float | None] = {}
        for name, _, new in changed:
            seasonal = SEASONAL.get(row.slot[0], {}).get(name)
            if seasonal is not None and new is not None:
                hour = int(row.position[0] // 1_000_000 + KATHMANDU_S) // 3600 % 168
                scores[name] = self.weekly[row.group, name].see(float(new), hour, *seasonal)
            baseline = BASELINES.get(row.slot[0], {}).get(name)
            if baseline is None or new is None:
                continue
            alpha, warm_up, refractory_us = baseline
            value, us = float(new), row.position[0]
            count, mean, variance, quiet_us = self.series.get((row.group, name), (0, 0.0, 0.0, -1))
            deviation = max(math.sqrt(variance), FLOOR * abs(mean), 1e-9)
            warm = count >= warm_up
            score = (value - mean) / deviation
            scores[name] = score if warm and us >= quiet_us else None
            if refractory_us and warm and abs(score) > CLIP and us >= quiet_us:
                quiet_us = us + refractory_us
            learnt = min(max(value, mean - CLIP * deviation), mean + CLIP * deviation) if warm else value
            weight = max(alpha, 1.0 / (count + 1))
            step = learnt - mean
            varied = (1.0 - weight) * (variance + weight * step * step)
            self.series[row.group, name] = count + 1, mean + weight * step, varied, quiet_us
        return scores

    def _state(self, row: Row, rule: Rule, *, holds: bool) -> None:
        name, us = (row.slot, rule.name), row.position[0]
        held, self.held[name] = self.held.get(name, False), holds
        if not (held or holds):
            return
        self._passes(name, rule, us)
        episode = self.open.get(name)
        if holds and not held:
            if episode is not None:
                episode["ended"] = 0
            else:
                self.open[name] = {
                    "cause": row.id,
                    "opened": us,
                    "count": 1,
                    "fired": not rule.for_us,
                    "ended": 0,
                    "closed": False,
                }
        elif held and not holds and episode is not None:
            if episode["fired"] and rule.keep_us and not episode["closed"]:
                episode["ended"] = us
            else:
                del self.open[name]

    def _event(self, row: Row, rule: Rule) -> None:
        name, us = (row.slot, rule.name), row.position[0]
        self._passes(name, rule, us)
        if name in self.open:
            self.open[name]["count"] += 1
            self.open[name]["last"] = us
        else:
            self.open[name] = {"cause": row.id, "opened": us, "last": us, "count": 1, "fired": True}

    def _passes(self, name: tuple[Slot, str], rule: Rule, now_us: int) -> None:
        """What the passing of time does to an open alert."""
        episode = self.open.get(name)
        if episode is None:
            return
        if rule.kind in ("threshold", "drift"):
            episode["fired"] |= not episode["ended"] and now_us >= episode["opened"] + rule.for_us
            if episode["ended"] and now_us >= episode["ended"] + rule.keep_us:
                del self.open[name]
        elif now_us >= episode["last"] + rule.resolve_after_us:
            del self.open[name]

    def _press(self, row: Row) -> None:
        rule = next(rule for rule in OF[row.slot[0]] if rule.name == row.press)
        episode = self.open.get((row.slot, rule.name))
        if episode is None:
            return
        if rule.kind in ("threshold", "drift") and not episode["ended"]:
            episode["closed"] = True
        else:
            del self.open[row.slot, rule.name]

    def outcome(self, clock_us: int) -> Outcome:
        """What is left once time has come to ``clock_us``."""
        for slot, rule in list(self.open):
            self._passes((slot, rule), next(one for one in OF[slot[0]] if one.name == rule), clock_us)
        return Outcome(
            {
                (*slot, name): (found.value, found.source.removeprefix(PERSON), found.rule)
                for slot, record in self.golden.items()
                for name, found in record.items()
                if found.value is not None
            },
            self.deltas,
            {
                (*slot, rule): (one["cause"], one["opened"], one["count"], "firing" if one["fired"] else "pending")
                for (slot, rule), one in self.open.items()
            },
            self.findings,
        )


def _text(value: Value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
