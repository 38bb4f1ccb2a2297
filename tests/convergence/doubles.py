"""The ports in memory, with the contract of tests/conformance and faults on request.

Durable as long as the ``Memory`` lives: services opened over it again are a restart. A fault is
asked for before each call and again after it: it may let the call pass, refuse it, or have it
carried out and then report that it was not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import msgspec

from flockiq.shared import alerts as life
from flockiq.shared.alerts import OPEN, Alert, AlertPage, AlertQuery, AlertTransition, HistoryEntry
from flockiq.shared.errors import BadRecord, Conflict, FenceLost, NotFound
from flockiq.shared.ports import (
    Analytics,
    Blobs,
    Bounds,
    Document,
    EventStream,
    OutgoingEvent,
    Registry,
    Secrets,
    StateRead,
    StateVersion,
    StoredEvent,
)
from flockiq.shared.services import Services
from flockiq.shared.settings import Settings

Moment = Literal["before", "after"]
Fault = Callable[[str, Moment], None]
"""Called with the port and when; raises what the caller is to see."""

PAGE = 1000


def none(_port: str, _moment: Moment) -> None:
    """No fault."""


class Log:
    """One state log."""

    def __init__(self) -> None:
        self.generation = 0
        self.snapshot = b""
        self.entries: list[bytes] = []

    @property
    def version(self) -> StateVersion:
        """Where it is."""
        return StateVersion(self.generation, len(self.entries))


class Memory:
    """What outlives a process."""

    def __init__(self) -> None:
        self.hubs: dict[tuple[str, int], list[StoredEvent]] = defaultdict(list)
        self.logs: dict[str, Log] = {}
        self.alerts: dict[tuple[str, str], Alert] = {}
        self.history: dict[tuple[str, str], list[HistoryEntry]] = defaultdict(list)
        self.documents: dict[str, Document] = {}
        self.tables: dict[str, list[bytes]] = defaultdict(list)
        self.blobs: dict[str, bytes] = {}

    def services(self, settings: Settings, fault: Fault = none) -> Services:
        """A process's services over this memory."""
        return Services(
            settings=settings,
            events=cast("EventStream", Events(self, settings, fault)),
            state=State(self, fault),
            alerts=Alerts(self, fault),
            registry=cast("Registry", Documents(self)),
            analytics=cast("Analytics", Tables(self, fault)),
            secrets=cast("Secrets", Nothing()),
            blobs=cast("Blobs", Files(self)),
        )


class Nothing:
    """A port that holds nothing."""

    async def close(self) -> None:
        """Nothing is held."""


class Events(Nothing):
    """EventStream: lists."""

    def __init__(self, memory: Memory, settings: Settings, fault: Fault) -> None:
        self._hubs, self._settings, self._fault = memory.hubs, settings, fault

    async def partition_count(self, hub: str) -> int:
        """See ``EventStream.partition_count``."""
        return self._settings.partitions[hub]

    async def publish(self, hub: str, events: Sequence[OutgoingEvent]) -> None:
        """See ``EventStream.publish``."""
        self._fault("hub", "before")
        for event in events:
            log = self._hubs[hub, event.partition]
            log.append(StoredEvent(event.partition, len(log), str(len(log)), 0, event.body, event.properties))
        self._fault("hub", "after")

    async def read(self, hub: str, partition: int, start: int, limit: int) -> Sequence[StoredEvent]:
        """See ``EventStream.read``."""
        return self._hubs[hub, partition][start : start + limit]

    async def bounds(self, hub: str, partition: int) -> Bounds:
        """See ``EventStream.bounds``."""
        return Bounds(0, len(self._hubs[hub, partition]))


class State(Nothing):
    """StateStore: lists of entries behind a fence."""

    def __init__(self, memory: Memory, fault: Fault) -> None:
        self._logs, self._fault = memory.logs, fault

    async def read(self, log: str, after: StateVersion | None = None) -> StateRead:
        """See ``StateStore.read``."""
        found = self._logs.get(log, Log())
        continues = after is not None and after.generation == found.generation and after.length <= len(found.entries)
        start = after.length if after is not None and continues else 0
        return StateRead(found.version, None if continues else found.snapshot, list(found.entries[start:]))

    async def append(self, log: str, entry: bytes, expected: StateVersion) -> StateVersion:
        """See ``StateStore.append``."""
        self._fault("state", "before")
        found = self._at(log, expected)
        found.entries.append(entry)
        self._fault("state", "after")
        return StateVersion(expected.generation, expected.length + 1)

    async def roll(self, log: str, snapshot: bytes, expected: StateVersion) -> StateVersion:
        """See ``StateStore.roll``."""
        self._fault("roll", "before")
        found = self._at(log, expected)
        found.generation, found.snapshot, found.entries = expected.generation + 1, snapshot, []
        self._fault("roll", "after")
        return found.version

    async def logs(self, prefix: str = "") -> Sequence[str]:
        """See ``StateStore.logs``."""
        return sorted(name for name in self._logs if name.startswith(prefix))

    def _at(self, log: str, expected: StateVersion) -> Log:
        found = self._logs.get(log, Log())
        if found.version != expected:
            raise FenceLost(f"state log {log!r} is at {found.version}, not at {expected}")
        return self._logs.setdefault(log, found)


