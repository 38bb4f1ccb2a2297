"""The rules of config/ once more, as plain Python over plain values; null makes a condition false.

Written by hand from docs/rules.md, beside the engine's CEL: the reference must not share its code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

S = 1_000_000
Value = str | int | float | bool | None
Values = Mapping[str, Value]


@dataclass(frozen=True)
class Rule:
    """One rule. ``holds`` takes the golden values and, of an event, what else its condition may name."""

    entity: str
    name: str
    kind: Literal["threshold", "drift", "change", "anomaly"]
    holds: Callable[[Values], bool]
    fields: tuple[str, ...] = ()
    for_us: int = 0
    keep_us: int = 0
    resolve_after_us: int = 0


def _number(values: Values, name: str) -> float | None:
    value = values.get(name)
    return None if value is None else float(value)


def _above(name: str, limit: float) -> Callable[[Values], bool]:
    return lambda values: (number := _number(values, name)) is not None and number > limit


def _always(_: Values) -> bool:
    return True


def _halved(values: Values) -> bool:
    old, new = _number(values, "old"), _number(values, "new")
    return old is not None and new is not None and new <= old * 0.5


def _low(values: Values) -> bool:
    rating = _number(values, "rating")
    return rating is not None and rating < 2.5


COMPANY = ("name", "tax_id", "city", "limit", "staff", "rating", "active", "since", "reviewed", "tags", "extra")

RULES = (
    Rule(
        "company",
        "any-drift",
        "drift",
        lambda v: len(str(v["name"] or "")) > 3,
        ("limit", "staff", "name", "tags"),
        keep_us=15 * S,
    ),
    Rule("company", "both", "threshold", _low, for_us=10 * S, keep_us=20 * S),
    Rule("company", "kept", "threshold", lambda v: v["city"] is None and v["name"] is not None, keep_us=30 * S),
    Rule("company", "large", "threshold", _above("limit", 499.999)),
    Rule("company", "lasting", "threshold", lambda v: _above("staff", 100)(v) and v["active"] is True, for_us=40 * S),
    Rule("company", "limits-disagree", "drift", _always, ("limit",), for_us=25 * S),
    Rule("company", "any-change", "change", _always, COMPANY, resolve_after_us=12 * S),
    Rule(
        "company", "edited", "change", lambda v: v["source"] != "web", ("name", "city", "tags"), resolve_after_us=30 * S
    ),
    Rule("company", "halved", "change", _halved, ("limit",), resolve_after_us=60 * S),
    Rule(
        "company",
        "limit-unusual",
        "anomaly",
        lambda v: abs(float(v["score"] or 0)) > 2,
        ("limit",),
        resolve_after_us=70 * S,
    ),
    Rule(
        "company", "unusual", "anomaly", lambda v: abs(float(v["score"] or 0)) > 4, ("staff",), resolve_after_us=90 * S
    ),
    Rule("order", "order-differs", "drift", _always, ("amount",), keep_us=10 * S),
    Rule("order", "order-large", "threshold", _above("amount", 1000), for_us=5 * S),
    Rule("order", "order-status", "change", lambda v: v["new"] == "closed", ("status",), resolve_after_us=3600 * S),
    Rule(
        "order",
        "order-unusual",
        "anomaly",
        lambda v: abs(float(v["score"] or 0)) > 3,
        ("amount",),
        resolve_after_us=50 * S,
    ),
    Rule(
        "ticket",
        "ticket-waiting",
        "threshold",
        lambda v: v["state"] == "open" and _above("hours", 8)(v),
        for_us=20 * S,
        keep_us=10 * S,
    ),
    Rule("ticket", "ticket-moved", "change", _always, ("state",), resolve_after_us=45 * S),
)
OF = {entity: [rule for rule in RULES if rule.entity == entity] for entity in ("company", "order", "ticket")}
NUMBERS = {rule.name: number for rules in OF.values() for number, rule in enumerate(rules)}
"""Where a press stands among rows of one moment: by the rule's place, states first, then by name."""
