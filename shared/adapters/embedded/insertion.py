"""Rows into DuckDB: columns as they are, lines of JSON converted by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import batched

import arro3.core as arrow
import duckdb
import msgspec

from flockiq.shared.adapters.embedded.tables import TYPES
from flockiq.shared.errors import BadRecord
from flockiq.shared.tables import Columns, known, lines
from flockiq.shared.tabular import names, unpacked

GROUP_ROWS = 4096  # rows of JSON in one statement: DuckDB slows down over longer lists

type Prepared = arrow.Table | list[bytes]
"""Rows ready to be written: columns, or lines of JSON."""


class Insertion:
    """Writes rows to declared tables."""

    def __init__(self, tables: Mapping[str, Columns]) -> None:
        self._tables = tables

    def columns(self, table: str, packed: bytes) -> arrow.Table:
        """Columns to be written. NotFound for an unknown table; BadRecord for a column that it lacks."""
        self.named(table, packed)
        return unpacked(packed)

    def named(self, table: str, packed: bytes) -> None:
        """See that there is such a table, with such columns; errors as of ``columns``."""
        unknown = set(names(packed)) - known(self._tables, table).keys()
        if unknown:
            raise BadRecord(f"has {', '.join(sorted(unknown))}: the table has no such column", field=table)

    def lines(self, table: str, text: bytes) -> list[bytes]:
        """NDJSON to be written. NotFound for an unknown table; BadRecord names the line of a bad row."""
        return lines(self._tables, table, text)

    def like(self, table: str, rows: Sequence[Mapping[str, str]]) -> tuple[str, list[str]]:
        """The condition that picks rows with all the values of one of ``rows``, and its parameters. As ``columns``."""
        unknown = {name for row in rows for name in row} - known(self._tables, table).keys()
        if unknown:
            raise BadRecord(f"has no {', '.join(sorted(unknown))}", field=table)
        either = " OR ".join("(" + " AND ".join(f'"{name}" = ?' for name in row) + ")" for row in rows)
        return either, [value for row in rows for value in row.values()]

    def write(self, connection: duckdb.DuckDBPyConnection, rows: Iterable[tuple[str, Prepared]]) -> None:
        """Write rows by table in the transaction under way. Raises duckdb.Error."""
        plain: dict[tuple[str, str], list[arrow.RecordBatch]] = defaultdict(list)
        lines: dict[str, list[bytes]] = defaultdict(list)
        for table, given in rows:
            if isinstance(given, list):
                lines[table] += given
            else:
                plain[table, str(given.schema)] += given.to_batches()  # another version may tell a table in other types
        for (table, _), batches in plain.items():
            given = arrow.Table.from_batches(batches)
            connection.register("given", given)
            try:
                connection.execute(_plain(table, self._tables[table], given.column_names))
            finally:
                connection.unregister("given")
        for table, texts in lines.items():
            columns = self._tables[table]
            statement, shape = _statement(table, columns, f"({_FROM_JSON})"), _shape(columns)
            for some in batched(texts, GROUP_ROWS, strict=False):
                connection.execute(statement, [shape, [line.decode() for line in some]])


_FROM_JSON = "SELECT unnest(from_json(row, ?)) FROM (SELECT unnest(?::VARCHAR[]) AS row)"


def _shape(columns: Columns) -> str:
    """A row's type for ``from_json``: datetimes as text, since their offset would be dropped."""
    kinds = {name: "VARCHAR" if kind in ("datetime", "timespan") else TYPES[kind] for name, kind in columns.items()}
    return msgspec.json.encode(kinds).decode()


def _plain(table: str, columns: Columns, given: Sequence[str]) -> str:
    """The INSERT of columns that are what was declared."""
    texts = [name for name, kind in columns.items() if kind == "string" and name not in given]
    names = ", ".join(f'"{name}"' for name in [*given, *texts])
    values = ", ".join([*(f'"{name}"' for name in given), *("''" for _ in texts)])
    return f'INSERT INTO "{table}" ({names}) SELECT {values} FROM given'  # noqa: S608 - names are declared


def _statement(table: str, columns: Columns, given: str) -> str:
    """The INSERT of ``given`` rows; names come from the declarations, which are words."""
    values = ", ".join(_value(name, kind) for name, kind in columns.items())
    names = ", ".join(f'"{name}"' for name in columns)
    return f'INSERT INTO "{table}" ({names}) SELECT {values} FROM {given}'  # noqa: S608 - see above


def _value(name: str, kind: str) -> str:
    match kind:
        case "string":
            return f"""coalesce("{name}", '')"""
        case "datetime":
            return f"""TRY_CAST("{name}" AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"""
        case "timespan":
            return f'TRY_CAST("{name}" AS INTERVAL)'
        case _:
            return f'"{name}"'
