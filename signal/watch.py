"""Rules made ready for columns: what each watches, by index, and its compiled condition."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.compile import Expression
from flockiq.shared.lanes import ABSENT, NULL, Bools, Floats, Int64s, LaneType, Scalar, Texts, numbers, value_of
from flockiq.shared.layout import Field

Kind = Literal["threshold", "change", "drift", "anomaly"]

KEY = "key"
"""What conditions and titles call the name of an entity itself."""

BEYOND = 4.0
"""Deviations from what is usual: an anomaly rule without a condition means this."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Watch(NamedTuple):
    """One rule over one entity type. ``names`` are the golden fields its condition reads."""

    number: int  # its bit in the holds word
    name: str
    kind: Kind
    fields: tuple[int, ...]  # the fields a change, drift or anomaly is watched on
    condition: Expression | None
    names: tuple[str, ...]
    for_us: int
    keep_us: int  # a state goes on firing for this long after it ended
    resolve_after_us: int  # an event's alert ends this long after its last match
    severity: Literal["info", "warning", "critical"]
    title: str
    recommend: str
    labels: Mapping[str, str]
    shown: tuple[str, ...]  # names whose values go with the alert
    when: str = ""  # the condition as it is written

    @property
    def is_state(self) -> bool:
        """Whether it holds for a while (threshold, drift) rather than happens (change, anomaly)."""
        return self.kind in ("threshold", "drift")


def column(kind: LaneType, scale: int, lanes: Int64s, texts: Texts) -> Column:
    """A column of lanes as a condition reads it: texts as they are, decimals and floats as float64."""
    null = (lanes == ABSENT) | (lanes == NULL)
    match kind:
        case "string" | "json":
            return Column(lanes, null, texts)
        case "decimal" | "float":
            return Column(numbers(kind, scale, lanes), null)
        case "boolean":
            return Column(lanes == 1, null)
        case "date":
            return Column(np.where(null, 0, lanes) * 86_400_000_000, null)
        case "integer" | "timestamp":
            return Column(np.where(null, 0, lanes), null)


def floats(values: Floats) -> Column:
    """A column of float64 whose NaN are null."""
    return Column(values, np.isnan(values))


def holds(condition: Expression | None, columns: Mapping[str, Column], n: int) -> Bools:
    """Where a condition is true; null is not true, and no condition is always true."""
    if condition is None:
        return np.ones(n, np.bool_)
    answer = condition(columns, n)
    true: Bools = answer.values.astype(np.bool_) & ~answer.null
    return true


def canonical_values(field: Field, lanes: Int64s, texts: Texts) -> Sequence[Scalar]:
    """Canonical values of a column of lanes."""
    if field.kind not in ("string", "json"):
        return [value_of(field.kind, field.scale, lane, texts) for lane in lanes.tolist()]
    found: list[Scalar] = [None] * len(lanes)
    said = np.flatnonzero((lanes != ABSENT) & (lanes != NULL))
    for row, text in zip(said.tolist(), texts.many(lanes[said]), strict=True):
        found[row] = text
    return found


def fill(title: str, values: Mapping[str, Scalar]) -> str:
    """A title with its placeholders filled; what has no value is a dash."""
    parts = list(_parts(title))
    parts[1::2] = [_text(values.get(name)) for name in parts[1::2]]
    return "".join(parts)


@lru_cache(maxsize=1024)
def _parts(title: str) -> tuple[str, ...]:
    """Text and names of placeholders in turns."""
    return tuple(_PLACEHOLDER.split(title))


def _text(value: Scalar) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    return str(value)
