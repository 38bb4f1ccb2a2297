"""The Eventhouse's declarations, read for DuckDB: its types, and stored functions.

``eventhouse/functions/*.kql`` holds ``.create-or-alter function`` commands. A function whose body DuckDB can't run has
a twin of the same name in ``eventhouse/functions/embedded/``, which stands in for it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from duckdb_kql.stored_functions import StoredFunction, parse_functions, split_definitions

from flockiq.shared.errors import ConfigError, Problem
from flockiq.shared.tables import kql

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

COMPRESSION: Mapping[str, str] = {"dynamic": "USING COMPRESSION zstd"}
"""How columns of a kind are kept where DuckDB would choose otherwise: golden records take a third of the space so,
and half the time."""


def read_functions(folder: Path) -> Mapping[str, StoredFunction]:
    """Every stored function by name, twins in place of those they stand in for. ConfigError names the file."""
    functions: dict[str, StoredFunction] = {}
    for path in [*sorted(folder.glob("*.kql")), *sorted((folder / "embedded").glob("*.kql"))]:
        try:
            parsed = parse_functions(split_definitions(kql(path)))
        except Exception as error:  # the parser's errors have no common root
            raise ConfigError([Problem(str(path), 0, "", str(error), ".create-or-alter function …")]) from error
        functions.update((parsed or {})[None])
    return functions
