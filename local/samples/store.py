"""A sample system's records, durable in sqlite and numbered by version, so that deltas are exact.

Every change gets the next version of one counter. What changed between two versions is a range
scan, whatever was committed while a reader was paging. Write-ahead logging without a sync per
commit: what was committed survives the death of the process, which is all these systems need.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

Body = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    stream TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, modified_us INTEGER NOT NULL,
    deleted INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (stream, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_version ON records (stream, version);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


class Record(NamedTuple):
    """One record as it stands. ``body`` holds its own fields, without key and time of change."""

    stream: str
    key: str
    version: int
    modified_us: int
    deleted: bool
    body: Body


class Store:
    """The records of one system, and small facts it must not forget. Not for several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=NORMAL")
        self.connection.executescript(_SCHEMA)
        version, modified_us = self.connection.execute(
            "SELECT coalesce(max(version), 0), coalesce(max(modified_us), 0) FROM records"
        ).fetchone()
        self.version: int = version
        self._now_us: int = modified_us

    def now_us(self) -> int:
        """Microseconds since the epoch, to the millisecond, never twice the same or backwards."""
        self._now_us = max(time.time_ns() // 1_000_000 * 1_000, self._now_us + 1_000)
        return self._now_us

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it is committed, or none."""
        version = self.version
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            self.version = version
            raise
        self.connection.execute("COMMIT")

    def put(self, stream: str, key: str, body: Body, at_us: int | None = None, *, deleted: bool = False) -> int:
        """Write a record as it becomes, with the next version; the time of the change in µs."""
        self.version += 1
        modified_us = self.now_us() if at_us is None else at_us
        self.connection.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)",
            (stream, key, self.version, modified_us, deleted, msgspec.json.encode(body)),
        )
        return modified_us

    def fill(self, stream: str, rows: Iterable[tuple[str, int, Body]]) -> None:
        """Write many new records of (key, modified_us, body), in order."""

        def numbered() -> Iterator[tuple[str, str, int, int, int, bytes]]:
            for key, modified_us, body in rows:
                self.version += 1
                self._now_us = max(self._now_us, modified_us)
                yield stream, key, self.version, modified_us, 0, msgspec.json.encode(body)

        self.connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", numbered())

    def remove(self, record: Record) -> int:
        """Leave a tombstone; the time of the change in µs."""
        return self.put(record.stream, record.key, record.body, deleted=True)

    def get(self, stream: str, key: str) -> Record | None:
        """The record with this key, if it exists."""
        return self._one("SELECT * FROM records WHERE stream = ? AND key = ? AND deleted = 0", stream, key)

    def near(self, stream: str, key: str) -> Record | None:
        """The first record at or after ``key``, or else the first of all: a cheap way to pick any."""
        after = "SELECT * FROM records WHERE stream = ? AND key >= ? AND deleted = 0 ORDER BY key LIMIT 1"
        return self._one(after, stream, key) or self._one(after, stream, "")

    def between(self, stream: str, after: int, upto: int, limit: int, *, tombstones: bool) -> list[Record]:
        """Up to ``limit`` records whose version is over ``after`` and at most ``upto``, in its order."""
        alive = "" if tombstones else "AND deleted = 0"
        rows = self.connection.execute(
            f"SELECT * FROM records WHERE stream = ? AND version > ? AND version <= ? {alive} ORDER BY version LIMIT ?",  # noqa: S608 - no value is in the text
            (stream, after, upto, limit),
        )
        return [record_of(row) for row in rows]

    def all(self, stream: str) -> list[Record]:
        """Every record of the stream, in the order of their last change."""
        return self.between(stream, 0, self.version, -1, tombstones=False)

    def fact(self, name: str, default: Any = None) -> Any:
        """What was remembered under ``name``."""
        row = self.connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return default if row is None else msgspec.json.decode(row[0])

    def facts(self, prefix: str) -> Mapping[str, Any]:
        """Everything remembered under names that begin with ``prefix``."""
        rows = self.connection.execute(
            "SELECT name, value FROM facts WHERE substr(name, 1, ?) = ?", (len(prefix), prefix)
        )
        return {name: msgspec.json.decode(value) for name, value in rows}

    def remember(self, name: str, value: Any) -> None:
        """Remember a JSON value under ``name``."""
        self.connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, msgspec.json.encode(value)))

    def forget(self, name: str) -> None:
        """Remember nothing under ``name``."""
        self.connection.execute("DELETE FROM facts WHERE name = ?", (name,))

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _one(self, statement: str, *values: str) -> Record | None:
        row = self.connection.execute(statement, values).fetchone()
        return None if row is None else record_of(row)


def record_of(row: tuple[Any, ...]) -> Record:
    """The record that a row of the table holds."""
    stream, key, version, modified_us, deleted, body = row
    return Record(stream, key, version, modified_us, bool(deleted), cast("Body", msgspec.json.decode(body)))
