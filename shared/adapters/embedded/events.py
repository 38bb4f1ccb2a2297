"""Hubs as a sqlite log: a row per event, keyed by partition and sequence.

A packed event holds about 60 KB of lines, so a row an event costs little, and a partition's range
is read in the order it was written without an index.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from flockiq.shared.adapters.embedded.database import LARGE_PAGE_BYTES, Database
from flockiq.shared.errors import BadRecord, ConfigError, FlockIQError, HubUnavailable, NotFound, Problem
from flockiq.shared.ports import MAX_EVENT_BYTES, Bounds, OutgoingEvent, StoredEvent

READ_BYTES = 16_000_000  # of bodies in one answer, which then holds fewer events than were asked for
NOTICE_S = 0.02  # how often the file is asked whether other processes wrote, while somebody waits
SOON_S = 0.002  # and just after they have
SLOWER = 1.5  # from one to the other
SWEEP_S = 5.0
SWEPT = 10_000  # events a partition and sweep: bounds how long a publication waits for one

_SEQUENCE_BITS = 40  # of a row's position; the partition's id stands above them
SCHEMA = """
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY, hub TEXT NOT NULL, partition INTEGER NOT NULL,
    next INTEGER NOT NULL DEFAULT 0, enqueued_us INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (hub, partition));
CREATE TABLE events (
    position INTEGER PRIMARY KEY, enqueued_us INTEGER NOT NULL, size INTEGER NOT NULL,
    properties BLOB NOT NULL, body BLOB NOT NULL)
