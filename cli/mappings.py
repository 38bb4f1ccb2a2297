"""Writes eventhouse/mappings.kql, how ingested JSON becomes rows, from what the tables are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import flockiq
from flockiq.shared.tables import Columns, read_tables

EVENTHOUSE = Path(flockiq.__path__[0]) / "eventhouse"
HEAD = """\
// How ingested JSON becomes rows: each key is the column of its name. Streaming ingestion names a mapping.
// Written by `make schemas` from tables.kql.
"""


def mappings(tables: Mapping[str, Columns]) -> str:
    """The script: for each table a JSON mapping that has its name, column by column in the table's order."""
    return HEAD + "".join(f"\n{_mapping(table, columns)}" for table, columns in tables.items())


def _mapping(table: str, columns: Columns) -> str:
    rows = ",\n".join(f"  {json.dumps({'column': name, 'Properties': {'Path': f'$.{name}'}})}" for name in columns)
    return f'.create-or-alter table {table} ingestion json mapping "{table}"\n```\n[\n{rows}\n]\n```\n'


def main() -> None:
    """Write it."""
    (EVENTHOUSE / "mappings.kql").write_text(mappings(read_tables(EVENTHOUSE / "tables.kql")), "utf-8")


if __name__ == "__main__":
    main()
