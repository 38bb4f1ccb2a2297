"""The Eventhouse's tables as eventhouse/tables.kql declares them, and rows held against them.

It holds ``.create-merge table NAME (column:type, …)`` commands; whoever keeps the tables reads them there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flockiq.shared.errors import BadRecord, ConfigError, NotFound, Problem
from flockiq.shared.faults import UNREADABLE

type Columns = Mapping[str, str]
"""A table's columns and their KQL types, in order."""

KINDS = ("bool", "int", "long", "real", "decimal", "string", "datetime", "timespan", "guid", "dynamic")
"""KQL's scalar types."""

_TABLE = re.compile(r"^\.create(?:-merge)?\s+table\s+(\w+)\s*\(([^)]*)\)", re.MULTILINE)
_COLUMN = re.compile(r"\s*(\w+)\s*:\s*(\w+)\s*")
_line = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_tables(path: Path) -> Mapping[str, Columns]:
    """Every declared table. ConfigError names the line of a declaration that can't be read."""
    text = kql(path)
    tables: dict[str, dict[str, str]] = {}
    problems: list[Problem] = []
    for found in _TABLE.finditer(text):
        columns = tables.setdefault(found[1], {})
        for column in found[2].split(","):
            declared = _COLUMN.fullmatch(column)
            if declared is None or declared[2] not in KINDS:
                line = text.count("\n", 0, found.start()) + 1
                wrong = f"{column.strip()!r} declares no column"
                problems.append(Problem(str(path), line, found[1], wrong, f"name:type, of {', '.join(KINDS)}"))
            else:
                columns[declared[1]] = declared[2]
    if problems:
        raise ConfigError(problems)
    return tables


def known(tables: Mapping[str, Columns], table: str) -> Columns:
    """A table's columns; NotFound if it is not declared."""
    if table not in tables:
        raise NotFound(f"there is no table {table!r}; tables.kql in the Eventhouse's folder declares the tables")
    return tables[table]


def lines(tables: Mapping[str, Columns], table: str, text: bytes) -> list[bytes]:
    """NDJSON rows of a table. NotFound if it is not declared; BadRecord names the line of a bad row."""
    columns = known(tables, table).keys()
    rows = [line for line in text.splitlines() if line and not line.isspace()]
    for number, line in enumerate(rows, 1):
        try:
            unknown = _line.decode(line).keys() - columns
        except UNREADABLE as error:
            raise BadRecord(f"row {number} is no JSON object: {error}", field=table) from error
        if unknown:
            names = ", ".join(sorted(unknown))
            raise BadRecord(f"row {number} has {names}: the table has no such column", field=table)
    return rows


def kql(path: Path) -> str:
    """A file of KQL; ConfigError if it can't be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError([Problem(str(path), 0, "", f"can't be read: {error}", "KQL in UTF-8")]) from error
