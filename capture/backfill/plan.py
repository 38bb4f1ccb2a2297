"""A stream's past cut into slices, and a slice that is too large cut in two. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import batched, pairwise, takewhile
from typing import Final

from flockiq.capture.protocols.phrases import written
from flockiq.shared.backfills import Span
from flockiq.shared.config.backfill import MOST_SLICES, ByIds, ByKey, ByTime, Sliced
from flockiq.shared.config.durations import UNITS
from flockiq.shared.instants import instant_us

EARLIEST: Final = "2000-01-01"  # few records are older; those there are have a slice of their own
PARTS: Final = 32  # of a time that config does not cut
AHEAD_US: Final = UNITS["d"]  # the last slice ends so far ahead: a source's clock may run ahead of ours
_DIGITS: Final = "0123456789abcdef"
_SIGNS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def spans(way: Sliced, since_us: int, now_us: int) -> list[Span]:
    """The slices of a backfill, oldest or smallest first."""
    match way:
        case ByTime():
            return list(_times(way, since_us, now_us))
        case ByKey():
            return [Span(first=first, last=last) for first, last in pairwise(_bounds(way))]
        case ByIds():
            return [Span(ids=some) for some in batched(way.ids, way.at_a_time, strict=False)]
    return [Span()]


def halves(way: Sliced, span: Span) -> list[Span]:
    """A slice as two smaller ones; [] if it can't be made smaller."""
    match way:
        case ByTime():
            return _shorter(way, span)
        case ByKey():
            middle = _between(span.first, span.last, numeric=way.numeric)
            return [Span(first=span.first, last=middle), Span(first=middle, last=span.last)] if middle else []
        case ByIds() if len(span.ids) > 1:
            half = len(span.ids) // 2
            return [Span(ids=span.ids[:half]), Span(ids=span.ids[half:])]
    return []


def _times(way: ByTime, since_us: int, now_us: int) -> Iterator[Span]:
    """Slices that begin and end at whole seconds: not every source takes a fraction of one."""
    since_us -= since_us % UNITS["s"]
    start_us = instant_us(way.start or EARLIEST, dt.UTC)
    first_us = max(start_us, since_us)
    end_us = -(-(now_us + AHEAD_US) // UNITS["s"]) * UNITS["s"]
    if not way.start and since_us < start_us:
        yield Span(since_us=since_us, until_us=min(start_us, end_us))
    # A time beyond now is left to the polls; one that is only shortly ago is one slice.
    length = way.slice or max((end_us - first_us) // PARTS, UNITS["d"])
    length = max(length, (end_us - first_us) // MOST_SLICES)
    length += -length % UNITS["s"]
    while first_us < end_us:
        until_us = min(first_us + length, end_us)
        yield Span(since_us=first_us, until_us=until_us)
        first_us = until_us


def _shorter(way: ByTime, span: Span) -> list[Span]:
    middle_us = (span.since_us + span.until_us) // 2
    middle_us -= middle_us % UNITS["s" if span.until_us - span.since_us > UNITS["m"] else "ms"]
    told = [written(us, way.format) for us in (span.since_us, middle_us, span.until_us)]
    if len(set(told)) < len(told):  # as the source is told, one of the two would be empty
        return []
    return [Span(since_us=span.since_us, until_us=middle_us), Span(since_us=middle_us, until_us=span.until_us)]


def _bounds(way: ByKey) -> list[str]:
    """Where slices begin and end."""
    if not way.numeric:
        return list(way.bounds)
    numbers = list(map(int, way.bounds))
    inner = {
        low + (high - low) * part // way.parts for low, high in pairwise(numbers) for part in range(way.parts)
    }  # a range of fewer numbers than parts has fewer parts
    return [str(number) for number in sorted(inner | {numbers[-1]})]


def _between(first: str, last: str, *, numeric: bool) -> str:
    """A key about halfway between two; "" if none is found.

    Text is taken for digits of a fraction, after what both begin with. Whatever order a source has, no
    key is lost by that: what is not before the key between comes after it.
    """
    if numeric:
        middle = (int(first) + int(last)) // 2
        return str(middle) if middle > int(first) else ""
    common = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    first, last = first.removeprefix(common), last.removeprefix(common)
    signs = _DIGITS if all(each in _DIGITS for each in (first + last).lower()) else _SIGNS
    length = max(len(first), len(last)) + 1
    low, high = _number(first, signs, length, 0), _number(last, signs, length, len(signs) - 1)
    middle = (low + high) // 2
    if not low < middle < high:
        return ""
    text = ""
    for _ in range(length):
        middle, digit = divmod(middle, len(signs))
        text = signs[digit] + text
    between = text.rstrip(signs[0])
    return common + between if first.lower() < between < last.lower() else ""


def _number(text: str, signs: str, length: int, other: int) -> int:
    """Text as a fraction in these signs, as a whole number of so many digits; what is no sign counts as ``other``."""
    number = 0
    for place in range(length):
        sign = text[place].lower() if place < len(text) else signs[0]
        number = number * len(signs) + (signs.index(sign) if sign in signs else other)
    return number
