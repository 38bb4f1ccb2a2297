"""Alerts and their history in one sqlite file; a batch of transitions is one transaction."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from flockiq.shared import alerts as life
from flockiq.shared.adapters.embedded.database import Database
from flockiq.shared.alerts import Alert, AlertPage, AlertQuery, AlertTransition, HistoryEntry
from flockiq.shared.errors import NotFound

ROWS = (64, 8, 1)  # that a statement writes: few different ones, which sqlite keeps prepared
LASTING = "json_extract(CAST(body AS TEXT), '$.lasting')"
SCHEMA = """
CREATE TABLE alerts (
    tenant TEXT NOT NULL, id TEXT NOT NULL, opened_us INTEGER NOT NULL, rule TEXT NOT NULL, status TEXT NOT NULL,
    subject TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (tenant, id));
CREATE INDEX alerts_by_time ON alerts (tenant, opened_us DESC, id DESC);
CREATE INDEX alerts_by_status ON alerts (tenant, status, opened_us DESC, id DESC);
CREATE INDEX alerts_by_rule ON alerts (tenant, rule, status, opened_us DESC, id DESC);
CREATE INDEX alerts_by_subject ON alerts (tenant, subject, opened_us DESC, id DESC);
CREATE TABLE history (
    number INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL, at_us INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX history_by_alert ON history (tenant, id, at_us, number)
"""
_encode = msgspec.json.Encoder().encode
_alert = msgspec.json.Decoder(Alert)
_alerts = msgspec.json.Decoder(list[Alert])
_entry = msgspec.json.Decoder(HistoryEntry)


class SqliteAlerts:
    """AlertStore over ``<data>/alerts.db``."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    async def apply(self, tenant: str, transitions: Sequence[AlertTransition]) -> int:
        """See ``AlertStore.apply``; all of a call is applied, or none."""
        if not transitions:
            return 0
        return await self._database.write(lambda connection: _apply(connection, tenant, transitions))

    async def act(self, tenant: str, alert_id: str, action: str, by: str, at_us: int) -> Alert:
        """See ``AlertStore.act``; an action that changes nothing leaves no history."""

        def write(connection: sqlite3.Connection) -> Alert:
            alert = _known(connection, tenant, alert_id)
            changed = life.act(alert, action, by, at_us)
            if changed is None:
                return alert
            _store(connection, tenant, [changed])
            entry = HistoryEntry(at_us=at_us, by=by, change=action, status=changed.status, reason="")
            _remember(connection, tenant, [(alert_id, entry)])
            return changed

        return await self._database.write(write)

    async def get(self, tenant: str, alert_id: str) -> Alert:
        """See ``AlertStore.get``."""
        return await self._database.read(lambda connection: _known(connection, tenant, alert_id))

    async def query(self, tenant: str, query: AlertQuery) -> AlertPage:
        """See ``AlertStore.query``; a page holds at most ``life.MAX_PAGE``. BadRecord for a continuation of no page."""
        limit = min(max(query.limit, 1), life.MAX_PAGE)
        text, values = _question(tenant, query)
        rows = await self._database.read(lambda connection: connection.execute(text, (*values, limit + 1)).fetchall())
        found = [_alert.decode(body) for (body,) in rows[:limit]]
        return AlertPage(found, life.continuation(found[-1]) if len(rows) > limit else "")

    async def history(self, tenant: str, alert_id: str) -> Sequence[HistoryEntry]:
        """See ``AlertStore.history``; [] if unknown."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT body FROM history WHERE tenant = ? AND id = ? ORDER BY at_us, number", (tenant, alert_id)
            ).fetchall()
        )
        return [_entry.decode(body) for (body,) in rows]

    async def counts(self, tenant: str) -> Mapping[str, Mapping[str, int]]:
        """See ``AlertStore.counts``."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT rule, status, count(*) FROM alerts WHERE tenant = ? GROUP BY rule, status", (tenant,)
            ).fetchall()
        )
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for rule, status, number in rows:
            counts[rule][status] = number
        return dict(counts)

    async def restore(self, tenant: str, alert: Alert, history: Sequence[HistoryEntry]) -> None:
        """See ``AlertStore.restore``."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM history WHERE tenant = ? AND id = ?", (tenant, alert.id))
            _store(connection, tenant, [alert])
            _remember(connection, tenant, [(alert.id, entry) for entry in history])

        await self._database.write(write)

    async def forget(self, tenant: str, subject: str) -> int:
        """See ``AlertStore.forget``."""

        def write(connection: sqlite3.Connection) -> int:
            about = (tenant, subject)
            connection.execute(
                "DELETE FROM history WHERE tenant = ?1 AND id IN"
                " (SELECT id FROM alerts WHERE tenant = ?1 AND subject = ?2)",
                about,
            )
            return connection.execute("DELETE FROM alerts WHERE tenant = ? AND subject = ?", about).rowcount

        return await self._database.write(write)

    async def scrub(self) -> None:
        """See ``Scrubs.scrub``."""
        await self._database.scrub()

    async def close(self) -> None:
        """See ``AlertStore.close``."""
        await self._database.close()


def _apply(connection: sqlite3.Connection, tenant: str, transitions: Sequence[AlertTransition]) -> int:
    """Apply in order; every alert is read and written once, however many of the transitions are its own."""
    before = _stored(connection, tenant, {one for step in transitions for one in (step.id, step.replaces) if one})
    known, changed = dict(before), dict[str, Alert]()
    entries: list[tuple[str, HistoryEntry]] = []
    for transition in transitions:
        alert = life.advance(known.get(transition.id), transition, known.get(transition.replaces))
        if alert is not None:
            known[alert.id] = changed[alert.id] = alert
            entries.append((alert.id, life.entry(transition, alert)))
    same = [one for one in changed.values() if one.id in before and _found_by(one) == _found_by(before[one.id])]
    _store(connection, tenant, same, _SEEN_AGAIN)
    for one in same:
        del changed[one.id]
    _store(connection, tenant, changed.values())
    _remember(connection, tenant, entries)
    return len(entries)


def _found_by(alert: Alert) -> tuple[int, str, str, str]:
    """What the columns beside an alert's body hold."""
    return alert.opened_us, alert.rule, alert.status, alert.subject


