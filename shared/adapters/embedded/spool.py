"""Rows on their way to the DuckDB file, which one process at a time can hold: others leave theirs in a sqlite file.

The process that holds DuckDB takes them in, in order (``Spool.first``, ``Spool.forget``). A row is on disk when
``ingest`` returns, and in DuckDB a moment later; a crash between the two brings it twice, as rows may come.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import zstandard

from flockiq.shared.adapters.embedded.database import Database
from flockiq.shared.adapters.embedded.insertion import Insertion
from flockiq.shared.errors import QueryError, StoreUnavailable
from flockiq.shared.ports import Table
from flockiq.shared.tables import read_tables

TAKEN_BYTES = 8_000_000  # of packed rows at a time
MOST_BYTES = 1 << 29  # that may wait; whoever has more waits for them to be taken, and with it what it folds
LEAVE_S = 60.0  # how long it waits, before it is to come again
FLUSH_S = 30.0  # how long a flush waits for the process that holds DuckDB
_LOOK_S = 0.02

SCHEMA = """
CREATE TABLE spooled (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, columns INTEGER NOT NULL, body BLOB NOT NULL)
"""


class Spooled(NamedTuple):
    """Rows of one table, as columns or as NDJSON. ``size``: of them as they are kept, in bytes."""

    number: int
    table: str
    columns: bool
    rows: bytes
    size: int


class Spool:
    """The file between the processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, SCHEMA)

    async def leave(self, table: str, rows: bytes, *, columns: bool) -> int:
        """Rows for the process that holds DuckDB; durable when it returns, with their number.

        StoreUnavailable if MOST_BYTES wait already and nobody takes them.
        """
        await self._room()
        body = rows if columns else await asyncio.to_thread(zstandard.ZstdCompressor(level=1).compress, rows)

        def write(connection: sqlite3.Connection) -> int:
            given = (table, columns, body)
            return int(
                connection.execute("INSERT INTO spooled (name, columns, body) VALUES (?, ?, ?)", given).lastrowid or 0
            )

        return await self._database.write(write)

    async def _room(self) -> None:
        """Wait until no more than MOST_BYTES are in the file."""
        until = time.monotonic() + LEAVE_S
        while await self._database.read(_used) > MOST_BYTES:
            if time.monotonic() > until:
                raise StoreUnavailable(
                    f"{self.path}: {MOST_BYTES:,} bytes of rows wait for the history; is the process that holds DuckDB "
                    "running, and is its disk well?"
                )
            await asyncio.sleep(_LOOK_S)

    async def first(self) -> Sequence[Spooled]:
        """The oldest rows, about TAKEN_BYTES of them; [] when there are none."""
        if not await asyncio.to_thread(self.path.exists):
            return []

        def read(connection: sqlite3.Connection) -> list[tuple[int, str, int, bytes]]:
            found: list[tuple[int, str, int, bytes]] = []
            size = 0
            for row in connection.execute("SELECT number, name, columns, body FROM spooled ORDER BY number"):
                found.append(row)
                size += len(row[3])
                if size >= TAKEN_BYTES:
                    break
            return found

        return await asyncio.to_thread(_opened, await self._database.read(read))

    async def forget(self, number: int) -> None:
        """Rows up to this number are in DuckDB."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM spooled WHERE number <= ?", (number,))

        await self._database.write(write)

    async def waiting(self) -> int:
        """How many ingestions wait."""
        if not await asyncio.to_thread(self.path.exists):
            return 0
        (count,) = await self._database.read(
            lambda connection: connection.execute("SELECT count(*) FROM spooled").fetchone()
        )
        return int(count)

    async def scrub(self) -> None:
        """Leave nothing in the file of what was taken out of it."""
        if await asyncio.to_thread(self.path.exists):
            await self._database.scrub()

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()


def _used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something, without counting rows."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _opened(found: Sequence[tuple[int, str, int, bytes]]) -> list[Spooled]:
    """What was found, with lines of JSON as they were; columns are kept packed (shared.tabular), as they came."""
    decompress = zstandard.ZstdDecompressor().decompress
    return [
        Spooled(number, name, bool(columns), body if columns else decompress(body), len(body))
        for number, name, columns, body in found
    ]


class SpooledAnalytics:
    """Analytics of a process beside the one that holds the DuckDB file: it can tell, and ask nothing."""

    def __init__(self, spool: Spool, eventhouse: Path) -> None:
        self._spool = spool
        self._eventhouse = eventhouse
        self._insertion: Insertion | None = None

    async def ingest(self, table: str, rows: bytes) -> None:
        """See ``Analytics.ingest``; errors as ``DuckdbAnalytics`` raises them."""
        if rows.strip():
            (await self._checking()).lines(table, rows)
            await self._spool.leave(table, rows, columns=False)

    async def ingest_columns(self, table: str, columns: bytes) -> None:
        """See ``TakesColumns.ingest_columns``."""
        (await self._checking()).named(table, columns)
        await self._spool.leave(table, columns, columns=True)

    async def query(self, kql: str, parameters: Mapping[str, str | int | float] | None = None) -> Table:  # noqa: ARG002 - the port's
        """Never answers."""
        raise QueryError("this process does not hold the DuckDB file; ask the one that does, over HTTP")

    async def flush(self) -> None:
        """See ``Analytics.flush``. StoreUnavailable if nobody takes the rows in."""
        until = time.monotonic() + FLUSH_S
        while await self._spool.waiting():
            if time.monotonic() > until:
                raise StoreUnavailable(f"{self._spool.path}: rows wait; is the process that holds DuckDB running?")
            await asyncio.sleep(_LOOK_S)

    async def remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:  # noqa: ARG002 - the port's
        """Never removes."""
        raise QueryError("this process does not hold the DuckDB file; ask the one that does, over HTTP")

    async def close(self) -> None:
        """See ``Analytics.close``."""
        await self._spool.close()

    async def _checking(self) -> Insertion:
        if self._insertion is None:
            self._insertion = Insertion(await asyncio.to_thread(read_tables, self._eventhouse / "tables.kql"))
        return self._insertion