class Alerts(Nothing):
    """AlertStore: what ``shared.alerts`` says, in a dict."""

    def __init__(self, memory: Memory, fault: Fault) -> None:
        self._alerts, self._history, self._fault = memory.alerts, memory.history, fault

    async def apply(self, tenant: str, transitions: Sequence[AlertTransition]) -> int:
        """See ``AlertStore.apply``."""
        self._fault("alerts", "before")
        changed = 0
        for transition in transitions:
            inherited = self._alerts.get((tenant, transition.replaces))
            alert = life.advance(self._alerts.get((tenant, transition.id)), transition, inherited)
            if alert is not None:
                self._alerts[tenant, alert.id] = alert
                self._history[tenant, alert.id].append(life.entry(transition, alert))
                changed += 1
        self._fault("alerts", "after")
        return changed

    async def act(self, tenant: str, alert_id: str, action: str, by: str, at_us: int) -> Alert:
        """See ``AlertStore.act``."""
        alert = await self.get(tenant, alert_id)
        changed = life.act(alert, action, by, at_us)
        if changed is None:
            return alert
        self._alerts[tenant, alert_id] = changed
        entry = HistoryEntry(at_us=at_us, by=by, change=action, status=changed.status, reason="")
        self._history[tenant, alert_id].append(entry)
        return changed

    async def get(self, tenant: str, alert_id: str) -> Alert:
        """See ``AlertStore.get``."""
        if (tenant, alert_id) not in self._alerts:
            raise NotFound(f"there is no alert {alert_id!r} in tenant {tenant!r}")
        return self._alerts[tenant, alert_id]

    async def query(self, tenant: str, query: AlertQuery) -> AlertPage:
        """See ``AlertStore.query``."""
        limit = min(max(query.limit, 1), PAGE)
        before = _mark(query.continuation)
        found = [
            alert
            for (owner, _), alert in self._alerts.items()
            if owner == tenant
            and (not query.statuses or alert.status in query.statuses)
            and query.rule in ("", alert.rule)
            and query.subject in ("", alert.subject)
            and (alert.lasting or not query.lasting)
            and (before is None or (alert.opened_us, alert.id) < before)
        ]
        found.sort(key=lambda alert: (alert.opened_us, alert.id), reverse=True)
        page = found[:limit]
        more = len(found) > limit
        return AlertPage(page, f"{page[-1].opened_us}/{page[-1].id}" if more else "")

    async def history(self, tenant: str, alert_id: str) -> Sequence[HistoryEntry]:
        """See ``AlertStore.history``."""
        return sorted(self._history.get((tenant, alert_id), []), key=lambda entry: entry.at_us)

    async def restore(self, tenant: str, alert: Alert, history: Sequence[HistoryEntry]) -> None:
        """See ``AlertStore.restore``."""
        self._alerts[tenant, alert.id] = alert
        self._history[tenant, alert.id] = list(history)

    async def forget(self, tenant: str, subject: str) -> int:
        """See ``AlertStore.forget``."""
        gone = [slot for slot, alert in self._alerts.items() if slot[0] == tenant and alert.subject == subject]
        for slot in gone:
            del self._alerts[slot]
            self._history.pop(slot, None)
        return len(gone)

    async def counts(self, tenant: str) -> Mapping[str, Mapping[str, int]]:
        """See ``AlertStore.counts``."""
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for (owner, _), alert in self._alerts.items():
            if owner == tenant:
                counts[alert.rule][alert.status] += 1
        return {rule: dict(by_status) for rule, by_status in counts.items()}


def _mark(continuation: str) -> tuple[int, str] | None:
    if not continuation:
        return None
    opened, slash, alert = continuation.partition("/")
    if not slash or not opened.isdigit():
        raise BadRecord("is not one that a page of alerts gave", field="continuation")
    return int(opened), alert


class Documents(Nothing):
    """Registry: what an owner needs of it."""

    def __init__(self, memory: Memory) -> None:
        self._documents = memory.documents

    async def get(self, key: str) -> Document | None:
        """See ``Registry.get``."""
        return self._documents.get(key)

    async def put(self, key: str, value: bytes, etag: str | None) -> str:
        """See ``Registry.put``."""
        known = self._documents.get(key)
        if (known.etag if known else None) != etag:
            raise Conflict(f"document {key!r} changed since it was read")
        made = Document(value, str(int(etag or 0) + 1))
        self._documents[key] = made
        return made.etag


class Tables(Nothing):
    """Analytics: rows as they were given, table by table."""

    def __init__(self, memory: Memory, fault: Fault) -> None:
        self._tables, self._fault = memory.tables, fault

    async def ingest(self, table: str, rows: bytes) -> None:
        """See ``Analytics.ingest``."""
        self._fault("rows", "before")
        self._tables[table] += rows.split(b"\n")
        self._fault("rows", "after")


class Files(Nothing):
    """Blobs: what burying a dead letter needs of them."""

    def __init__(self, memory: Memory) -> None:
        self._blobs = memory.blobs

    async def put(self, path: str, body: bytes, *, create_only: bool = False) -> None:
        """See ``Blobs.put``."""
        if create_only and path in self._blobs:
            raise Conflict(f"{path} exists")
        self._blobs[path] = body


def open_alerts(memory: Memory) -> list[Alert]:
    """Every alert that is open."""
    return [alert for alert in memory.alerts.values() if alert.status in OPEN]


def rows(memory: Memory, table: str) -> list[dict[str, object]]:
    """A table's rows, in the order they were ingested."""
    return msgspec.json.decode(b"[" + b",".join(memory.tables[table]) + b"]")  # type: ignore[no-any-return]
