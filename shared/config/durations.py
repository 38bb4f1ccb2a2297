"""Lengths of time as people write them: ``10s``, ``5m``, ``1h30m``, ``7d``; microseconds inside."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
LONGEST_US = 3660 * UNITS["d"]

_PART = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_ALLOWED = "a number and a unit, such as 10s, 5m, 24h, 7d or 1h30m"


def parse_duration(text: object) -> int:
    """Microseconds of a written duration. ValueError says what is allowed."""
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        raise ValueError(f"{str(text)[:40]!r} is not a duration: write {_ALLOWED}")
    total = sum(int(number) * UNITS[unit] for number, unit in _PART.findall(text))
    if total > LONGEST_US:
        raise ValueError(f"{text!r} is longer than ten years")
    return total


def format_duration(us: int) -> str:
    """A duration as people write it, exact to the millisecond: 90_000_000 is ``1m30s``."""
    if us < UNITS["ms"]:
        return "0s"
    parts: list[str] = []
    rest = us
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    Field(ge=0),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]{1,9}(ms|s|m|h|d|w))+$", "examples": ["10s", "5m", "24h"]}),
]
"""A pydantic field that people write as text and the code reads in microseconds."""
