"""The seven ports: what FlockIQ needs of the world, in batches.

Each has two adapters, ``shared.adapters.embedded`` (sqlite, DuckDB, folders: any machine) and
``shared.adapters.azure``; one conformance suite per port (tests/conformance) runs over both.
All are asynchronous; an adapter over a blocking library keeps to a thread of its own.
Keys and names given here already hold the tenant where that matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from flockiq.shared.alerts import Alert, AlertPage, AlertQuery, AlertTransition, HistoryEntry

MAX_EVENT_BYTES: Final = 4 << 20
"""Of an event's body with its properties; where a hub takes less, its adapter keeps the body elsewhere."""


class OutgoingEvent(msgspec.Struct, frozen=True):
    """One event to publish: a body for one partition of a hub, MAX_EVENT_BYTES at most."""

    partition: int
    body: bytes
    properties: dict[str, str] = {}


class StoredEvent(msgspec.Struct, frozen=True):
    """One event as the hub keeps it; sequence numbers count up by one within a partition."""

    partition: int
    sequence: int
    offset: str
    enqueued_us: int
    body: bytes
    properties: dict[str, str] = {}


class Bounds(NamedTuple):
    """The retained range of a partition: ``first`` is the oldest kept, ``end`` one past the newest."""

    first: int
    end: int


class EventStream(Protocol):
    """Ordered partitions of events (Event Hubs | a sqlite log). Delivery is at least once."""

    async def partition_count(self, hub: str) -> int:
        """How many partitions ``hub`` has. NotFound if there is no such hub."""
        ...

    async def publish(self, hub: str, events: Sequence[OutgoingEvent]) -> None:
        """Append; returns once every event is acknowledged. Order holds within a partition.

        HubUnavailable: some may have been written, none is promised; publish all again.
        """
        ...

    async def read(self, hub: str, partition: int, start: int, limit: int) -> Sequence[StoredEvent]:
        """Up to ``limit`` retained events with sequence >= ``start``, oldest first; [] at the end."""
        ...

    async def bounds(self, hub: str, partition: int) -> Bounds:
        """The retained sequence range; ``Bounds(n, n)`` when nothing is retained."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


class StateVersion(NamedTuple):
    """How far a state log has been read: a generation (snapshots count up) and its length."""

    generation: int
    length: int


class StateRead(NamedTuple):
    """What a state log holds after some version.

    ``snapshot`` is set when the reader must start over: forget everything, load it (b"" is the
    empty log), then apply ``entries`` in order. It is None when ``entries`` continue what was read.
    """

    version: StateVersion
    snapshot: bytes | None
    entries: Sequence[bytes]


class StateStore(Protocol):
    """Append-only state logs with fencing (append blobs and ``appendpos`` | sqlite)."""

    async def read(self, log: str, after: StateVersion | None = None) -> StateRead:
        """What came after ``after``; None, or a version of an older generation, reads all."""
        ...

    async def append(self, log: str, entry: bytes, expected: StateVersion) -> StateVersion:
        """Append durably and atomically if the log is still at ``expected``; else FenceLost."""
        ...

    async def roll(self, log: str, snapshot: bytes, expected: StateVersion) -> StateVersion:
        """Start the next generation with ``snapshot`` if still at ``expected``; else FenceLost."""
        ...

    async def logs(self, prefix: str = "") -> Sequence[str]:
        """The names of all logs that begin with ``prefix``, sorted."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


