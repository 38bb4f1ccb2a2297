"""DuckDB's values as JSON-like ones, the way the Eventhouse answers over HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec

type Convert = Callable[[object], object]

_json = msgspec.json.Decoder()


class Kind(msgspec.Struct, frozen=True):
    """What is used of a DuckDB column's type."""

    name: str
    id: str
    children: tuple[Kind, ...] = ()

    @classmethod
    def of(cls, declared: object) -> Kind:
        """The kind of a ``DuckDBPyType``."""
        identity = str(getattr(declared, "id", ""))
        inner = getattr(declared, "children", ()) if identity in ("list", "array") else ()
        return cls(str(declared), identity, tuple(cls.of(child) for key, child in inner if key == "child"))


def rows(kinds: Sequence[Kind], found: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Rows with every value converted by its column's kind."""
    columns = [_convert(kind) for kind in kinds]
    return [[convert(value) for convert, value in zip(columns, row, strict=True)] for row in found]


def _convert(kind: Kind) -> Convert:
    if kind.name == "JSON":
        return _parsed
    if kind.children:
        inner = _convert(kind.children[0])
        return lambda value: [inner(item) for item in value] if isinstance(value, (list, tuple)) else value
    return plain


def _parsed(value: object) -> object:
    """A dynamic value; text that is no JSON (DuckDB lets none in) stands as it is."""
    if not isinstance(value, str):
        return plain(value)
    try:
        return _json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value


def plain(value: object) -> object:
    """One value: timestamps as RFC 3339 text in UTC, timespans as KQL's, not-a-number as text."""
    match value:
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case datetime() | timedelta() | float() | Decimal() | UUID():
            return _written(value)
        case _:
            return value


def _written(value: datetime | timedelta | float | Decimal | UUID) -> str | float:
    match value:
        case datetime():
            instant = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return f"{instant.isoformat(timespec='microseconds')}Z"
        case timedelta():
            return _timespan(value)
        case float() if math.isfinite(value):
            return value
        case float():
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case _:
            return str(value)


def _timespan(value: timedelta) -> str:
    """``[-][d.]hh:mm:ss[.fffffff]``, as Kusto writes it (its ticks are 100 ns)."""
    whole = abs(value)
    days, seconds = whole.days, whole.seconds
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    fraction = f".{whole.microseconds:06}0" if whole.microseconds else ""
    return f"{'-' if value < timedelta() else ''}{f'{days}.' if days else ''}{text}{fraction}"
