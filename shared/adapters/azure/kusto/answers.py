"""The service's values as JSON-like ones: the same as every Analytics gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from azure.kusto.data.response import KustoResponseDataSet

from flockiq.shared.errors import QueryError
from flockiq.shared.ports import Table

_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?Z?")
type Convert = Callable[[object], object]


def table(answer: KustoResponseDataSet) -> Table:
    """The one table that a query asked for; QueryError if it failed half way."""
    if answer.errors_count:
        raise QueryError(" ".join("; ".join(answer.get_exceptions()).split())[:500])
    primary = answer.primary_results
    if not primary:
        raise QueryError("the query answers with no table")
    found = primary[0]
    converts = [_converting(str(column.column_type or "")) for column in found.columns]
    rows = [[convert(value) for convert, value in zip(converts, row, strict=True)] for row in found.raw_rows]
    return Table([str(column.column_name) for column in found.columns], rows)


def _converting(kind: str) -> Convert:
    match kind.lower():
        case "datetime":
            return instant
        case "dynamic":
            return _dynamic
        case "bool" | "boolean":
            return lambda value: None if value is None else bool(value)
        case "real" | "double":
            return lambda value: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return lambda value: value


def instant(value: object) -> object:
    """RFC 3339 with microseconds; the service writes as many of its seven digits as it needs."""
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    return f"{found[1]}.{(found[2] or '')[:6]:0<6}Z" if found else value


def _dynamic(value: object) -> object:
    """What a dynamic value holds; the service sends objects and arrays as JSON, or as its text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