def _stored(connection: sqlite3.Connection, tenant: str, ids: Iterable[str]) -> dict[str, Alert]:
    """Those of ``ids`` that there are."""
    (bodies,) = connection.execute(
        "SELECT group_concat(CAST(body AS TEXT)) FROM alerts"
        " WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))",
        (tenant, _encode(list(ids)).decode()),
    ).fetchone()
    return {alert.id: alert for alert in _alerts.decode(f"[{bodies}]")} if bodies else {}


def _find(connection: sqlite3.Connection, tenant: str, alert_id: str) -> Alert | None:
    row = connection.execute("SELECT body FROM alerts WHERE tenant = ? AND id = ?", (tenant, alert_id)).fetchone()
    return _alert.decode(row[0]) if row else None


def _known(connection: sqlite3.Connection, tenant: str, alert_id: str) -> Alert:
    alert = _find(connection, tenant, alert_id)
    if alert is None:
        raise NotFound(f"there is no alert {alert_id!r} in tenant {tenant!r}")
    return alert


_ALERT = "INSERT INTO alerts (tenant, id, opened_us, rule, status, subject, body) VALUES {}"
_CHANGED = (
    " ON CONFLICT (tenant, id) DO UPDATE SET opened_us = excluded.opened_us, rule = excluded.rule,"
    " status = excluded.status, subject = excluded.subject, body = excluded.body"
)
_SEEN_AGAIN = " ON CONFLICT (tenant, id) DO UPDATE SET body = excluded.body"  # found as before: no index is touched
_ENTRY = "INSERT INTO history (tenant, id, at_us, body) VALUES {}"


def _store(connection: sqlite3.Connection, tenant: str, alerts: Iterable[Alert], known: str = _CHANGED) -> None:
    rows = [(tenant, alert.id, *_found_by(alert), _encode(alert)) for alert in alerts]
    _write(connection, _ALERT + known, rows)


def _remember(connection: sqlite3.Connection, tenant: str, entries: Iterable[tuple[str, HistoryEntry]]) -> None:
    _write(connection, _ENTRY, [(tenant, alert, entry.at_us, _encode(entry)) for alert, entry in entries])


def _write(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[str | int | bytes, ...]]) -> None:
    """Write rows, many by a statement; ``{}`` stands for their values.

    A thread lets go of the interpreter at each statement and then waits for it, while another thread folds.
    """
    begin = 0
    for size in ROWS:
        while len(rows) - begin >= size:
            some = rows[begin : begin + size]
            begin += size
            values = f"({', '.join('?' * len(some[0]))})"
            connection.execute(statement.format(", ".join([values] * size)), list(chain.from_iterable(some)))


def _question(tenant: str, query: AlertQuery) -> tuple[str, list[str | int]]:
    """The SELECT for a query, without its LIMIT's value; only constant text and placeholders."""
    conditions, values = ["tenant = ?"], [tenant, *query.statuses]
    if query.statuses:
        conditions.append(f"status IN ({', '.join('?' * len(query.statuses))})")
    if query.rule:
        conditions.append("rule = ?")
        values.append(query.rule)
    if query.subject:
        conditions.append("subject = ?")
        values.append(query.subject)
    if query.lasting:
        conditions.append(LASTING)
    bound: list[str | int] = list(values)
    if query.continuation:
        conditions.append("(opened_us, id) < (?, ?)")
        bound += life.place(query.continuation)
    where = " AND ".join(conditions)
    return f"SELECT body FROM alerts WHERE {where} ORDER BY opened_us DESC, id DESC LIMIT ?", bound  # noqa: S608 - see above
