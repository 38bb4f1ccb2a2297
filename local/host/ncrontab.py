"""NCRONTAB, the schedule language of timer triggers.

``{second} {minute} {hour} {day} {month} {day of week}``, or five fields that fire at second 0.
It is not Vixie's cron: a day must satisfy the day *and* the day-of-week field, Sunday is 0 and
never 7, and ``a/n`` runs from ``a`` to the field's end. Times are UTC, Azure's default.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: Sequence[str] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)

# Every pair of a date and a weekday comes round within this many years, also over a 1900 or 2100.
_HORIZON_YEARS = 40


class Schedule:
    """When a timer fires. ValueError, naming the field, if ``expression`` is not NCRONTAB."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        parts = expression.split()
        if len(parts) == len(_FIELDS) - 1:
            parts.insert(0, "0")
        if len(parts) != len(_FIELDS):
            raise ValueError(f"it has {len(parts)} fields; there are six, or five without the seconds")
        sets = [_values(field, part) for field, part in zip(_FIELDS, parts, strict=True)]
        self._seconds, self._minutes, self._hours = (sorted(values) for values in sets[:3])
        self._days, self._months, self._weekdays = sets[3:]
        self.next(datetime(2000, 1, 1, tzinfo=UTC))  # 30 February never comes: say so now

    def next(self, after: datetime) -> datetime:
        """The first occurrence strictly later than ``after`` (aware). ValueError if there is none."""
        moment = after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        limit = moment.year + _HORIZON_YEARS
        while moment.year <= limit:
            if moment.month not in self._months:
                moment = _midnight((moment.replace(day=1) + timedelta(days=32)).replace(day=1))
            elif not self._fires_on(moment) or (found := self._time_of_day(moment)) is None:
                moment = _midnight(moment + timedelta(days=1))
            else:
                return found
        raise ValueError("no date satisfies both its day and its month")

    def is_denser_than(self, interval: timedelta, after: datetime) -> bool:
        """Whether any two of the next ten occurrences are closer together than ``interval``."""
        occurrences = [self.next(after)]
        while len(occurrences) < 10:  # noqa: PLR2004 - as many as Azure's host looks at
            occurrences.append(self.next(occurrences[-1]))
        return any(later - earlier < interval for earlier, later in pairwise(occurrences))

    def _fires_on(self, day: datetime) -> bool:
        return day.day in self._days and day.isoweekday() % 7 in self._weekdays

    def _time_of_day(self, start: datetime) -> datetime | None:
        """The first occurrence on ``start``'s day that is not before it."""
        for hour in (h for h in self._hours if h >= start.hour):
            first_minute = start.minute if hour == start.hour else 0
            for minute in (m for m in self._minutes if m >= first_minute):
                same = (hour, minute) == (start.hour, start.minute)
                for second in self._seconds:
                    if not same or second >= start.second:
                        return start.replace(hour=hour, minute=minute, second=second)
        return None


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0)


_ITEM = re.compile(r"(?:(?P<all>\*)|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?")


def _values(field: _Field, text: str) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(f"its {field.name} is {text!r}; write numbers, *, a-b, */n or lists of them")
        step = int(match["step"] or 1)
        if match["all"]:
            low, high = field.low, field.high
        else:
            low = _number(field, match["low"])
            # "5/15" runs on to the end of the field, as NCrontab reads it.
            high = _number(field, match["high"]) if match["high"] else field.high if match["step"] else low
        if low > high or step < 1:
            raise ValueError(f"its {field.name} is {text!r}; a range counts up, and a step is at least 1")
        values.update(range(low, high + 1, step))
    return frozenset(values)


_SHORTEST_NAME = 3


def _number(field: _Field, token: str) -> int:
    if token.isascii() and token.isdecimal():
        number = int(token)
        if field.low <= number <= field.high:
            return number
    elif len(token) >= _SHORTEST_NAME:
        for index, name in enumerate(field.names):
            if name.startswith(token.lower()):
                return index + field.low
    named = " or a name" if field.names else ""
    raise ValueError(f"its {field.name} can't be {token!r}; it is {field.low} to {field.high}{named}")
