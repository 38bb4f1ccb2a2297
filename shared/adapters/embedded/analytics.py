"""The Eventhouse on one machine: KQL over a DuckDB file, through duckdb-kql.

Ingestions that wait together are one transaction, whose commit costs 2 or 3 ms. So there is no buffer
to lose: rows are on disk, and visible, when ``ingest`` returns. A table's last row group, of up to 122,880
rows, is written anew at every checkpoint, so checkpoints are rare and transactions as large as what waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import batched
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

import duckdb
import duckdb_kql
from duckdb_kql.engine import schema as read_schema
from duckdb_kql.params import bind
from duckdb_kql.stored_functions import StoredFunction

from flockiq.shared.adapters.embedded.answers import Kind, rows
from flockiq.shared.adapters.embedded.insertion import Insertion, Prepared
from flockiq.shared.adapters.embedded.spool import FLUSH_S, Spool
from flockiq.shared.adapters.embedded.tables import COMPRESSION, TYPES, read_functions
from flockiq.shared.errors import BadRecord, ConfigError, Problem, QueryError, StoreUnavailable
from flockiq.shared.ports import Table
from flockiq.shared.tables import Columns, read_tables
from flockiq.shared.tabular import ndjson

GROUP_BYTES = 16_000_000  # of rows, as they are given, in one transaction, unless one ingestion alone is larger
NICE = 10  # of the thread that writes: a tenth of the share of one that folds
MAX_QUERY = 100_000  # characters of KQL
MAX_ROWS = 500_000  # of an answer: Kusto's own limit
_REMOVED = 200  # conditions of one DELETE
MAX_MESSAGE = 500  # characters of an error: the parser may list every word it would have taken

_OPTIONS: Mapping[str, str] = {
    # KQL comes from files people write and from the page: it may read these tables and nothing else.
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "threads": "1",  # of its own for each statement: handing pieces of small batches around costs a tenth more
    "checkpoint_threshold": "128MB",  # of the write-ahead log, which is read again after a crash: about a second
    "max_temp_directory_size": "2GB",
}


class _Given(NamedTuple):
    table: str
    rows: bytes
    columns: bool  # or NDJSON


class _Ingestion(NamedTuple):
    given: _Given
    rows: Prepared
    outcome: Future[None]


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

    ``eventhouse`` is the folder of tables.kql and functions/. A query may run for ``timeout_s``. ``spool`` is where
    other processes leave their rows, whose bytes are scrubbed with the file's.
    """

    def __init__(
        self,
        path: Path,
        eventhouse: Path,
        *,
        timeout_s: float = 30.0,
        memory: str = "512MB",
        spool: Spool | None = None,
    ) -> None:
        self._path = path
        self._spool = spool
        self._eventhouse = eventhouse
        self._timeout_s = timeout_s
        self._memory = memory
        self._waiting: deque[tuple[_Given, Future[None]]] = deque()
        self._writing = ThreadPoolExecutor(1, "analytics-write", initializer=_give_way)
        self._querying = ThreadPoolExecutor(2, "analytics-query")
        self._opening = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._insertion: Insertion
        self._translate: Callable[[str], duckdb_kql.TranslationResult]
        self._closed = False

    async def ingest(self, table: str, rows: bytes) -> None:
        """See ``Analytics.ingest``. NotFound for an unknown table; BadRecord names the line of a bad row.

        As in Kusto, a value that isn't of its column's type becomes null, and a text is never null.
        """
        self._refuse_closed()
        if not rows.strip():
            return
        await self._ingested(_Given(table, rows, columns=False))

    async def ingest_columns(self, table: str, columns: bytes) -> None:
        """See ``TakesColumns.ingest_columns``. NotFound for an unknown table; BadRecord for a column it lacks."""
        self._refuse_closed()
        await self._ingested(_Given(table, columns, columns=True))

    async def _ingested(self, given: _Given) -> None:
        outcome: Future[None] = Future()
        self._waiting.append((given, outcome))
        self._writing.submit(self._commit_waiting)
        await asyncio.wrap_future(outcome)

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

    async def flush(self) -> None:
        """See ``Analytics.flush``."""
        self._refuse_closed()
        await asyncio.wrap_future(self._writing.submit(lambda: None))

    async def remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:
        """See ``Analytics.remove``. NotFound for an unknown table; BadRecord for a column that it lacks."""
        self._refuse_closed()
        return await asyncio.wrap_future(self._writing.submit(self._remove, table, like))

    async def scrub(self) -> None:
        """See ``Scrubs.scrub``: the file is written anew. Queries and rows wait meanwhile."""
        self._refuse_closed()
        if self._spool is not None:
            until = time.monotonic() + FLUSH_S
            while await self._spool.waiting():
                if time.monotonic() > until:
                    raise StoreUnavailable(f"{self._spool.path}: rows wait to be taken in; try again")
                await asyncio.sleep(0.02)
            await self._spool.scrub()
        free = threading.Event()
        held = threading.Barrier(3)

        def hold() -> None:  # both threads of queries stand still
            held.wait()
            free.wait()

        def scrub() -> None:
            try:
                held.wait()
                self._rewrite()
            finally:
                free.set()

        waiting = [self._querying.submit(hold) for _ in range(2)]
        scrubbed = self._writing.submit(scrub)
        await asyncio.wrap_future(scrubbed)
        for each in waiting:
            await asyncio.wrap_future(each)

    async def close(self) -> None:
        """See ``Analytics.close``."""
        if self._closed:
            return
        self._closed = True
        for thread in (self._querying, self._writing):
            await asyncio.wrap_future(thread.submit(lambda: None))
            thread.shutdown()
        if self._connection is not None:
            await asyncio.to_thread(self._connection.close)  # writes a checkpoint
        if self._spool is not None:
            await self._spool.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self._path} has been closed; open it again")

    def _commit_waiting(self) -> None:
        """One transaction for all that wait; every submission calls this, and late ones find nothing."""
        group: list[_Ingestion] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0][0].rows) <= GROUP_BYTES):
            given, outcome = self._waiting.popleft()
            if not outcome.set_running_or_notify_cancel():
                continue
            try:
                self._open()
                prepare = self._insertion.columns if given.columns else self._insertion.lines
                rows = prepare(given.table, given.rows)
            except Exception as error:  # noqa: BLE001 - whatever it is, it goes to the one caller it belongs to
                outcome.set_exception(error)
                continue
            group.append(_Ingestion(given, rows, outcome))
            size += len(given.rows)
        if group:
            self._commit(group)

    def _commit(self, group: list[_Ingestion]) -> None:
        try:
            self._insert(group)
        except duckdb.Error as error:
            if not isinstance(error, duckdb.IOException):
                if len(group) > 1:  # somebody's rows are at fault: let each stand for itself
                    for one in group:
                        self._commit([one])
                    return
                if group[0].given.columns:  # a dynamic value is no JSON to DuckDB, and becomes null
                    given = _Given(group[0].given.table, ndjson(group[0].given.rows), columns=False)
                    lines = self._insertion.lines(given.table, given.rows)
                    self._commit([_Ingestion(given, lines, group[0].outcome)])
                    return
            failure = _refusal(self._path, group[0].given.table, error)
            for one in group:
                one.outcome.set_exception(failure)
            return
        for one in group:
            one.outcome.set_result(None)

    def _insert(self, group: list[_Ingestion]) -> None:
        connection = self._open()
        connection.execute("BEGIN")
        try:
            self._insertion.write(connection, [(one.given.table, one.rows) for one in group])
            connection.execute("COMMIT")
        except duckdb.Error:
            with contextlib.suppress(duckdb.Error):  # a failed commit has ended the transaction already
                connection.execute("ROLLBACK")
            raise

    def _remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:
        connection = self._open()
        removed = 0
        for some in batched(like, _REMOVED, strict=False):
            condition, values = self._insertion.like(table, some)
            try:
                found = connection.execute(f'DELETE FROM "{table}" WHERE {condition}', values).fetchone()  # noqa: S608 - names are declared
            except duckdb.Error as error:
                raise _refusal(self._path, table, error) from error
            removed += int(found[0]) if found else 0
        return removed

    def _rewrite(self) -> None:
        """Copy what is there into a new file, and put it in the place of the old one."""
        self._open().close()
        self._connection = None
        new = self._path.with_suffix(".scrubbed")
        new.unlink(missing_ok=True)
        try:
            with duckdb.connect(config={"threads": "2", "memory_limit": self._memory}) as copying:
                for name, path in (("old", self._path), ("new", new)):
                    copying.execute(f"ATTACH '{str(path).replace("'", "''")}' AS {name}")
                copying.execute("COPY FROM DATABASE old TO new")
            new.replace(self._path)
        except (duckdb.Error, OSError) as error:
            raise StoreUnavailable(f"{self._path}: {error}; check the disk's space and rights") from error
        finally:
            new.unlink(missing_ok=True)

    def _query(self, kql: str, parameters: Mapping[str, str | int | float], run: _Run) -> Table:
        cursor = self._open().cursor()
        run.cursor = cursor
        try:
            translation = self._translation(kql)
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
            raise QueryError(_summary(error)) from error
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
                connection = _connect(self._path, self._memory)
                try:
                    for table, columns in tables.items():
                        _declare(connection, table, columns)
                    schema = read_schema(connection)
                except duckdb.Error as error:
                    connection.close()
                    raise StoreUnavailable(f"{self._path}: {_summary(error)}") from error
                # Translating takes 5 to 100 ms and the same files are asked again and again.
                self._translate = lru_cache(maxsize=256)(
                    lambda kql: duckdb_kql.to_sql(kql, schema=schema, allow_write=False, functions=functions)
                )
                self._insertion = Insertion(tables)
                self._connection = connection
            return self._connection


def _give_way() -> None:
    """Let this thread have what the others leave: nobody waits for the history, and somebody may for an alert.

    Only Linux has threads of different priority in one process.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _connect(path: Path, memory: str) -> duckdb.DuckDBPyConnection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(path, config={**_OPTIONS, "memory_limit": memory})
    except duckdb.IOException as error:
        if "lock" in str(error):
            wrong = "another process holds it: one at a time can"
            raise ConfigError(
                [Problem(str(path), 0, "", wrong, "ask the running app over HTTP, or stop it")]
            ) from error
        raise StoreUnavailable(f"{path}: {_summary(error)}") from error
    except (duckdb.Error, OSError) as error:
        raise StoreUnavailable(f"{path}: {error}; check the disk's space and rights") from error
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # KQL's datetimes are UTC
    connection.execute("SET lock_configuration = true")
    return connection


def _declare(connection: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> None:
    """Make a table, or add the columns it lacks; what is no longer declared stays as it is."""
    declared = [f'"{name}" {TYPES[kind]}' for name, kind in columns.items()]
    kept = [f"{column} {COMPRESSION.get(kind, '')}" for column, kind in zip(declared, columns.values(), strict=True)]
    connection.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ({", ".join(kept)})')
    for column in declared:
        connection.execute(f'ALTER TABLE "{table}" ADD COLUMN IF NOT EXISTS {column}')


def _refusal(path: Path, table: str, error: duckdb.Error) -> BadRecord | StoreUnavailable:
    if isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException | duckdb.FatalException):
        return StoreUnavailable(f"{path}: {_summary(error)}; check the disk's space and rights")
    return BadRecord(f"the rows were refused: {_summary(error)}", field=table)


def _summary(error: duckdb.Error) -> str:
    """What DuckDB says of an error, without the SQL it quotes after it."""
    return shorten(str(error).partition("\n\nLINE ")[0], MAX_MESSAGE, placeholder=" …")
