"""A person acknowledges or resolves: stored first, then told to whoever keeps the condition."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from fastapi import Request

from flockiq.serve.access import caller
from flockiq.shared import rawhistory, wire
from flockiq.shared.alerts import Alert
from flockiq.shared.positions import bucket, hash_id
from flockiq.shared.services import Services

Verb = Literal["acknowledge", "resolve"]


def operator(request: Request) -> str:
    """Who asks."""
    return caller(request).name


async def act(services: Services, alert_id: str, verb: Verb, by: str, at_us: int) -> Alert:
    """Carry out ``verb`` and send it to the partition that keeps the alert's condition.

    Doing it again is safe and sends it again, so that a press whose message was lost can be
    repeated. NotFound if there is no such alert; HubUnavailable when it is stored but not sent.
    """
    tenant = services.settings.tenant
    alert = await services.alerts.act(tenant, alert_id, verb, by, at_us)
    if alert.group:
        partition = bucket(alert.group, await services.events.partition_count("resolved"))
        line = wire.encode(action_line(tenant, alert, verb, by, at_us))
        await rawhistory.keep_line(services.blobs, tenant, at_us, line)
        await services.events.publish("resolved", list(wire.pack(partition, wire.ACTION, [line])))
    return alert


def action_line(tenant: str, alert: Alert, verb: Verb, by: str, at_us: int) -> wire.Action:
    """The line that tells the engine of a person's action."""
    entity = "" if alert.subject_type in ("feed", "query") else alert.subject
    return wire.Action(
        id=hash_id(tenant, alert.id, verb, by, str(at_us)),
        source="flockiq",
        type=wire.ACTION,
        time=dt.datetime.fromtimestamp(at_us / 1e6, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        tenant=tenant,
        data=wire.ActionData(
            action=verb,
            alert_id=alert.id,
            fingerprint=alert.fingerprint,
            rule=alert.rule,
            entity_id=entity,
            by=by,
            at_us=at_us,
        ),
    )
