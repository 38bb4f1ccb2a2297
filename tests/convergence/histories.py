"""Generated histories: what three or four systems told of their records, and what people did.

A history holds what the engine promises to converge on (docs/architecture.md, "What converges"):
no two records of one source are part of one entity, an update of part of a record says what the
record is matched by, and an order keeps its customer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import xxhash

from flockiq.shared.positions import Position, event_id

TENANT = "default"
START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
LENGTH_S = 200  # of a history
CLOCK_US = START_US + (LENGTH_S + 5) * SECOND_US

Op = Literal["c", "r", "u", "d"]
Record = Mapping[str, Any]


class Told(NamedTuple):
    """One version of one record, as capture would tell it."""

    id: str
    source: str
    stream: str
    key: str
    op: Op
    us: int
    run: int
    row: int
    after: Record


class Press(NamedTuple):
    """A person resolved the alert of a rule on the entity with this match key; ``group``: what orders share."""

    id: str
    entity: str  # its type
    match_key: str
    rule: str
    us: int
    group: str = ""


class Override(NamedTuple):
    """A person set a golden field until a time, or took an override back: then ``ends`` is its id."""

    id: str
    entity: str  # its type
    match_key: str
    group: str
    field: str
    value: Any
    us: int
    until_us: int
    by: str
    ends: str = ""


class History(NamedTuple):
    """What happened, in no order."""

    told: tuple[Told, ...]
    pressed: tuple[Press, ...]
    overridden: tuple[Override, ...]


class _Stream(NamedTuple):
    """How one stream behaves. ``parts``: how often it tells only what changed."""

    source: str
    name: str
    keys: int
    parts: float
    record: Callable[[random.Random, str], dict[str, Any]]


def _company(rng: random.Random, key: str) -> dict[str, Any]:
    usual = rng.choice(["100.00", "105.00", "200.00", "600.00", "90.00"])
    return {
        "name": rng.choice(["Acme", "ACME ", "A.C.M.E.", "Borg Ltd", "Bo", None]),
        "tax_id": _tax_id(rng, key),
        "city": rng.choice(["Ulm", "Bonn", None, None]),
        "limit": rng.choice([usual, usual, "5000.00", None]),
        "staff": rng.choice([20, 21, 22, 23, 24, 30, 150, 4000, None]),
        "rating": rng.choice([1.5, 2.25, 4.0, None]),
        "active": rng.choice([True, False, None]),
        "since": rng.choice(["1999-12-31", "2020-02-29", None]),
        "reviewed": rng.choice(["2024-01-31T08:00:00.000000Z", "2024-02-01T00:00:00.000001Z", None]),
        "tags": rng.choice(["a, b", "b; a", "c", "", None]),
        "extra": rng.choice([{"b": 1, "a": [1, None]}, {}, None]),
    }


def _contact(rng: random.Random, key: str) -> dict[str, Any]:
    found = _company(rng, key)
    return {name: value for name, value in found.items() if name not in ("rating", "since", "reviewed", "extra")}


def _tax_id(rng: random.Random, key: str) -> str | None:
    """One of the two companies that a record moves between, written in one way or another; or none."""
    number = int(key) * 2 + rng.choices([0, 1], [6, 1])[0]
    return rng.choices([f"DE {number}{number}", f"{number}-{number}", None], [8, 8, 1])[0]


def _order(rng: random.Random, key: str) -> dict[str, Any]:
    usual = rng.choice(["100.00", "101.50", "110.00", "95.00", "120.00"])
    found = {
        "number": f"N{key}",
        "customer": f"C{int(key) % 2}",
        "amount": rng.choice([usual, usual, usual, usual, "9000.00", None]),
        "status": rng.choice(["open", "open", "closed", None]),
    }
    return found | {"currency": {"open": "EUR", "closed": "USD"}.get(str(found["status"]))}


def _ticket(rng: random.Random, _key: str) -> dict[str, Any]:
    return {
        "subject": rng.choice(["Broken", "Late", None]),
        "state": rng.choice(["open", "open", "done", None]),
        "hours": rng.choice([1, 9, 12, None]),
    }


STREAMS = (
    _Stream("erp", "customers", 3, 0.0, _company),
    _Stream("crm", "accounts", 3, 0.0, _company),
    _Stream("web", "contacts", 3, 0.6, _contact),
    _Stream("erp", "orders", 6, 0.0, _order),
    _Stream("shop", "orders", 6, 0.0, _order),
    _Stream("crm", "tickets", 2, 0.7, _ticket),
)
OVERRIDDEN = {
    "company": (
        ("limit", ("700.00", "100.00", None)),
        ("limit", ("5000.00",)),
        ("name", ("Acme Holding", "Bo")),
        ("city", ("Ulm", None)),
        ("staff", (21, 9000)),
        ("active", (True, False)),
    ),
    "order": (("amount", ("100.00", "9000.00", None)), ("status", ("closed", "open"))),
}
"""Which fields people set, and to what."""
PRESSED = {
    "company": ("halved", "edited", "any-change", "unusual", "kept", "any-drift"),
    "order": ("order-unusual", "order-status", "order-differs"),
    "ticket": ("ticket-moved", "ticket-waiting"),
}


def history(seed: int, versions: int = 66) -> History:
    """A seeded history of about so many versions of records."""
    rng = random.Random(f"history {seed}")
    told: list[Told] = []
    for stream in STREAMS:
        share = versions * stream.keys // sum(one.keys for one in STREAMS)
        skew_us = rng.choice([0, 0, 0, -20 * SECOND_US, 3 * SECOND_US + 1])  # of this system's clock
        keys = [str(number) for number in range(stream.keys)]
        for key in keys:
            told += _record(rng, stream, key, max(1, rng.randint(share // 2, share) // len(keys) + 1), skew_us)
    pressed = _presses(rng, told, seed)
    return History(tuple(told), pressed, _overrides(random.Random(f"overrides {seed}"), told, pressed))


def _record(rng: random.Random, stream: _Stream, key: str, versions: int, skew_us: int) -> list[Told]:
    """The versions of one record. Whole times, so that many are equal; runs count up with time."""
    times = sorted(rng.choices(range(0, LENGTH_S, 2), k=versions))
    found: list[Told] = []
    record = stream.record(rng, key)
    earlier: list[dict[str, Any]] = []
    gone = True
    said: set[tuple[int, str]] = set()
    for number, at in enumerate(times):
        us, run, row = START_US + at * SECOND_US + skew_us, 1 + number, int(key)
        op, after = _next(rng, stream, record, earlier, key, gone=gone)
        text = json.dumps(after, sort_keys=True, separators=(",", ":"))
        if (us, op + text) in said:
            continue  # the same version once more is a repetition, whatever lies between
        said.add((us, op + text))
        name = event_id(TENANT, stream.source, stream.name, key, Position(us, run, row), (op + text).encode())
        found.append(Told(name, stream.source, stream.name, key, op, us, run, row, after))
        gone = op == "d"
        earlier.append(record)
        record = {**record, **after}
    return found


def _next(
    rng: random.Random,
    stream: _Stream,
    record: dict[str, Any],
    earlier: list[dict[str, Any]],
    key: str,
    *,
    gone: bool,
) -> tuple[Op, dict[str, Any]]:
    """What a record's next version says."""
    if gone:
        return "c", stream.record(rng, key)
    if rng.random() < 0.08:
        return "d", {}
    if rng.random() < 0.2:
        return "r", dict(rng.choice(earlier))  # as it was before
    fresh = stream.record(rng, key)
    changed = {name: fresh[name] for name in rng.sample(list(fresh), rng.randint(0, min(3, len(fresh))))}
    if rng.random() < stream.parts:
        return "u", changed
    return "r", {**record, **changed}


