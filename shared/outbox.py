"""The outbox: what a batch gives out, committed with its state and published after the commit."""

from __future__ import annotations

import msgspec

from flockiq.shared.alerts import AlertTransition
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.services import Services
from flockiq.shared.tabular import TakesColumns, ndjson


class Outbox(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Everything a batch gives out. Publishing it again changes nothing that matters."""

    events: dict[str, list[OutgoingEvent]] = {}  # by hub
    transitions: list[AlertTransition] = []
    rows: dict[str, bytes] = {}  # NDJSON by table of the Eventhouse
    columns: dict[str, bytes] = {}  # rows as columns (shared.tabular), by table

    def __bool__(self) -> bool:
        return bool(self.events or self.transitions or self.rows or self.columns)


async def publish(services: Services, outbox: Outbox) -> None:
    """Give it all out; returns once everything is acknowledged. Raises what the ports raise."""
    for hub, events in outbox.events.items():
        await services.events.publish(hub, events)
    if outbox.transitions:
        await services.alerts.apply(services.settings.tenant, outbox.transitions)
    for table, rows in outbox.rows.items():
        await services.analytics.ingest(table, rows)
    for table, columns in outbox.columns.items():
        if isinstance(services.analytics, TakesColumns):
            await services.analytics.ingest_columns(table, columns)
        else:
            await services.analytics.ingest(table, ndjson(columns))
