"""The Eventhouse on one machine: KQL over a DuckDB file, through duckdb-kql.

Rows are on disk when ``ingest`` returns: in the spool, from where they come into DuckDB many at a time, which costs
half of what it costs batch by batch: when somebody asks, when TAKEN_BYTES of them wait, and when ``local/history.py``
finds that no more come, or that they are old.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import batched
from pathlib import Path
from textwrap import shorten

import duckdb
import duckdb_kql
from duckdb_kql.engine import schema as read_schema
from duckdb_kql.params import bind
from duckdb_kql.stored_functions import StoredFunction

from flockiq.shared.adapters.embedded.answers import Kind, rows
from flockiq.shared.adapters.embedded.duckdbfile import (
    MAX_MESSAGE,
    USE,
    declare,
    opened,
    refusal,
    rewrite,
    summary,
    unavailable,
)
from flockiq.shared.adapters.embedded.insertion import Insertion
from flockiq.shared.adapters.embedded.intake import TAKEN_BYTES, Intake
from flockiq.shared.adapters.embedded.spool import SPOOL, Spool
from flockiq.shared.adapters.embedded.tables import read_functions
from flockiq.shared.errors import QueryError, StoreUnavailable, Undeclared
from flockiq.shared.ports import Table
from flockiq.shared.tables import read_tables

NICE = 10  # of the thread that writes: a tenth of the share of one that folds
MAX_QUERY = 100_000  # characters of KQL
MAX_ROWS = 500_000  # of an answer: Kusto's own limit
_REMOVED = 200  # conditions of one DELETE
_QUERIES = 2  # at once

log = logging.getLogger("flockiq.history")


class _Run:
    """A query on its way, which any thread can stop."""

    def __init__(self) -> None:
        self.cursor: duckdb.DuckDBPyConnection | None = None
        self.stopped = False

    def stop(self) -> None:
        """Stop it now, or before it begins."""
        self.stopped = True
        if self.cursor is not None:
            with contextlib.suppress(duckdb.Error):  # it has ended meanwhile
                self.cursor.interrupt()


class DuckdbAnalytics:
    """Analytics over ``<data>/analytics.duckdb``, which one process at a time can hold.

    This process and others leave their rows beside it. ``eventhouse`` is the folder of tables.kql and functions/. A
    query may run for ``timeout_s``.
    """

    def __init__(self, path: Path, eventhouse: Path, *, timeout_s: float = 30.0, memory: str = "512MB") -> None:
        self._path = path
        self._spool = Spool(path.with_suffix(SPOOL))
        self._eventhouse = eventhouse
        self._timeout_s = timeout_s
        self._memory = memory
        self._writing = ThreadPoolExecutor(1, "analytics-write", initializer=_give_way)
        self._querying = ThreadPoolExecutor(_QUERIES, "analytics-query")
        self._opening = threading.Lock()
        self._changing = threading.RLock()  # held by whoever writes through the one connection
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._insertion: Insertion
        self._intake: Intake
        self._translate: Callable[[str], duckdb_kql.TranslationResult]
        self._taking = False
        self._closed = False

    async def ingest(self, table: str, rows: bytes) -> None:
        """See ``Analytics.ingest``. NotFound for an unknown table; BadRecord names the line of a bad row.

        As in Kusto, a value that isn't of its column's type becomes null, and a text is never null.
        """
        self._refuse_closed()
        if rows.strip():
            (await self._checking()).lines(table, rows)
            await self._leave(table, rows, columns=False)

    async def ingest_columns(self, table: str, columns: bytes) -> None:
        """See ``TakesColumns.ingest_columns``. NotFound for an unknown table; BadRecord for a column it lacks."""
        self._refuse_closed()
        (await self._checking()).named(table, columns)
        await self._leave(table, columns, columns=True)

    async def query(self, kql: str, parameters: Mapping[str, str | int | float] | None = None) -> Table:
        """See ``Analytics.query``. QueryError says what is wrong with the query, or which limit it went over."""
        self._refuse_closed()
        run = _Run()
        asked = self._querying.submit(self._query, kql, dict(parameters or {}), run)
        answer = asyncio.wrap_future(asked)
        try:
            done, _ = await asyncio.wait({answer}, timeout=self._timeout_s)
        except asyncio.CancelledError:
            run.stop()
            raise
        if done:
            return answer.result()
        while not asked.cancel() and not asked.done():  # until it began, then until it ended
            run.stop()
            await asyncio.wait({answer}, timeout=0.05)
        await asyncio.gather(answer, return_exceptions=True)
        raise QueryError(f"the query took over {self._timeout_s:g} s and was stopped: let it read less")

    def due(self, calm_s: float, old_s: float) -> bool:
        """Whether rows wait, and none came for ``calm_s`` seconds, or the oldest waits for ``old_s``, or many wait."""
        waiting = self._spool.waiting()
        if not waiting:
            return False
        now = time.time()
        many = sum(one.size for one in waiting) >= TAKEN_BYTES
        return many or waiting[-1].left_s <= now - calm_s or waiting[0].left_s <= now - old_s

    async def flush(self) -> None:
        """See ``Analytics.flush``. StoreUnavailable if the rows can't be taken in."""
        self._refuse_closed()
        await asyncio.wrap_future(self._writing.submit(self._take))

    async def remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:
        """See ``Analytics.remove``. NotFound for an unknown table; BadRecord for a column that it lacks."""
        self._refuse_closed()
        return await asyncio.wrap_future(self._writing.submit(self._remove, table, like))

    async def scrub(self) -> None:
        """See ``Scrubs.scrub``: the file is written anew. Queries and rows wait meanwhile."""
        self._refuse_closed()
        free = threading.Event()
        held = threading.Barrier(1 + _QUERIES)

        def hold() -> None:  # the threads of queries stand still
            held.wait()
            free.wait()

        def scrub() -> None:
            try:
                held.wait()
                self._scrub()
            finally:
                free.set()

        waiting = [self._querying.submit(hold) for _ in range(_QUERIES)]
        scrubbed = self._writing.submit(scrub)
        await asyncio.wrap_future(scrubbed)
        for each in waiting:
            await asyncio.wrap_future(each)

    async def close(self) -> None:
        """See ``Analytics.close``."""
        if self._closed:
            return
        self._closed = True
        await self._spool.close()
        for thread, last in ((self._querying, _nothing), (self._writing, self._end)):
            await asyncio.wrap_future(thread.submit(last))
            thread.shutdown()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self._path} has been closed; open it again")

    async def _checking(self) -> Insertion:
        """What rows are held against."""
        if self._connection is None:
            await asyncio.wrap_future(self._writing.submit(self._open))
        return self._insertion

    async def _leave(self, table: str, rows: bytes, *, columns: bool) -> None:
        """Leave rows on disk, and have them taken in if many wait."""
        await self._spool.leave(table, rows, columns=columns)
        if self._spool.held >= TAKEN_BYTES and not self._taking:
            self._taking = True
            self._writing.submit(self._take_many)

    def _take_many(self) -> None:
        """Take in what is there; whoever left it has gone on."""
        self._taking = False
        self._try_to_take()

    def _try_to_take(self) -> None:
        """Take in what can be; the rest waits."""
        try:
            self._take()
        except StoreUnavailable as error:
            log.warning("rows wait to be taken into the history: %s", error)

    def _take(self) -> None:
        """Take in all that is there now."""
        waiting = self._spool.waiting()
        if not waiting:
            return
        self._open()
        with self._changing:
            try:
                while self._intake.take(waiting[-1].name):
                    pass
            except (duckdb.Error, OSError) as error:
                raise unavailable(self._path, error) from error

    def _remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:
        connection = self._open()
        self._take()
        removed = 0
        for some in batched(like, _REMOVED, strict=False):
            condition, values = self._insertion.like(table, some)
            with self._changing:
                try:
                    found = connection.execute(f'DELETE FROM "{table}" WHERE {condition}', values).fetchone()  # noqa: S608 - names are declared
                except duckdb.Error as error:
                    raise refusal(self._path, table, error) from error
            removed += int(found[0]) if found else 0
        return removed

    def _scrub(self) -> None:
        connection = self._open()
        self._take()
        self._spool.sweep()
        connection.close()
        self._connection = None
        rewrite(self._path, self._memory)

    def _end(self) -> None:
        """Take in what is left, and close the file, which writes a checkpoint."""
        if self._connection is None:
            return
        self._try_to_take()
        self._connection.close()

    def _query(self, kql: str, parameters: Mapping[str, str | int | float], run: _Run) -> Table:
        self._try_to_take()
        cursor = self._open().cursor()
        run.cursor = cursor
        try:
            cursor.execute(USE)
            translation = self._translation(kql)
            declared = {one.name for one in translation.declarations}
            for name, value in parameters.items():
                if name not in declared:
                    raise Undeclared(name, value)
            values, missing = bind(list(translation.declarations), dict(parameters))
            if missing:
                raise QueryError(f"the query declares {', '.join(missing)}, but no value was given")
            bound = translation.parameters | {slot: values[slot] for slot in values if slot in translation.slots}
            if run.stopped:
                raise QueryError("the query was stopped before it began")
            answer = cursor.execute(str(translation), bound or None)
            columns = answer.description or []
            found = answer.fetchmany(MAX_ROWS + 1)
            if len(found) > MAX_ROWS:
                raise QueryError(f"the answer has over {MAX_ROWS:,} rows: take fewer, or summarize")
            return Table([name for name, *_ in columns], rows([Kind.of(kind) for _, kind, *_ in columns], found))
        except duckdb_kql.KqlError as error:
            raise QueryError(shorten(str(error), MAX_MESSAGE, placeholder=" …")) from error
        except duckdb.Error as error:
            raise QueryError(summary(error)) from error
        except RecursionError as error:
            raise QueryError("the query is nested too deeply") from error
        finally:
            cursor.close()

    def _translation(self, kql: str) -> duckdb_kql.TranslationResult:
        if len(kql) > MAX_QUERY:
            raise QueryError(f"the query has {len(kql):,} characters, over the limit of {MAX_QUERY:,}")
        return self._translate(kql)

    def _open(self) -> duckdb.DuckDBPyConnection:
        with self._opening:
            if self._connection is None:
                tables = read_tables(self._eventhouse / "tables.kql")
                functions: dict[str | None, dict[str, StoredFunction]] = {
                    None: dict(read_functions(self._eventhouse / "functions"))
                }
                connection = opened(self._path, self._memory)
                try:
                    for table, columns in tables.items():
                        declare(connection, table, columns)
                    schema = {name: found for name, found in read_schema(connection).items() if name in tables}
                    self._insertion = Insertion(tables)
                    self._intake = Intake(connection, self._insertion, self._spool)
                except (duckdb.Error, OSError) as error:
                    connection.close()
                    raise unavailable(self._path, error) from error
                # Translating takes 5 to 100 ms and the same files are asked again and again.
                self._translate = lru_cache(maxsize=256)(
                    lambda kql: duckdb_kql.to_sql(kql, schema=schema, allow_write=False, functions=functions)
                )
                self._connection = connection
            return self._connection


def _nothing() -> None:
    """What is submitted to be waited for."""


def _give_way() -> None:
    """Let this thread have what the others leave: nobody waits for the history, and somebody may for an alert.

    Only Linux has threads of different priority in one process.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
