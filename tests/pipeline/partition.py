"""A partition of hub ``resolved`` under test: histories as packed events, over real adapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from flockiq.pipeline.resolved import Resolved
from flockiq.shared import wire
from flockiq.shared.alerts import OPEN, AlertQuery
from flockiq.shared.instants import rfc3339
from flockiq.shared.owner import Input, Owner
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from tests.engine.histories import FIELDS, plan
from tests.engine.reference import Event, Reference

LOG = "process_resolved/0"
DECIMALS = {field.name for field in FIELDS if field.kind == "decimal"}


def open_services(folder: Path, **settings: int) -> Services:
    """The embedded adapters over a folder."""
    return connect(Settings(data=folder, **settings))  # type: ignore[arg-type]  # only numbers are given


def owner(services: Services) -> Owner:
    """An owner of the partition with nothing in memory, as a process that has just started."""
    return Owner(services, LOG, Resolved({"thing": plan()}, services.settings))


def line(event: Event) -> tuple[str, bytes]:
    """An event as a line of hub ``resolved``, with its kind."""
    if event.op == "close":
        action = wire.ActionData(
            action="resolve",
            alert_id="",
            fingerprint="",
            rule=event.rule,
            entity_id=event.entity,
            by="tester",
            at_us=event.us,
        )
        made = wire.Action(
            id=event.id, source="serve", type=wire.ACTION, time=rfc3339(event.us), tenant="default", data=action
        )
        return wire.ACTION, wire.encode(made)
    fields = {
        name: f"{value / 100:.2f}" if name in DECIMALS and isinstance(value, int) else value
        for name, value in event.values
    }
    data = wire.ResolvedData(
        op="d" if event.op == "delete" else "u",
        entity="thing",
        entity_id=event.entity,
        match_key=event.entity,
        group=event.group,
        stream="things",
        key=event.entity,
        ts_us=event.us,
        run=event.rr >> 32,
        row=event.rr & 0xFFFFFFFF,
        captured_us=event.us,
        fields=fields,  # type: ignore[arg-type]  # histories hold scalars only
    )
    resolved = wire.Resolved(
        id=event.id,
        source=event.source,
        type=wire.RESOLVED,
        subject=f"thing/{event.entity}",
        time=rfc3339(event.us),
        tenant="default",
        data=data,
    )
    return wire.RESOLVED, wire.encode(resolved)


def packed(events: Sequence[Event]) -> list[bytes]:
    """Events as bodies, one for each run of lines of one kind."""
    bodies: list[bytes] = []
    lines: list[bytes] = []
    held = ""
    for event in events:
        kind, text = line(event)
        if kind != held and lines:
            bodies += [out.body for out in wire.pack(0, held, lines)]
            lines = []
        held = kind
        lines.append(text)
    return bodies + [out.body for out in wire.pack(0, held, lines)] if lines else bodies


def tick(at_us: int) -> bytes:
    """A tick of the clock."""
    made = wire.Tick(
        id=f"tick-{at_us}",
        source="clock",
        type=wire.TICK,
        time=rfc3339(at_us),
        tenant="default",
        data=wire.TickData(at_us=at_us),
    )
    (out,) = wire.pack(0, wire.TICK, [wire.encode(made)])
    return out.body


def numbered(bodies: Sequence[bytes], start: int = 0) -> list[Input]:
    """Bodies with sequence numbers."""
    return [Input(start + number, body) for number, body in enumerate(bodies)]


async def effective_deltas(services: Services) -> set[tuple[str, ...]]:
    """The deltas that stand, from what was told to the Eventhouse: (entity, field, cause, old, new)."""
    await services.analytics.flush()
    table = await services.analytics.query(
        "Deltas | project DeltaId, EntityId, Field, CauseId, Old, New, Kind, Retracts, CommittedAt"
    )
    told: dict[str, tuple[str, ...]] = {}
    last: dict[str, tuple[str, bool]] = {}
    for delta, entity, field, cause, old, new, kind, retracts, at in table.rows:
        name, stands = (str(retracts), False) if kind == "retracted" else (str(delta), True)
        told.setdefault(name, (str(entity), str(field), str(cause), str(old or ""), str(new or "")))
        if name not in last or (str(at), stands) >= last[name]:
            last[name] = (str(at), stands)
    return {told[name] for name, (_, stands) in last.items() if stands}


async def open_alerts(services: Services) -> dict[tuple[str, str], tuple[str, int, int, str]]:
    """{(entity, rule): (cause, opened, count, status)} from the alert store."""
    page = await services.alerts.query("default", AlertQuery(statuses=OPEN, limit=500))
    found = {
        (alert.subject, alert.rule): (alert.cause, alert.opened_us, alert.count, str(alert.status))
        for alert in page.alerts
    }
    assert len(found) == len(page.alerts), "a fingerprint has two open alerts"
    return found


async def golden(services: Services) -> dict[str, dict[str, object]]:
    """Golden records as told to the Eventhouse."""
    await services.analytics.flush()
    table = await services.analytics.query(
        "Entities | summarize arg_max(Version, *) by EntityId | project EntityId, Fields"
    )
    return {str(entity): dict(msgspec.convert(fields, dict[str, object])) for entity, fields in table.rows}


def expected_golden(reference: Reference) -> dict[str, dict[str, object]]:
    """The reference's golden records as the wire writes them, without what has no value."""
    return {
        entity: {
            name: f"{value / 100:.2f}" if name in DECIMALS and isinstance(value, int) else value
            for name, value in record.items()
            if value is not None
        }
        for entity, record in reference.golden.items()
    }


def expected_deltas(reference: Reference) -> set[tuple[str, ...]]:
    """The reference's deltas as the Eventhouse has them."""

    def text(field: object, value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return f"{value / 100:.2f}" if field in DECIMALS and isinstance(value, int) else str(value)

    return {
        (str(entity), str(field), str(cause), text(field, old), text(field, new))
        for entity, field, cause, old, new in reference.deltas
    }


def expected_alerts(reference: Reference) -> dict[tuple[str, str], tuple[str, int, int, str]]:
    """The reference's open alerts as the alert store has them."""
    return {
        slot: (
            str(episode["cause"]),
            int(str(episode["opened"])),
            int(str(episode["count"])),
            "firing" if episode["fired"] else "pending",
        )
        for slot, episode in reference.open.items()
    }
