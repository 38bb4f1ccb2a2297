"""Generated histories and the plan they are folded under."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from flockiq.pipeline import decode
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import Plan
from flockiq.shared.cel.compile import compile_cel
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.lanes import ABSENT, NULL, Texts, lane_of
from flockiq.shared.layout import Baseline, Field, Layout, Tolerance
from flockiq.shared.positions import event_lane
from flockiq.shared.rows import ACTION, DELETE, UPSERT, Rows
from flockiq.signal.watch import Watch
from tests.engine.reference import RULES, Event

FIELDS = (
    Field("name", "string"),
    Field("amount", "decimal", 2),
    Field("terms", "string"),
    Field("flag", "boolean"),
    Field("tax", "decimal", 2),
    Field("currency", "string"),
)
SOURCES = ("crm", "erp", "web")
LAYOUT = Layout(
    entity="thing",
    fields=FIELDS,
    sources=SOURCES,
    partition_by="",
    survivorship=(("rank", "recent"), ("rank", "recent"), ("recent",), ("recent",), ("recent",), ("recent",)),
    ranks=((1, 0, 2), (1, 0, 2), (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)),
    tolerances=(Tolerance(2), Tolerance(1, relative=0.5)),
    baselines=(Baseline(1, 0.1, 4),),
    currencies=(-1, 5, -1, -1, 5, -1),
)
RANKS = {field.name: ["erp", "crm", "web"] for field in FIELDS}
RECENT = {"terms", "flag", "tax", "currency"}
RULE_NUMBERS = {rule.name: number for number, rule in enumerate(RULES)}


_KINDS = {"amount": Kind.DOUBLE, "old": Kind.DOUBLE, "new": Kind.DOUBLE, "score": Kind.DOUBLE}
_CONDITIONS = {
    "large": compile_cel("amount >= 500.0", _KINDS),
    "lasting": compile_cel("amount >= 500.0", _KINDS),
    "halved": compile_cel("new <= old * 0.5", _KINDS),
    "terms": None,
    "amounts": None,
    "unusual": compile_cel("abs(score) > 6.0", _KINDS),
}
_NAMES = {"large": ("amount",), "lasting": ("amount",), "halved": (), "terms": (), "amounts": (), "unusual": ()}


def plan() -> Plan:
    """The plan: the reference's rules, as the engine takes them."""
    index = LAYOUT.numbers
    watches = tuple(
        Watch(
            number=number,
            name=rule.name,
            kind=rule.kind,
            fields=(index[rule.field],) if rule.field else (),
            condition=_CONDITIONS[rule.name],
            names=_NAMES[rule.name],
            for_us=rule.for_us,
            keep_us=0,
            resolve_after_us=rule.resolve_after_us,
            severity="warning",
            title="{name} {amount}",
            recommend="",
            labels={},
            shown=("name", "amount"),
        )
        for number, rule in enumerate(RULES)
    )
    return Plan(LAYOUT, watches)


def history(seed: int, events: int = 60, entities: int = 5, groups: int = 3) -> list[Event]:
    """A seeded history: partial updates, deletes, nulls, equal timestamps, people who resolve alerts."""
    rng = random.Random(seed)
    found = []
    for number in range(events):
        entity = rng.randrange(entities)
        op = rng.choices(["say", "delete", "close"], [20, 1, 1])[0]
        values: list[tuple[str, object]] = []
        if op == "say":
            for name in rng.sample([field.name for field in FIELDS], rng.randint(1, 5)):
                usual = rng.choice([10_000, 10_500, 11_000, 20_000, 60_000, 9_000])
                choice = {
                    "name": rng.choice(["Anna", "anna", "Bert", None]),
                    "amount": rng.choice([usual, usual, usual, 500_000, None]),
                    "terms": rng.choice(["net 30", "net 30", "net 60", None]),
                    "flag": rng.choice([True, False]),
                    "tax": rng.choice([1_900, 700, None]),
                    "currency": rng.choice(["EUR", "EUR", "USD", None]),
                }[name]
                values.append((name, choice))
        rule = rng.choice(["halved", "unusual", "large"]) if op == "close" else ""
        name = f"event-{seed}-{number}"
        found.append(
            Event(
                us=rng.randrange(events * 2),
                rr=RULE_NUMBERS[rule] if rule else rng.randrange(3) << 32,
                tie=event_lane(name),
                id=name,
                entity=f"e{entity}",
                group=f"g{entity % groups}",
                source=rng.choice(SOURCES),
                op=op,
                values=tuple(values),
                rule=rule,
            )
        )
    return found


def rows_of(events: Sequence[Event], state: TypeState, texts: Texts) -> Rows:
    """A batch of events as the engine's columns."""
    numbers = [state.entity(event.entity, event.entity, event.group, texts.lane(event.entity)) for event in events]
    value = np.full((len(events), len(FIELDS)), ABSENT, np.int64)
    for row, event in enumerate(events):
        for name, given in event.values:
            number = LAYOUT.numbers[name]
            field = FIELDS[number]
            if given is None:
                value[row, number] = NULL
            elif isinstance(given, int) and field.kind == "decimal":
                value[row, number] = given
            else:
                value[row, number] = lane_of(field.kind, field.scale, given, texts)
    ops = {"say": UPSERT, "delete": DELETE, "close": ACTION}
    return Rows(
        entity=np.array([entity for entity, _ in numbers], np.int64),
        group=np.array([group for _, group in numbers], np.int64),
        source=np.array([SOURCES.index(event.source) for event in events], np.int64),
        op=np.array([ops[event.op] for event in events], np.int8),
        us=np.array([event.us for event in events], np.int64),
        rr=np.array([event.rr for event in events], np.int64),
        key=np.array([texts.lane(f"things/{event.entity}") for event in events], np.int64),
        shown=np.array([texts.lane(event.entity) for event in events], np.int64),
        event=decode.events([event.id for event in events], texts),
        value=value,
        arrived_us=np.zeros(len(events), np.int64),
        revision=np.zeros(len(events), np.int64),
    )
