"""How the service writes answers: frames of version 2 for queries, tables of version 1 for commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_STATUS: Final = (
    ("Timestamp", "datetime"), ("ClientRequestId", "string"), ("ActivityId", "guid"), ("Level", "int"),
    ("LevelName", "string"), ("StatusCode", "int"), ("Payload", "string"),
)  # fmt: skip


def answer(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[dict[str, Any]]:
    """A query's answer; the type of a column is told from its values."""
    kinds = [_kind([row[place] for row in rows]) for place in range(len(columns))]
    written = [[_written(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in rows]
    named = list(zip(columns, kinds, strict=True))
    return _framed(_table(1, "PrimaryResult", "PrimaryResult", named, written), errors=False)


def half() -> list[dict[str, Any]]:
    """An answer whose query failed after its first row."""
    said = {"code": "LimitsExceeded", "message": "Request is invalid.", "@message": "Query result set has exceeded"}
    rows = [["1"], {"OneApiErrors": [{"error": {**said, "@type": "x", "@context": {}, "@permanent": False}}]}]
    return _framed(_table(1, "PrimaryResult", "PrimaryResult", [("x", "string")], rows), errors=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, Any]:
    """A command's answer."""
    named = [{"ColumnName": name, "DataType": "String", "ColumnType": "string"} for name in columns]
    return {"Tables": [{"TableName": "Table_0", "Columns": named, "Rows": rows}]}


def _framed(primary: dict[str, Any], *, errors: bool) -> list[dict[str, Any]]:
    status = ["2026-01-01T00:00:00Z", "id", "id", 4, "Info", 0, "{}"]
    return [
        {"FrameType": "DataSetHeader", "IsProgressive": False, "Version": "v2.0"},
        _table(0, "QueryProperties", "@ExtendedProperties", [("TableId", "int")], []),
        primary,
        _table(2, "QueryCompletionInformation", "QueryCompletionInformation", _STATUS, [status]),
        {"FrameType": "DataSetCompletion", "HasErrors": errors, "Cancelled": False},
    ]


def _table(
    number: int, kind: str, name: str, columns: Sequence[tuple[str, str]], rows: Sequence[object]
) -> dict[str, Any]:
    return {
        "FrameType": "DataTable",
        "TableId": number,
        "TableKind": kind,
        "TableName": name,
        "Columns": [{"ColumnName": column, "ColumnType": type_} for column, type_ in columns],
        "Rows": rows,
    }


def _kind(values: Sequence[object]) -> str:
    found = {type(value) for value in values if value is not None}
    if found == {str} and all(value is None or _INSTANT.fullmatch(str(value)) for value in values):
        return "datetime"
    for kind, types in (("bool", {bool}), ("long", {int}), ("real", {float, int}), ("string", {str})):
        if found <= types and found:
            return kind
    return "dynamic" if found else "string"


def _written(value: object, kind: str) -> object:
    """As the service writes it: instants with as many digits as they need."""
    if kind == "datetime" and isinstance(value, str):
        return value.removesuffix("Z").rstrip("0").rstrip(".") + "Z"
    return value
