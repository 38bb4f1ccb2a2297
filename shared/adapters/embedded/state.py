"""State logs in one sqlite file: partitions that commit together share one sync.

Every entry carries a checksum over its place and its bytes, so that a damaged or misplaced one is
found when it is read and never folded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import xxhash

from flockiq.shared.adapters.embedded.database import LARGE_PAGE_BYTES, Database, prefix_range
from flockiq.shared.errors import BadRecord, FenceLost, StateCorrupt
from flockiq.shared.ports import StateRead, StateVersion
from flockiq.shared.positions import hash64

MAX_ENTRY_BYTES = 100 << 20  # what one Append Block takes
MAX_SNAPSHOT_BYTES = 900_000_000  # sqlite's largest value is 1e9 bytes
_SNAPSHOT = -1  # the place of a generation's snapshot among its entries

SCHEMA = """
CREATE TABLE logs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL, length INTEGER NOT NULL,
    checksum BLOB NOT NULL, snapshot BLOB NOT NULL);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, log INTEGER NOT NULL, place INTEGER NOT NULL, checksum BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (log, place))
"""


class _Log(NamedTuple):
    identity: int
    version: StateVersion


class SqliteState:
    """StateStore over one sqlite file; a version's length counts entries.

    Damage raises StateCorrupt; an entry or a snapshot over its limit BadRecord.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA, page_bytes=LARGE_PAGE_BYTES)

    async def read(self, log: str, after: StateVersion | None = None) -> StateRead:
        """See ``StateStore.read``; a version the log never reached also reads all."""
        return await self._database.read(lambda connection: _read(connection, log, after))

    async def append(self, log: str, entry: bytes, expected: StateVersion) -> StateVersion:
        """See ``StateStore.append``."""
        _check_size(log, "an entry", entry, MAX_ENTRY_BYTES)

        def write(connection: sqlite3.Connection) -> StateVersion:
            identity = _fence(connection, log, expected)
            connection.execute(
                "INSERT INTO entries (log, place, checksum, body) VALUES (?, ?, ?, ?)",
                (identity, expected.length, _checksum(log, expected.generation, expected.length, entry), entry),
            )
            connection.execute("UPDATE logs SET length = length + 1 WHERE id = ?", (identity,))
            return StateVersion(expected.generation, expected.length + 1)

        return await self._database.write(write)

    async def roll(self, log: str, snapshot: bytes, expected: StateVersion) -> StateVersion:
        """See ``StateStore.roll``; the old generation's entries go in the same transaction."""
        _check_size(log, "a snapshot", snapshot, MAX_SNAPSHOT_BYTES)

        def write(connection: sqlite3.Connection) -> StateVersion:
            identity = _fence(connection, log, expected)
            following = StateVersion(expected.generation + 1, 0)
            connection.execute("DELETE FROM entries WHERE log = ?", (identity,))
            connection.execute(
                "UPDATE logs SET generation = ?, length = 0, checksum = ?, snapshot = ? WHERE id = ?",
                (following.generation, _checksum(log, following.generation, _SNAPSHOT, snapshot), snapshot, identity),
            )
            return following

        return await self._database.write(write)

    async def logs(self, prefix: str = "") -> Sequence[str]:
        """See ``StateStore.logs``."""
        names = await self._database.read(
            lambda connection: connection.execute(
                "SELECT name FROM logs WHERE name >= ? AND name < ? ORDER BY name", prefix_range(prefix)
            ).fetchall()
        )
        return [name for (name,) in names]

    async def scrub(self) -> None:
        """See ``Scrubs.scrub``."""
        await self._database.scrub()

    async def close(self) -> None:
        """See ``StateStore.close``."""
        await self._database.close()


def _find(connection: sqlite3.Connection, log: str) -> _Log | None:
    row = connection.execute("SELECT id, generation, length FROM logs WHERE name = ?", (log,)).fetchone()
    return _Log(row[0], StateVersion(row[1], row[2])) if row else None


def _fence(connection: sqlite3.Connection, log: str, expected: StateVersion) -> int:
    """The log's row, made at its first write; FenceLost unless the log is at ``expected``."""
    found = _find(connection, log)
    at = found.version if found else StateVersion(0, 0)
    if at != expected:
        raise FenceLost(
            f"state log {log!r} is at generation {at.generation}, length {at.length}; this owner read it at generation"
            f" {expected.generation}, length {expected.length}: another owner has written, read what it wrote"
        )
    if found:
        return found.identity
    made = connection.execute(
        "INSERT INTO logs (name, generation, length, checksum, snapshot) VALUES (?, 0, 0, ?, x'')",
        (log, _checksum(log, 0, _SNAPSHOT, b"")),
    )
    return int(made.lastrowid or 0)


def _read(connection: sqlite3.Connection, log: str, after: StateVersion | None) -> StateRead:
    found = _find(connection, log)
    if found is None:
        continues = after == StateVersion(0, 0)
        return StateRead(StateVersion(0, 0), None if continues else b"", [])
    version = found.version
    continues = after is not None and after.generation == version.generation and after.length <= version.length
    start = after.length if after is not None and continues else 0
    snapshot = None if continues else _snapshot(connection, log, found)
    entries: list[bytes] = []
    for place, checksum, body in connection.execute(
        "SELECT place, checksum, body FROM entries WHERE log = ? AND place >= ? ORDER BY place", (found.identity, start)
    ):
        if place != start + len(entries) or checksum != _checksum(log, version.generation, place, body):
            raise _corrupt(log, version, f"entry {start + len(entries)}")
        entries.append(body)
    if start + len(entries) != version.length:
        raise _corrupt(log, version, f"entry {start + len(entries)}")
    return StateRead(version, snapshot, entries)


def _snapshot(connection: sqlite3.Connection, log: str, found: _Log) -> bytes:
    checksum, snapshot = connection.execute(
        "SELECT checksum, snapshot FROM logs WHERE id = ?", (found.identity,)
    ).fetchone()
    if checksum != _checksum(log, found.version.generation, _SNAPSHOT, snapshot):
        raise _corrupt(log, found.version, "the snapshot")
    return bytes(snapshot)


def _checksum(log: str, generation: int, place: int, body: bytes) -> bytes:
    return xxhash.xxh3_64_digest(body, seed=hash64(log, str(generation), str(place)))


def _corrupt(log: str, version: StateVersion, what: str) -> StateCorrupt:
    return StateCorrupt(
        f"state log {log!r}, generation {version.generation}: {what} is missing or not what was written;"
        " restore the data folder from a backup, or remove the log and replay"
    )


def _check_size(log: str, what: str, body: bytes, limit: int) -> None:
    if len(body) > limit:
        raise BadRecord(f"{what} of {len(body):,} bytes for state log {log!r} is over the limit of {limit:,}")