class AlertStore(Protocol):
    """Alerts and their history (Cosmos DB | sqlite). Every call is within one tenant."""

    async def apply(self, tenant: str, transitions: Sequence[AlertTransition]) -> int:
        """Apply in order, as ``shared.alerts.advance`` says; returns how many changed something.

        Applying the same transitions again, in whole or in part, changes nothing.
        """
        ...

    async def act(self, tenant: str, alert_id: str, action: str, by: str, at_us: int) -> Alert:
        """A person acknowledges or resolves, as ``shared.alerts.act`` says. NotFound if unknown."""
        ...

    async def get(self, tenant: str, alert_id: str) -> Alert:
        """One alert; NotFound if unknown."""
        ...

    async def query(self, tenant: str, query: AlertQuery) -> AlertPage:
        """Alerts newest first (opened_us, then id, descending), a page at a time."""
        ...

    async def history(self, tenant: str, alert_id: str) -> Sequence[HistoryEntry]:
        """Everything that happened to one alert, oldest first."""
        ...

    async def counts(self, tenant: str) -> Mapping[str, Mapping[str, int]]:
        """{rule: {status: number of alerts}}."""
        ...

    async def restore(self, tenant: str, alert: Alert, history: Sequence[HistoryEntry]) -> None:
        """Keep an alert with its history as they were, in the place of what is kept under its id."""
        ...

    async def forget(self, tenant: str, subject: str) -> int:
        """Remove every alert about ``subject`` with its history; how many alerts. None is told of it."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


class Document(NamedTuple):
    """A registry document with the etag it was read at."""

    value: bytes
    etag: str


class Lease(NamedTuple):
    """A held lease; ``token`` counts up with every new holder, so a stale one is told apart."""

    name: str
    owner: str
    token: int
    expires_us: int


class Registry(Protocol):
    """Small documents with optimistic concurrency, and leases (Cosmos DB | sqlite)."""

    async def get(self, key: str) -> Document | None:
        """The document, or None."""
        ...

    async def put(self, key: str, value: bytes, etag: str | None) -> str:
        """Write if the document still has ``etag`` (None: if there is none yet); the new etag.

        Conflict if another wrote first.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the document if it exists."""
        ...

    async def list(self, prefix: str) -> Mapping[str, Document]:
        """All documents whose key begins with ``prefix``."""
        ...

    async def acquire(self, name: str, owner: str, ttl_s: float) -> Lease | None:
        """Take the lease if free, expired or already ``owner``'s; None while another holds it."""
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Extend; LeaseLost if it has passed to another."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it up; nothing happens if it has already passed on."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


class Table(NamedTuple):
    """A query's answer: column names and rows of JSON-like values (timestamps as RFC 3339 text)."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class Analytics(Protocol):
    """History for queries in KQL (Eventhouse | DuckDB through duckdb-kql).

    Ingestion is at least once; tables carry ids and versions so that queries are exact.
    """

    async def ingest(self, table: str, rows: bytes) -> None:
        """Append NDJSON rows (keys are the table's column names) to a table of eventhouse/.

        Returns once the rows are safe, which may be before a query sees them.
        """
        ...

    async def query(self, kql: str, parameters: Mapping[str, str | int | float] | None = None) -> Table:
        """Run KQL; parameters as in ``declare query_parameters``."""
        ...

    async def flush(self) -> None:
        """Make everything ingested so far visible to queries."""
        ...

    async def remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:
        """Remove the rows of a table that have all the values of one of ``like`` (text by column); how many."""
        ...

    async def close(self) -> None:
        """Flush and release what is held."""
        ...


class Secrets(Protocol):
    """Secrets by name (Key Vault by managed identity | the environment). Never logged."""

    async def get(self, name: str, *, fresh: bool = False) -> str:
        """The secret's value; NotFound says where it should be set. ``fresh`` skips the cache."""
        ...

    async def set(self, name: str, value: str) -> None:
        """Replace the secret durably, as a rotation needs; a ``fresh`` get then returns ``value``.

        ConfigError if it is kept where it can't be written. The last of two writers wins: hold a lease.
        """
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


class Blobs(Protocol):
    """Files by path: dead letters, spools, large records, raw history (Azure Blob | a folder)."""

    async def put(self, path: str, body: bytes, *, create_only: bool = False) -> None:
        """Write whole and durably; with ``create_only``, Conflict if it exists."""
        ...

    async def get(self, path: str) -> bytes:
        """Read whole; NotFound if it does not exist."""
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Up to ``limit`` paths that begin with ``prefix`` and sort after ``after``, sorted."""
        ...

    async def delete(self, path: str) -> None:
        """Remove if it exists."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...
