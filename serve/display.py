"""How values look to a person: Jinja filters. Everything they return is escaped by the template.

Ages are left to the browser (static/page.js counts them up), so that the same facts always render
to the same text and a poll that brings nothing new changes nothing on the screen.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

NONE = "\u2013"  # a dash: there is no value
_DECIMAL = re.compile(r"[0-9]{4,30}\.[0-9]{1,10}")  # an amount; a number without a fraction may be a key
_LONGEST = 300  # characters of a value shown; sources may send anything

WHY = {
    "only": "only source with a value",
    "first": "no rule told them apart",
    "rank": "ranks first",
    "recent": "most recent",
    "complete": "most complete record",
    "longest": "longest",
    "highest": "highest",
    "lowest": "lowest",
    "frequent": "most sources agree",
    "together": "goes with its amount",
    "override": "set by hand",
}
"""What each survivorship rule means, in words."""


def words(name: str) -> str:
    """A name from config as words: ``credit-limit-halved`` is "Credit limit halved"."""
    text = name.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


def plain(value: object) -> str:
    """A value as a person reads it; a dash when there is none."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    text = str(value)
    if _DECIMAL.fullmatch(text):
        whole, _, fraction = text.partition(".")
        return f"{int(whole):,}.{fraction}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def number(value: int) -> str:
    """A count with separators."""
    return f"{value:,}"


def milliseconds(ms: float | None) -> str:
    """A latency: "840 ms", "1.9 s"; a dash when there is none."""
    if ms is None:
        return NONE
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:,.1f} s"  # noqa: PLR2004 - a second


class Instant(NamedTuple):
    """A time for a <time> element: machine form, and a person's form until the browser counts the age."""

    machine: str
    person: str


def instant(when: int | str) -> Instant | None:
    """µs since the epoch or RFC 3339 text; None for 0, "" and what is no time."""
    try:
        moment = dt.datetime.fromisoformat(when) if isinstance(when, str) else _moment(when)
    except (ValueError, OverflowError):
        return None
    if moment is None:
        return None
    moment = moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)
    return Instant(f"{moment:%Y-%m-%dT%H:%M:%S}Z", f"{moment:%Y-%m-%d %H:%M:%S} UTC")


def _moment(us: int) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(us / 1e6, dt.UTC) if us else None


class Bar(NamedTuple):
    """One bar of a small chart, in SVG units."""

    x: int
    y: int
    height: int


def bars(values: Sequence[int], height: int = 20) -> list[Bar]:
    """Bars four units apart, the highest value full height, none below one unit.

    Heights go by the square root, so that a first reading does not flatten the minutes after it.
    """
    top = max(values, default=0) or 1
    heights = [max(1, round(math.sqrt(value / top) * height)) for value in values]
    return [Bar(index * 4, height - each, each) for index, each in enumerate(heights)]


FILTERS = {
    "words": words,
    "plain": plain,
    "number": number,
    "milliseconds": milliseconds,
    "instant": instant,
    "bars": bars,
}
