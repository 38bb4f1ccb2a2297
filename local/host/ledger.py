"""What the host must remember across restarts: ``host.db`` in the data folder.

Azure's host keeps the same in blobs: checkpoints, and each timer's schedule status. A host
holds its ledger alone; the lock ends with the process, however it ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from flockiq.local.host.errors import HostError

_TABLES = """
CREATE TABLE IF NOT EXISTS checkpoint (
    hub TEXT, consumer_group TEXT, function TEXT, partition INTEGER, next INTEGER NOT NULL,
    PRIMARY KEY (hub, consumer_group, function, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS timer (function TEXT PRIMARY KEY, status BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS announced (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER) WITHOUT ROWID;
"""


class Place(NamedTuple):
    """Whose checkpoint: one function reading one partition of a hub for a consumer group."""

    hub: str
    consumer_group: str
    function: str
    partition: int


class ScheduleStatus(msgspec.Struct, frozen=True, rename="pascal"):
    """A timer's schedule status, in the words of Azure's schedule monitor. Times are aware."""

    last: datetime
    next: datetime
    last_updated: datetime


class FileVersion(NamedTuple):
    """A file as it was announced; another size or time makes it a new one."""

    size: int
    mtime_ns: int


class Ledger:
    """The host's own small database. HostError if another process holds it."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        path = data / "host.db"
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            # After a power cut the last commits may be gone: events come again, which they may.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        except sqlite3.DatabaseError as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise HostError(
                    f"{data} is in use by another run; stop that one, or give this one a data folder of its own."
                ) from error
            raise HostError(f"{path} can't be read ({error}); move it away and start again from the hubs.") from error

    def checkpoint(self, place: Place) -> int | None:
        """The sequence number to read next; None before the first checkpoint."""
        row = self._db.execute(
            "SELECT next FROM checkpoint WHERE hub = ? AND consumer_group = ? AND function = ? AND partition = ?", place
        ).fetchone()
        return None if row is None else int(row[0])

    def move(self, place: Place, to: int) -> None:
        """Everything before sequence ``to`` is dealt with."""
        self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?)", (*place, to))

    def timer(self, function: str) -> ScheduleStatus | None:
        """A timer's last recorded status."""
        row = self._db.execute("SELECT status FROM timer WHERE function = ?", (function,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=ScheduleStatus)

    def record_timer(self, function: str, status: ScheduleStatus) -> None:
        """Remember when a timer ran and runs next."""
        self._db.execute("INSERT OR REPLACE INTO timer VALUES (?, ?)", (function, msgspec.json.encode(status)))

    def announced(self) -> dict[str, FileVersion]:
        """Every file an event was published for, by path."""
        rows = self._db.execute("SELECT path, size, mtime_ns FROM announced")
        return {path: FileVersion(size, mtime_ns) for path, size, mtime_ns in rows}

    def announce(self, path: str, version: FileVersion) -> None:
        """An event for this file is in the hub."""
        self._db.execute("INSERT OR REPLACE INTO announced VALUES (?, ?, ?)", (path, *version))

    def forget(self, paths: Iterable[str]) -> None:
        """These files are gone: if they come again, they are new."""
        self._db.executemany("DELETE FROM announced WHERE path = ?", [(path,) for path in paths])

    def close(self) -> None:
        """Let the next host in."""
        self._db.close()
