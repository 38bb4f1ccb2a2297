"""The Eventhouse's declarations, read for DuckDB: tables and stored functions.

``eventhouse/tables.kql`` holds ``.create-merge table NAME (column:type, …)`` commands,
``eventhouse/functions/*.kql`` ``.create-or-alter function`` commands. A function whose body
DuckDB can't run has a twin of the same name in ``eventhouse/functions/embedded/``, which stands
in for it here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from duckdb_kql.stored_functions import StoredFunction, parse_functions, split_definitions

from flockiq.shared.errors import ConfigError, Problem

type Columns = Mapping[str, str]
"""A table's columns and their KQL types, in order."""

TYPES: Mapping[str, str] = {
    "bool": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "decimal": "DECIMAL(34, 17)",
    "string": "VARCHAR",
    "datetime": "TIMESTAMP",
    "timespan": "INTERVAL",
    "guid": "UUID",
    "dynamic": "JSON",
}
"""KQL scalar types and the DuckDB types that duckdb-kql takes them for."""

_TABLE = re.compile(r"^\.create(?:-merge)?\s+table\s+(\w+)\s*\(([^)]*)\)", re.MULTILINE)
_COLUMN = re.compile(r"\s*(\w+)\s*:\s*(\w+)\s*")


def read_tables(path: Path) -> Mapping[str, Columns]:
    """Every declared table. ConfigError names the line of a declaration that can't be read."""
    text = _text(path)
    tables: dict[str, dict[str, str]] = {}
    problems: list[Problem] = []
    for found in _TABLE.finditer(text):
        columns = tables.setdefault(found[1], {})
        for column in found[2].split(","):
            declared = _COLUMN.fullmatch(column)
            if declared is None or declared[2] not in TYPES:
                line = text.count("\n", 0, found.start()) + 1
                wrong = f"{column.strip()!r} declares no column"
                problems.append(Problem(str(path), line, found[1], wrong, f"name:type, of {', '.join(TYPES)}"))
            else:
                columns[declared[1]] = declared[2]
    if problems:
        raise ConfigError(problems)
    return tables


def read_functions(folder: Path) -> Mapping[str, StoredFunction]:
    """Every stored function by name, twins in place of those they stand in for. ConfigError names the file."""
    functions: dict[str, StoredFunction] = {}
    for path in [*sorted(folder.glob("*.kql")), *sorted((folder / "embedded").glob("*.kql"))]:
        try:
            parsed = parse_functions(split_definitions(_text(path)))
        except Exception as error:  # the parser's errors have no common root
            raise ConfigError([Problem(str(path), 0, "", str(error), ".create-or-alter function …")]) from error
        functions.update((parsed or {})[None])
    return functions


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError([Problem(str(path), 0, "", f"can't be read: {error}", "KQL in UTF-8")]) from error
