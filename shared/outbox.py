"""The outbox: what a batch gives out, committed with its state and published after the commit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence

import msgspec

from flockiq.shared import telemetry
from flockiq.shared.alerts import AlertTransition
from flockiq.shared.ports import Analytics, OutgoingEvent
from flockiq.shared.services import Services
from flockiq.shared.tabular import TakesColumns, ndjson


class Outbox(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Everything a batch gives out. Publishing it again changes nothing that matters."""

    events: dict[str, list[OutgoingEvent]] = {}  # by hub
    transitions: list[AlertTransition] = []
    rows: dict[str, bytes] = {}  # NDJSON by table of the Eventhouse, as an earlier version left it
    columns: dict[str, bytes] = {}  # rows as columns (shared.tabular), by table

    def __bool__(self) -> bool:
        return bool(self.events or self.transitions or self.rows or self.columns)


async def publish(services: Services, outbox: Outbox) -> None:
    """Give it all out at once; returns once everything is acknowledged. Raises what the ports raise."""
    ways: list[Awaitable[object]] = []
    if outbox.transitions:
        ways.append(_tell(services, outbox.transitions))
    ways += [services.events.publish(hub, events) for hub, events in outbox.events.items()]
    ways += [_ingest_rows(services.analytics, table, rows) for table, rows in outbox.rows.items()]
    ways += [ingest(services.analytics, table, columns) for table, columns in outbox.columns.items()]
    for error in await asyncio.gather(*ways, return_exceptions=True):  # all have ended before anything is tried again
        if isinstance(error, BaseException):
            raise error


async def _tell(services: Services, transitions: list[AlertTransition]) -> None:
    with telemetry.within("alerts", steps=len(transitions)):
        await services.alerts.apply(services.settings.tenant, transitions)
    tell_steps(transitions)


def tell_steps(transitions: Sequence[AlertTransition]) -> None:
    """Count what was told to the alert store."""
    for change, steps in Counter(step.change for step in transitions).items():
        telemetry.add(telemetry.ALERTS, steps, change=change)


async def _ingest_rows(analytics: Analytics, table: str, rows: bytes) -> None:
    with telemetry.timed(telemetry.INGEST, table=table):
        await analytics.ingest(table, rows)


async def ingest(analytics: Analytics, table: str, columns: bytes) -> None:
    """Rows as columns (shared.tabular), to whatever takes them; raises what ``Analytics.ingest`` raises."""
    with telemetry.timed(telemetry.INGEST, table=table):
        if isinstance(analytics, TakesColumns):
            await analytics.ingest_columns(table, columns)
        else:
            await analytics.ingest(table, ndjson(columns))
