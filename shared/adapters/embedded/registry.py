"""Documents with etags and leases with fencing tokens, in one sqlite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from flockiq.shared.adapters.embedded.database import Database, prefix_range
from flockiq.shared.errors import Conflict, LeaseLost
from flockiq.shared.ports import Document, Lease

SCHEMA = """
CREATE TABLE documents (key TEXT PRIMARY KEY, etag INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE etags (last INTEGER NOT NULL);
INSERT INTO etags VALUES (0);
CREATE TABLE leases (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, expires_us INTEGER NOT NULL) WITHOUT ROWID
"""


class SqliteRegistry:
    """Registry over ``<data>/registry.db``.

    Etags count up over the whole file, so a document removed and made again never has an old one.
    Leases run by this machine's clock.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    async def get(self, key: str) -> Document | None:
        """See ``Registry.get``."""
        row = await self._database.read(
            lambda connection: connection.execute("SELECT value, etag FROM documents WHERE key = ?", (key,)).fetchone()
        )
        return Document(row[0], str(row[1])) if row else None

    async def put(self, key: str, value: bytes, etag: str | None) -> str:
        """See ``Registry.put``."""

        def write(connection: sqlite3.Connection) -> str:
            row = connection.execute("SELECT etag FROM documents WHERE key = ?", (key,)).fetchone()
            at = str(row[0]) if row else None
            if at != etag:
                raise Conflict(f"document {key!r} {_conflict(at, etag)}: read it again")
            (following,) = connection.execute("UPDATE etags SET last = last + 1 RETURNING last").fetchone()
            connection.execute(
                "INSERT INTO documents (key, etag, value) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET etag = excluded.etag, value = excluded.value",
                (key, following, value),
            )
            return str(following)

        return await self._database.write(write)

    async def delete(self, key: str) -> None:
        """See ``Registry.delete``."""
        await self._database.write(lambda connection: connection.execute("DELETE FROM documents WHERE key = ?", (key,)))

    async def list(self, prefix: str) -> Mapping[str, Document]:
        """See ``Registry.list``; keys come sorted."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT key, value, etag FROM documents WHERE key >= ? AND key < ? ORDER BY key", prefix_range(prefix)
            ).fetchall()
        )
        return {key: Document(value, str(etag)) for key, value, etag in rows}

    async def acquire(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        """See ``Registry.acquire``; an owner that holds it already keeps its token."""

        def write(connection: sqlite3.Connection) -> Lease | None:
            now_us = time.time_ns() // 1000
            holder, token, expires_us = _holder(connection, name)
            if holder != owner:
                if holder and now_us < expires_us:
                    return None
                token += 1
            return _hold(connection, Lease(name, owner, token, now_us + int(ttl_s * 1e6)))

        return await self._database.write(write)

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """See ``Registry.renew``; one that ran out but was taken by nobody is renewed."""

        def write(connection: sqlite3.Connection) -> Lease:
            holder, token, _ = _holder(connection, lease.name)
            if (holder, token) != (lease.owner, lease.token):
                raise LeaseLost(
                    f"lease {lease.name!r} (token {lease.token}) of {lease.owner!r} "
                    + (f"has passed to {holder!r} (token {token})" if holder else "was given up")
                    + ": stop, and acquire it again"
                )
            return _hold(connection, lease._replace(expires_us=time.time_ns() // 1000 + int(ttl_s * 1e6)))

        return await self._database.write(write)

    async def release(self, lease: Lease) -> None:
        """See ``Registry.release``."""
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE leases SET owner = '', expires_us = 0 WHERE name = ? AND owner = ? AND token = ?",
                (lease.name, lease.owner, lease.token),
            )
        )

    async def scrub(self) -> None:
        """See ``Scrubs.scrub``."""
        await self._database.scrub()

    async def close(self) -> None:
        """See ``Registry.close``."""
        await self._database.close()


def _holder(connection: sqlite3.Connection, name: str) -> tuple[str, int, int]:
    """A lease's owner ("" when it is free), token and end."""
    row: tuple[str, int, int] | None = connection.execute(
        "SELECT owner, token, expires_us FROM leases WHERE name = ?", (name,)
    ).fetchone()
    return row or ("", 0, 0)


def _hold(connection: sqlite3.Connection, lease: Lease) -> Lease:
    connection.execute(
        "INSERT INTO leases (name, owner, token, expires_us) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, token = excluded.token,"
        " expires_us = excluded.expires_us",
        lease,
    )
    return lease


def _conflict(at: str | None, etag: str | None) -> str:
    if at is None:
        return "is gone"
    return "exists already" if etag is None else f"is at etag {at}, not {etag}"