"""
_properties = msgspec.json.Decoder(dict[str, str])

type Key = tuple[str, int]


class SqliteEvents:
    """EventStream over ``<data>/events.db``.

    ``partitions`` is each hub's count; it is stored with the events and another count refuses to
    open (ConfigError). Events older than ``retention_s``, and the oldest of a partition that holds
    over ``retention_bytes``, are dropped.
    """

    def __init__(
        self,
        path: Path,
        partitions: Mapping[str, int],
        *,
        retention_s: float = 86_400.0,
        retention_bytes: int = 256_000_000,
    ) -> None:
        self._partitions = dict(partitions)
        self._retention_us = int(retention_s * 1e6)
        self._retention_bytes = retention_bytes
        self._database = Database(
            path, SCHEMA, page_bytes=LARGE_PAGE_BYTES, unavailable=HubUnavailable, prepare=self._prepare
        )
        self._ids: dict[Key, int] = {}
        self._swept = time.monotonic()
        self._ends: dict[Key, int] = {}
        self._noticed: int | None = None
        self._watching: asyncio.Task[None] | None = None
        self._waiters: dict[Key, set[asyncio.Future[None]]] = defaultdict(set)

    async def partition_count(self, hub: str) -> int:
        """See ``EventStream.partition_count``."""
        return self._count(hub)

    async def publish(self, hub: str, events: Sequence[OutgoingEvent]) -> None:
        """See ``EventStream.publish``; all of a call is written, or none.

        NotFound for a hub or partition there isn't; BadRecord for an event over MAX_EVENT_BYTES.
        """
        rows: dict[int, list[tuple[int, bytes, bytes]]] = defaultdict(list)
        for event in events:
            self._check(hub, event.partition)
            properties = msgspec.json.encode(event.properties)
            size = len(event.body) + len(properties)
            if size > MAX_EVENT_BYTES:
                raise BadRecord(f"an event of {size:,} bytes for hub {hub} is over the limit of {MAX_EVENT_BYTES:,}")
            rows[event.partition].append((size, properties, event.body))
        if not rows:
            return
        sweep = time.monotonic() - self._swept > SWEEP_S
        if sweep:
            self._swept = time.monotonic()

        def append(connection: sqlite3.Connection) -> dict[Key, int]:
            now_us = time.time_ns() // 1000
            ends = {(hub, number): self._append(connection, hub, number, rows[number], now_us) for number in rows}
            if sweep:
                self._sweep(connection, now_us)
            return ends

        self._advance(await self._database.write(append))

    async def read(self, hub: str, partition: int, start: int, limit: int) -> Sequence[StoredEvent]:
        """See ``EventStream.read``; stops at READ_BYTES."""
        self._check(hub, partition)
        found = await self._database.read(lambda connection: self._rows(connection, (hub, partition), start, limit))
        mask = (1 << _SEQUENCE_BITS) - 1
        return [
            StoredEvent(
                partition=partition,
                sequence=position & mask,
                offset=str(position & mask),
                enqueued_us=enqueued_us,
                body=body,
                properties=_properties.decode(properties),
            )
            for position, enqueued_us, body, properties in found
        ]

    async def bounds(self, hub: str, partition: int) -> Bounds:
        """See ``EventStream.bounds``."""
        self._check(hub, partition)

        def ask(connection: sqlite3.Connection) -> Bounds:
            (end,) = connection.execute(
                "SELECT next FROM partitions WHERE hub = ? AND partition = ?", (hub, partition)
            ).fetchone()
            low, high = self._range((hub, partition))
            (oldest,) = connection.execute(
                "SELECT min(position) FROM events WHERE position >= ? AND position < ?", (low, high)
            ).fetchone()
            return Bounds(end if oldest is None else oldest - low, end)

        return await self._database.read(ask)

    async def wait(self, hub: str, partition: int, sequence: int, timeout_s: float) -> bool:
        """Whether the partition has come to hold ``sequence``, within ``timeout_s``.

        A publication of this process wakes at once; another's is noticed within NOTICE_S.
        """
        self._check(hub, partition)
        key = (hub, partition)
        deadline = time.monotonic() + timeout_s
        await self._notice()
        while self._ends.get(key, 0) <= sequence:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[key].add(woken)
            self._watch()
            try:
                await asyncio.wait({woken}, timeout=left)
            finally:
                self._waiters[key].discard(woken)
            await self._notice()
        return True

    async def close(self) -> None:
        """See ``EventStream.close``."""
        await self._database.close()

    def _count(self, hub: str) -> int:
        if hub not in self._partitions:
            raise NotFound(f"there is no hub {hub!r}; there are {', '.join(sorted(self._partitions))}")
        return self._partitions[hub]

    def _check(self, hub: str, partition: int) -> None:
        if not 0 <= partition < self._count(hub):
            raise NotFound(f"hub {hub!r} has no partition {partition}; it has 0 to {self._count(hub) - 1}")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Hold the settings against the counts the events were placed by; make the hubs that are new."""
        stored = dict(connection.execute("SELECT hub, count(*) FROM partitions GROUP BY hub").fetchall())
        problems = [
            Problem(
                f"FLOCKIQ_PARTITIONS_{hub.upper()}",
                0,
                "",
                f"hub {hub} keeps events placed over {stored[hub]} partitions, the settings say {count}",
                f"set it to {stored[hub]}, or begin with an empty data folder",
            )
            for hub, count in self._partitions.items()
            if stored.get(hub, count) != count
        ]
        if problems:
            raise ConfigError(problems)
        for hub in self._partitions.keys() - stored.keys():
            connection.executemany(
                "INSERT INTO partitions (hub, partition) VALUES (?, ?)",
                [(hub, number) for number in range(self._partitions[hub])],
            )
        self._ids = {
            (hub, number): identity
            for identity, hub, number in connection.execute("SELECT id, hub, partition FROM partitions")
        }

    def _range(self, key: Key) -> tuple[int, int]:
        """The first row position of a partition, and one past its last."""
        identity = self._ids[key]
        return identity << _SEQUENCE_BITS, (identity + 1) << _SEQUENCE_BITS

    def _rows(
        self, connection: sqlite3.Connection, key: Key, start: int, limit: int
    ) -> list[tuple[int, int, bytes, bytes]]:
        low, high = self._range(key)
        found: list[tuple[int, int, bytes, bytes]] = []
        size = 0
        for row in connection.execute(
            "SELECT position, enqueued_us, body, properties FROM events"
            " WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
            (min(low + max(start, 0), high), high, max(limit, 0)),
        ):
            found.append(row)
            size += len(row[2])
            if size >= READ_BYTES:
                break
        return found

    def _append(
        self,
        connection: sqlite3.Connection,
        hub: str,
        number: int,
        rows: Sequence[tuple[int, bytes, bytes]],
        now_us: int,
    ) -> int:
        """Write rows of (size, properties, body) to one partition; the sequence after the last."""
        low, _ = self._range((hub, number))
        following, last_us = connection.execute(
            "SELECT next, enqueued_us FROM partitions WHERE id = ?", (self._ids[hub, number],)
        ).fetchone()
        now_us = max(now_us, last_us)  # the clock may step back; a partition's times do not
        connection.executemany(
            "INSERT INTO events (position, enqueued_us, size, properties, body) VALUES (?, ?, ?, ?, ?)",
            [(low + following + at, now_us, *row) for at, row in enumerate(rows)],
        )
        connection.execute(
            "UPDATE partitions SET next = ?, enqueued_us = ?, bytes = bytes + ? WHERE id = ?",
            (following + len(rows), now_us, sum(row[0] for row in rows), self._ids[hub, number]),
        )
        return int(following) + len(rows)

    def _sweep(self, connection: sqlite3.Connection, now_us: int) -> None:
        """Drop from every partition what is over age or over size, oldest first."""
        held = connection.execute("SELECT hub, partition, id, bytes FROM partitions").fetchall()
        for hub, number, identity, total in held:
            low, high = self._range((hub, number))
            kept, left = low, total
            for position, enqueued_us, size in connection.execute(
                "SELECT position, enqueued_us, size FROM events"
                " WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
                (low, high, SWEPT),
            ):
                if enqueued_us >= now_us - self._retention_us and left <= self._retention_bytes:
                    break
                kept, left = position + 1, left - size
            if left != total:
                connection.execute("DELETE FROM events WHERE position >= ? AND position < ?", (low, kept))
                connection.execute("UPDATE partitions SET bytes = ? WHERE id = ?", (left, identity))

    def _watch(self) -> None:
        """See that somebody watches for those who wait on this loop."""
        if self._watching is None or self._watching.done() or self._watching.get_loop() != asyncio.get_running_loop():
            self._watching = asyncio.create_task(self._watched())

    async def _watched(self) -> None:
        """Look what other processes wrote, while somebody waits; those who wait ask for themselves what is wrong."""
        pause = SOON_S
        while any(self._waiters.values()):
            await asyncio.sleep(min(pause, NOTICE_S))
            try:
                pause = SOON_S if await self._notice() else pause * SLOWER
            except FlockIQError:
                self._wake(list(self._waiters))
                return

    async def _notice(self) -> bool:
        """Learn how far every partition is, if anybody has written since it was asked; whether that was so."""
        version = await self._database.version()
        if version is not None and version == self._noticed:
            return False
        found = await self._database.read(
            lambda connection: connection.execute("SELECT hub, partition, next FROM partitions").fetchall()
        )
        self._noticed = version
        self._advance({(hub, number): end for hub, number, end in found})
        return True

    def _advance(self, ends: Mapping[Key, int]) -> None:
        further = [key for key, end in ends.items() if end > self._ends.get(key, 0)]
        self._ends |= {key: ends[key] for key in further}
        self._wake(further)

    def _wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            for woken in list(self._waiters[key]):
                woken.get_loop().call_soon_threadsafe(_end, woken)


def _end(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