def _presses(rng: random.Random, told: list[Told], seed: int) -> tuple[Press, ...]:
    found = []
    for number in range(rng.randint(0, 9)):
        one = rng.choice(told)
        entity, match_key = _matched(one)
        if match_key:
            rule = rng.choice(PRESSED[entity])
            us = START_US + rng.randrange(LENGTH_S) * SECOND_US + rng.choice([0, 7])
            group = f"order/{one.after['customer']}" if entity == "order" else ""
            found.append(Press(f"press-{seed}-{number}", entity, match_key, rule, us, group))
    return tuple(found)


def _overrides(rng: random.Random, told: list[Told], pressed: tuple[Press, ...]) -> tuple[Override, ...]:
    """Several people set few fields of few things, for a while or for long, and sometimes think better of it."""
    places = sorted({place for one in told if (place := _matched(one))[1] and one.stream != "tickets"})
    taken = {press.us for press in pressed}
    found: list[Override] = []
    for number in range(rng.randint(0, 12) if places else 0):
        entity, match_key = rng.choice(places)
        field, values = rng.choice(OVERRIDDEN[entity])
        us = START_US + 2 * rng.randrange(LENGTH_S // 2) * SECOND_US + rng.choice([0, 0, 11])
        us += us in taken  # nothing but their ids would order them
        until_us = us + rng.choice([1, 4, 10, 30, 80, 900]) * SECOND_US
        group = f"order/C{int(match_key[1:]) % 2}" if entity == "order" else ""
        name = xxhash.xxh3_128_hexdigest(f"override {number} {entity} {match_key} {field} {us}".encode())
        by = rng.choice(["anna", "ben"])
        one = Override(name, entity, match_key, group, field, rng.choice(values), us, until_us, by)
        found.append(one)
        at = us + rng.randint(1, 40) * SECOND_US + 3
        if rng.random() < 0.25 and at < CLOCK_US:
            back = xxhash.xxh3_128_hexdigest(f"{name} taken back".encode())
            found.append(one._replace(id=back, value=None, us=at, until_us=0, by="carla", ends=name))
    return tuple(found)


def _matched(one: Told) -> tuple[str, str]:
    match one.stream:
        case "orders":
            return "order", str(one.after.get("number", ""))
        case "tickets":
            return "ticket", f"crm/tickets/{one.key}"
        case _:
            return "company", "".join(filter(str.isdigit, one.after.get("tax_id") or ""))
