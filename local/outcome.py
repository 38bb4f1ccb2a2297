"""What an app ended with, in a form that two of them can be compared by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from flockiq.local.samples.records import records
from flockiq.merge.mapping import mapped, stream_plans
from flockiq.shared.alerts import OPEN, Alert, AlertQuery
from flockiq.shared.config.model import Config
from flockiq.shared.services import Services

Named = dict[object, object]
BY_THE_CLOCK = ("absence",)  # alerts about silence depend on when the app was listening, not on the changes

_ROWS = 500_000  # a query's answer holds no more than this


class Outcome(NamedTuple):
    """Golden records by entity, the deltas that stand, open alerts by rule and subject."""

    golden_records: Named
    effective_deltas: Named
    open_alerts: Named


async def read(services: Services) -> Outcome:
    """The outcome that an app's stores hold."""
    await services.analytics.flush()
    return Outcome(await _golden(services), await _deltas(services), await _alerts(services))


async def held_by_app(services: Services) -> dict[tuple[str, str], Named]:
    """What the app holds of each source's records that exist: {(source, stream): {key: fields}}."""
    held: dict[tuple[str, str], Named] = {}
    for row in await _all(services, "Entities", "EntityId", "summarize arg_max(Version, *) by EntityId"):
        for source, said in row["Sources"].items():
            if not said["deleted"]:
                fields = {name: value for name, value in said["values"].items() if value is not None}
                held.setdefault((source, said["stream"]), {})[said["key"]] = fields
    return held


async def entities_of_records(services: Services) -> Counter[tuple[str, str, str]]:
    """How many entities hold each record that exists, by (source, stream, key)."""
    return Counter(
        (source, said["stream"], said["key"])
        for row in await _all(services, "Entities", "EntityId", "summarize arg_max(Version, *) by EntityId")
        for source, said in row["Sources"].items()
        if not said["deleted"]
    )


async def versions_captured(services: Services) -> Counter[str]:
    """How many lines of table Changes tell of each version, by event id."""
    told: Counter[str] = Counter()
    for row in await _all(services, "Changes", "EventId", "summarize Lines = count() by EventId"):
        told[row["EventId"]] += row["Lines"]
    return told


def held_by_sources(data: Path, config: Config) -> dict[tuple[str, str], Named]:
    """What the sample systems hold, mapped to the entities' fields."""
    plans = stream_plans(config)
    held: dict[tuple[str, str], Named] = {}
    for name, found in records(data).items():
        keys = list(found)
        table = mapped(plans[name], [found[key] for key in keys], [True] * len(keys))
        held[name] = {
            key: {field: value for field, value in table.said(row).items() if value is not None}
            for row, key in enumerate(keys)
        }
    return held


async def _golden(services: Services) -> Named:
    found: Named = {}
    for row in await _all(services, "Entities", "EntityId", "summarize arg_max(Version, *) by EntityId"):
        sources = {
            source: (said["key"], said["deleted"], said["us"], said["values"])
            for source, said in row["Sources"].items()
        }
        found[row["EntityId"]] = (row["EntityType"], row["Fields"], row["Provenance"], sources)
    return found


async def _deltas(services: Services) -> Named:
    """The deltas whose latest row says that they stand."""
    told: dict[str, tuple[object, ...]] = {}
    last: dict[str, tuple[str, bool]] = {}
    for row in await _all(services, "Deltas", "DeltaId", "where isnotempty(DeltaId)"):
        stands = row["Kind"] != "retracted"
        name = row["DeltaId"] if stands else row["Retracts"]
        told[name] = tuple(row[column] for column in ("EntityId", "Field", "Old", "New", "CauseId"))
        order = (row["CommittedAt"], stands)
        if name not in last or order >= last[name]:
            last[name] = order
    return {name: told[name] for name, (_, stands) in last.items() if stands}


async def _alerts(services: Services) -> Named:
    found: Named = {}
    query = AlertQuery(statuses=OPEN, limit=200)
    while True:
        page = await services.alerts.query(services.settings.tenant, query)
        for alert in page.alerts:
            if alert.kind not in BY_THE_CLOCK:
                slot = (alert.rule, alert.subject)
                if slot in found:
                    raise AssertionError(f"two open alerts of rule {alert.rule} about {alert.subject}")
                found[slot] = _facts(alert)
        if not page.continuation:
            return found
        query = msgspec.structs.replace(query, continuation=page.continuation)


def _facts(alert: Alert) -> tuple[object, ...]:
    """What does not depend on when the app happened to look."""
    if alert.kind == "query":
        return (alert.status, alert.title, alert.values)
    return (alert.status, alert.cause, alert.opened_us, alert.count, alert.title, alert.values)


async def _all(services: Services, table: str, key: str, rest: str) -> list[Mapping[str, Any]]:
    """Every row of a table, asked for in parts by the first digits of a hexadecimal key."""
    found: list[Mapping[str, Any]] = []
    for prefix in _PREFIXES:
        answer = await services.analytics.query(f"{table} | where {key} startswith '{prefix}' | {rest}")
        if len(answer.rows) >= _ROWS:
            raise AssertionError(f"{table}: too many rows begin with {prefix!r}; ask in smaller parts")
        found += [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return found


_PREFIXES = "0123456789abcdef"
