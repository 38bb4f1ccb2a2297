"""The numbers at the top of the page and at the end of a run."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import cast

import msgspec

from flockiq.serve.queries import Row, ask
from flockiq.shared.alerts import AlertQuery
from flockiq.shared.progress import noted
from flockiq.shared.services import Services
from flockiq.shared.status import statuses

LATENCY_WINDOW = dt.timedelta(minutes=15)
_OPEN_ALERTS_COUNTED = 1000


class Latency(msgspec.Struct, frozen=True):
    """From a change's commit in its source to its golden record, ms; None while nothing changed."""

    p50: float | None
    p99: float | None
    changes: int


class Summary(msgspec.Struct, frozen=True):
    """How much came in, what it became, and how fast."""

    captured: dict[str, int]  # {source: records}
    entities: int
    entity_types: dict[str, int]
    deltas: int  # those that stand: retracted ones are not counted
    alerts: dict[str, dict[str, int]]  # {rule: {status: alerts}}
    open_alerts: dict[str, int]  # {severity: firing or acknowledged alerts}
    dead_letters: int
    duplicates_absorbed: int
    too_late: int  # rows beyond lateness: folded, but nothing after them was worked out again
    latency_ms: Latency


async def summary(services: Services, since: dt.datetime) -> Summary:
    """The summary; latency over changes committed in their source after ``since``."""
    tenant = services.settings.tenant
    (streams, counts, page, done), (types, deltas, letters, latency) = await asyncio.gather(
        asyncio.gather(
            statuses(services),
            services.alerts.counts(tenant),
            services.alerts.query(tenant, AlertQuery(statuses=("firing", "acknowledged"), limit=_OPEN_ALERTS_COUNTED)),
            noted(services),
        ),
        asyncio.gather(
            ask(services, "entity_types"),
            ask(services, "effective_deltas"),
            ask(services, "dead_letter_count"),
            ask(services, "latency", since=since.isoformat()),
        ),
    )
    captured: Counter[str] = Counter()
    for (source, _), status in streams.items():
        captured[source] += status.records
    by_type = {str(row["EntityType"]): cast("int", row["Count"]) for row in types}
    return Summary(
        captured=dict(sorted(captured.items())),
        entities=sum(by_type.values()),
        entity_types=by_type,
        deltas=_count(deltas),
        alerts={rule: dict(by_status) for rule, by_status in counts.items()},
        open_alerts=dict(Counter(alert.severity for alert in page.alerts)),
        dead_letters=_count(letters),
        duplicates_absorbed=sum(each.duplicates for each in done.values()),
        too_late=sum(each.too_late for each in done.values()),
        latency_ms=_latency(latency),
    )


def _count(rows: list[Row]) -> int:
    return cast("int", rows[0]["Count"]) if rows else 0


def _latency(rows: list[Row]) -> Latency:
    changes = cast("int", rows[0]["Changes"]) if rows else 0
    if not changes:
        return Latency(p50=None, p99=None, changes=0)
    p50, p99 = cast("float", rows[0]["P50"]), cast("float", rows[0]["P99"])
    return Latency(p50=round(p50, 1), p99=round(p99, 1), changes=changes)
