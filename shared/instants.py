"""Dates and times as business systems write them, read into UTC.

Taken: ISO 8601 / RFC 3339, SAP's ``/Date(ms)/`` and ``/Date(ms+minutes)/`` (OData V2 JSON), epoch
seconds or milliseconds as number or text, and for dates ABAP's ``YYYYMMDD``. An epoch number below
10^11 is seconds (until the year 5138), from there on milliseconds (since March 1973).
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EARLIEST_US = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z
LATEST_US = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_FIRST_MILLISECONDS = 100_000_000_000
_LONGEST_TEXT = 40

_SAP = re.compile(r"/Date\((-?[0-9]{1,15})([+-][0-9]{1,4})?\)/")
_NUMBER = re.compile(r"-?[0-9]{9,15}(?:\.[0-9]{1,9})?")
_ABAP_DATE = re.compile(r"[0-9]{8}")
_ISO = re.compile(
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[Tt ][0-9:]{2,8}(?:[.,][0-9]{1,12})?(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


@lru_cache(maxsize=256)
def zone_info(name: str) -> dt.tzinfo:
    """The IANA time zone called ``name``, such as Europe/Berlin. ValueError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone called {name[:40]!r}") from error


def instant_us(value: object, zone: dt.tzinfo | None = None) -> int:
    """Microseconds since the epoch. Text without a zone is in ``zone``. ValueError says what is wrong."""
    if isinstance(value, str):
        text = value.strip()
        sap = _SAP.fullmatch(text)
        if sap:
            return _bounded(int(sap[1]) * 1000)
        if _NUMBER.fullmatch(text):
            return _epoch_us(float(text) if "." in text else int(text))
        moment = _iso(text)
        if moment.tzinfo is None:
            if zone is None:
                raise ValueError(
                    "has no time zone (end it with Z or an offset such as +01:00, or give the field a zone)"
                )
            moment = moment.replace(tzinfo=zone)
        return _bounded((moment - _EPOCH) // _MICROSECOND)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _epoch_us(value)
    raise ValueError("is not a time")


def calendar_date(value: object, zone: dt.tzinfo | None = None) -> dt.date:
    """The calendar date. ValueError says what is wrong.

    A time stands for the date it names where it was written; with ``zone``, for the date it was there
    (systems that keep dates as local midnight in UTC need it).
    """
    if isinstance(value, str):
        text = value.strip()
        if _ABAP_DATE.fullmatch(text):
            return _iso(text).date()
        sap = _SAP.fullmatch(text)
        if sap is None and not _NUMBER.fullmatch(text):
            moment = _iso(text)
            return moment.astimezone(zone).date() if zone and moment.tzinfo else moment.date()
        if sap and sap[2] and zone is None:
            return from_us(_bounded(instant_us(text) + int(sap[2]) * 60_000_000)).date()
    moment = from_us(instant_us(value, zone))
    return moment.astimezone(zone).date() if zone else moment.date()


def from_us(us: int) -> dt.datetime:
    """The UTC datetime of microseconds since the epoch."""
    return _EPOCH + dt.timedelta(microseconds=us)


def rfc3339(us: int) -> str:
    """RFC 3339 in UTC with microseconds: ``2024-01-31T08:00:00.000000Z``."""
    return from_us(us).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _iso(text: str) -> dt.datetime:
    if len(text) > _LONGEST_TEXT or not _ISO.fullmatch(text):
        raise ValueError("is not a date or time")
    try:
        return dt.datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"is not a date or time: {error}"[:120]) from error


def _epoch_us(number: float) -> int:
    if not -LATEST_US <= number <= LATEST_US:  # NaN and infinity fail this too
        raise ValueError("is outside the years 1 to 9999")
    scale = 1_000_000 if abs(number) < _FIRST_MILLISECONDS else 1_000
    return _bounded(round(number * scale))


def _bounded(us: int) -> int:
    if not EARLIEST_US <= us <= LATEST_US:
        raise ValueError("is outside the years 1 to 9999")
    return us
