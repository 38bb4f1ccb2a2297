"""A sqlite file as a store: durable, shared between processes, one transaction for many callers.

Write-ahead logging with ``synchronous=FULL``: what was acknowledged survives ``kill -9`` and power
loss. Writes that wait together share a transaction and its one sync, each in a savepoint of its
own; readers have their own connection and never wait for writers.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flockiq.shared.errors import ConfigError, FlockIQError, Problem, StateCorrupt, StoreUnavailable, TransientError

BUSY_S = 30.0  # how long another process may hold the write lock before a call fails
LOOK_S = (0.0005, 0.002)  # between two looks whether it is free, at first and at last; sqlite's own grow to 0.1 s
GROUP = 256  # writes a transaction: bounds how long a reader of the result waits
PAGE_BYTES = 4_096  # what small rows and their indexes are best kept in
LARGE_PAGE_BYTES = 32_768  # for values of many KB: writing them costs two thirds as much
LOG_BYTES = 8 << 20  # of the write-ahead log, before it is brought into the file
_WATCH = "watch"  # the connection that is asked whether others have written, by whoever asks
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

type Operation[T] = Callable[[sqlite3.Connection], T]


class Database:
    """One sqlite file, opened at the first call.

    ``schema`` is a script of ``version``; ``prepare`` runs in a transaction on every opening and
    may refuse (ConfigError). A failure to read or write raises ``unavailable``, damage StateCorrupt. A new file has
    pages of ``page_bytes``; one that is there keeps its own.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        version: int = 1,
        page_bytes: int = PAGE_BYTES,
        unavailable: type[TransientError] = StoreUnavailable,
        prepare: Operation[None] | None = None,
    ) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._page_bytes = page_bytes
        self._unavailable = unavailable
        self._prepare = prepare
        self._waiting: deque[tuple[Operation[Any], Future[Any]]] = deque()
        self._threads = {role: ThreadPoolExecutor(1, f"{path.stem}-{role}") for role in ("write", "read")}
        self._connections: dict[str, sqlite3.Connection] = {}
        self._closed = False

    async def write[T](self, operation: Operation[T]) -> T:
        """Run ``operation`` in a transaction; returns once it is on disk. What it raises is undone.

        An operation that was cancelled before its turn is never run.
        """
        self._refuse_closed()
        outcome: Future[T] = Future()
        self._waiting.append((operation, outcome))
        self._threads["write"].submit(self._commit_waiting)
        return await asyncio.wrap_future(outcome)

    async def read[T](self, operation: Operation[T]) -> T:
        """Run ``operation`` over one consistent snapshot of everything committed so far."""
        self._refuse_closed()
        return await asyncio.wrap_future(self._threads["read"].submit(self._read, operation))

    async def scrub(self) -> None:
        """Write the file anew without what was removed from it, and empty its write-ahead log.

        Raises what writing raises, if others are reading or writing for longer than BUSY_S.
        """
        self._refuse_closed()
        await asyncio.wrap_future(self._threads["write"].submit(self._scrub))

    async def version(self) -> int | None:
        """A number that is another one when anything was committed, by whatever process; None while it can't be told.

        Asked of the shared memory of the file's log, which takes some microseconds.
        """
        self._refuse_closed()
        if _WATCH not in self._connections:
            await asyncio.wrap_future(self._threads["read"].submit(self._watching))
        try:
            return int(self._connections[_WATCH].execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:  # it is being recovered, or reset
                return None
            raise self._translated(error) from error

    async def close(self) -> None:
        """Finish the writes in hand and close the file. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._shut(_WATCH)
        for role, thread in self._threads.items():
            await asyncio.wrap_future(thread.submit(self._shut, role))
            thread.shutdown()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise self._unavailable(f"{self.path} has been closed; open it again")

    def _watching(self) -> None:
        try:
            self._connection(_WATCH).execute("PRAGMA busy_timeout=0")
        except (sqlite3.Error, OSError) as error:
            raise self._translated(error) from error

    def _read[T](self, operation: Operation[T]) -> T:
        try:
            connection = self._connection("read")
            connection.execute("BEGIN")
            try:
                return operation(connection)
            finally:
                connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError) as error:
            raise self._translated(error) from error

    def _commit_waiting(self) -> None:
        """One transaction for all that wait; every submission calls this, and late ones find nothing."""
        group: list[tuple[Operation[Any], Future[Any]]] = []
        while self._waiting and len(group) < GROUP:
            operation, outcome = self._waiting.popleft()
            if outcome.set_running_or_notify_cancel():
                group.append((operation, outcome))
        if not group:
            return
        try:
            results = self._transaction([operation for operation, _ in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            failure = self._translated(error) if isinstance(error, (sqlite3.Error, OSError)) else error
            for _, outcome in group:
                outcome.set_exception(failure)
            return
        for (_, outcome), result in zip(group, results, strict=True):
            if isinstance(result, _Undone):
                outcome.set_exception(result.error)
            else:
                outcome.set_result(result)

    def _transaction(self, operations: list[Operation[Any]]) -> list[Any]:
        connection = self._connection("write")
        _begin(connection)
        try:
            results = [_apart(connection, operation) for operation in operations]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # sqlite itself rolls back on a full disk
                connection.execute("ROLLBACK")
            raise
        return results

    def _scrub(self) -> None:
        deadline = time.monotonic() + BUSY_S
        try:
            connection = self._connection("write")
            connection.execute("VACUUM")
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # a reader holds what it reads
                if time.monotonic() > deadline:
                    raise self._unavailable(f"{self.path} is being read all the time: try again")
                time.sleep(0.05)
        except (sqlite3.Error, OSError) as error:
            raise self._translated(error) from error

    def _connection(self, role: str) -> sqlite3.Connection:
        if role not in self._connections:
            self._connections[role] = self._open()
        return self._connections[role]

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=BUSY_S, autocommit=True, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA page_size={self._page_bytes}")
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous=FULL")
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA wal_autocheckpoint={LOG_BYTES // page_bytes}")
            connection.execute("PRAGMA journal_size_limit=67108864")
            connection.execute("PRAGMA cell_size_check=ON")
            connection.execute("PRAGMA trusted_schema=OFF")
            self._found(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _found(self, connection: sqlite3.Connection) -> None:
        """Create or check the schema; two processes may do so at once."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._migrate(connection)
            if self._prepare:
                self._prepare(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in self._schema.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={self._version}")
        elif version != self._version:
            wrong = f"is of version {version}, this FlockIQ reads version {self._version}"
            raise ConfigError([Problem(str(self.path), 0, "", wrong, "run the FlockIQ that wrote it, or move it")])

    def _shut(self, role: str) -> None:
        connection = self._connections.pop(role, None)
        if connection is not None:
            connection.close()

    def _translated(self, error: sqlite3.Error | OSError) -> FlockIQError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            return StateCorrupt(f"{self.path} is damaged ({error}): restore it from a backup, or move it and replay")
        return self._unavailable(f"{self.path}: {error}; check the disk's space and rights, and who else holds it")


class _Undone:
    """What an operation raised, after its writes were undone."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write as soon as no other process does: each holds the lock for about one sync."""
    deadline, pause = time.monotonic() + BUSY_S, LOOK_S[0]
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * 1.5, LOOK_S[1])
            else:
                return
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_S * 1000:.0f}")


def _apart(connection: sqlite3.Connection, operation: Operation[Any]) -> Any:
    """Run one operation of a group in its savepoint, so that its error is its own."""
    connection.execute("SAVEPOINT one")
    try:
        result = operation(connection)
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes to the one caller it belongs to
        connection.execute("ROLLBACK TO one")
        result = _Undone(error)
    connection.execute("RELEASE one")
    return result


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; sqlite does not wait for a lock when another process is switching too."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def prefix_range(prefix: str) -> tuple[str, str | bytes]:
    """The half-open range of texts that begin with ``prefix``, in sqlite's order.

    The upper bound is the least text above them all; a blob (every blob sorts above every text)
    when there is none.
    """
    for at in range(len(prefix) - 1, -1, -1):
        above = ord(prefix[at]) + 1
        if above <= 0x10FFFF:  # noqa: PLR2004 - Unicode's last code point
            return prefix, prefix[:at] + chr(0xE000 if above == 0xD800 else above)  # noqa: PLR2004 - surrogates are no text
    return prefix, b""
