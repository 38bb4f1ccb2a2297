"""Whether everything FlockIQ leans on is there: asked for real, each with a time limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from flockiq.serve import backfills
from flockiq.serve.backfills import BackfillShown
from flockiq.serve.progress import HubLag, hub_lag
from flockiq.serve.sources import Stream, streams
from flockiq.shared.alerts import AlertQuery
from flockiq.shared.backfills import OPEN
from flockiq.shared.circuits import WAY_OUT, Circuit, circuits
from flockiq.shared.errors import FlockIQError, NotFound
from flockiq.shared.progress import noted
from flockiq.shared.rules import failing
from flockiq.shared.services import Services
from flockiq.shared.settings import HUBS
from flockiq.shared.sweeps import NOTHING, Left, Sweeps

Status = Literal["ok", "degraded", "down"]

PROBE_TIMEOUT_S = 2.0
LAG_DEGRADED_S = 60.0
WAITING_S = 120.0  # rows that wait for the history longer than a few sweeps are stuck
LAG_DOWN_S = 12 * 3600.0  # half of the shortest retention an event hub has by default: events are at risk


class Check(msgspec.Struct, frozen=True):
    """One thing asked: how it is, what was seen, what to do."""

    kind: Literal["dependency", "source", "hub", "rule"]
    name: str
    status: Status
    detail: str
    action: str = ""  # empty when there is nothing to do
    ms: float = 0.0


class Health(msgspec.Struct, frozen=True):
    """Everything asked, and the worst of what is essential."""

    status: Status
    checks: list[Check]


async def health(services: Services) -> Health:
    """Ask every dependency, source and hub, and which rules can't be run."""
    now_us = time.time_ns() // 1000
    answers = await asyncio.gather(
        _dependencies(services), _sources(services, now_us), _hubs(services, now_us), _rules(services)
    )
    checks = [check for part in answers for check in part]
    return Health(status=overall(checks), checks=checks)


def overall(checks: list[Check]) -> Status:
    """Down when a dependency or a hub is; anything else that is not ok degrades."""
    if any(check.status == "down" and check.kind != "source" for check in checks):
        return "down"
    return "degraded" if any(check.status != "ok" for check in checks) else "ok"


async def _dependencies(services: Services) -> list[Check]:
    tenant = services.settings.tenant

    async def secrets() -> None:
        try:
            await services.secrets.get("health-probe")
        except NotFound:
            return  # it answered, which is what was asked

    probes: list[tuple[str, str, Status, Callable[[], Awaitable[object]]]] = [
        ("events", "the event hubs", "down", lambda: services.events.bounds("resolved", 0)),
        ("state", "the state store", "down", lambda: services.state.logs("health-probe/")),
        ("alerts", "the alert store", "down", lambda: services.alerts.query(tenant, AlertQuery(limit=1))),
        ("registry", "the registry", "down", lambda: services.registry.get("health-probe")),
        ("analytics", "the Eventhouse", "degraded", lambda: services.analytics.query("print Answer = 1")),
        ("secrets", "the secret store", "degraded", secrets),
        ("blobs", "the blob store", "degraded", lambda: services.blobs.list("health-probe/", limit=1)),
    ]
    probing = asyncio.gather(*(_probe(*probe) for probe in probes))
    checks, left = await asyncio.gather(probing, _left(services))
    now_us = time.time_ns() // 1000
    return [waiting(check, left, now_us) if check.name == "analytics" else check for check in checks]


async def _left(services: Services) -> Left:
    """What waits for the history; nothing, as far as is known, if the blobs do not answer: their own check says so."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await services.analytics.left() if isinstance(services.analytics, Sweeps) else NOTHING
    except (TimeoutError, FlockIQError):
        return NOTHING


def waiting(check: Check, left: Left, now_us: int) -> Check:
    """The history's check, with what waits for it: degraded if that waits for long. Pure."""
    if not left.batches:
        return check
    waited_s = max(0.0, (now_us - left.oldest_us) / 1e6)
    many = f"{left.batches:,}{'' if left.all_seen else ' or more'} batches of rows wait in the blobs"
    told = msgspec.structs.replace(check, detail=f"{check.detail}; {many}, the oldest for {waited_s:,.0f} s")
    if check.status != "ok" or waited_s < WAITING_S:
        return told
    action = "The clock takes them there twice a minute. They stay if the Eventhouse refuses them: the log says why."
    return msgspec.structs.replace(told, status="degraded", action=action)


async def _probe(name: str, words: str, worst: Status, ask: Callable[[], Awaitable[object]]) -> Check:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await ask()
    except TimeoutError:
        detail = f"{words} did not answer within {PROBE_TIMEOUT_S:.0f} s"
    except FlockIQError as error:
        detail = str(error)
    except Exception as error:  # noqa: BLE001 - a probe tells what it saw, whatever that is
        detail = f"{words} failed with {type(error).__name__}"
    else:
        ms = round((time.perf_counter() - started) * 1000, 1)
        return Check("dependency", name, "ok", f"{words} answered", ms=ms)
    ms = round((time.perf_counter() - started) * 1000, 1)
    action = (
        f"See whether {words} can be reached, has room and admits this app; work resumes by itself when it answers."
    )
    return Check("dependency", name, worst, detail, action, ms)


async def _sources(services: Services, now_us: int) -> list[Check]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            told = await streams(services, now_us)
            going = [each for each in await backfills.listed(services) if each.state in OPEN]
            held = await circuits(services)
            return [
                *(_source(stream) for stream in told),
                *(_backfill(each) for each in going),
                *(_circuit(name, each, now_us) for name, each in sorted(held.items())),
            ]
    except (TimeoutError, FlockIQError) as error:
        detail = str(error) or f"no answer within {PROBE_TIMEOUT_S:.0f} s"
        return [Check("source", "all", "degraded", detail, "See the dependencies above: sources are told from them.")]


def _source(stream: Stream) -> Check:
    status: Status = "ok" if stream.state in ("fresh", "waiting") else "degraded"
    name = f"{stream.source}/{stream.stream}"
    return Check("source", name, status, stream.error or stream.means, stream.means if status != "ok" else "")


def _circuit(source: str, held: Circuit, now_us: int) -> Check:
    """A source that is left alone."""
    left_s = max(held.free_us - now_us, 0) / 1e6
    detail = f"left alone for {(now_us - held.opened_us) / 1e6:,.0f} s, {left_s:,.0f} s more: {held.error}"
    return Check("source", source, "degraded", detail, WAY_OUT)


def _backfill(backfill: BackfillShown) -> Check:
    """A backfill that goes on; one with slices that fail degrades."""
    name = f"{backfill.source}/{backfill.stream}/backfill"
    detail = f"{backfill.done:,} of {backfill.slices:,} slices read, {backfill.records:,} records"
    if not backfill.failing:
        return Check("source", name, "ok", detail)
    action = "The slices that fail are tried again by themselves, the others go on. The error says what to look at."
    return Check("source", name, "degraded", f"{detail}; {backfill.failing:,} fail: {backfill.error}", action)


async def _rules(services: Services) -> list[Check]:
    """A check for each rule that can't be run; rules that can need none."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            errors = await failing(services)
    except (TimeoutError, FlockIQError):
        return []  # the registry's own check says so
    action = "Mend the rule's query; until then it raises and resolves nothing."
    return [Check("rule", rule, "degraded", error, action) for rule, error in sorted(errors.items())]


async def _hubs(services: Services, now_us: int) -> list[Check]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            done = await noted(services)
            lags = await asyncio.gather(*(hub_lag(services.events, hub, done) for hub in HUBS))
            return [hub(lag, now_us) for lag in lags]
    except (TimeoutError, FlockIQError) as error:
        detail = str(error) or f"no answer within {PROBE_TIMEOUT_S:.0f} s"
        return [Check("hub", "all", "down", detail, "See the dependencies above: hubs are asked through them.")]


def hub(lag: HubLag, now_us: int) -> Check:
    """A hub's health from its lag. Pure."""
    kept = f"{lag.events:,} events kept on {lag.partitions} partition{'s' if lag.partitions != 1 else ''}"
    if not lag.function:
        return Check("hub", lag.hub, "ok", f"{kept}, for others to read")
    if lag.lag is None:
        return Check("hub", lag.hub, "ok", f"{kept}; {lag.function} reads it")
    behind_s = (now_us - lag.oldest_us) / 1e6 if lag.oldest_us else 0.0
    detail = f"{kept}; {lag.function} is {lag.lag:,} events and {behind_s:,.0f} s behind"
    if behind_s >= LAG_DOWN_S:
        return Check("hub", lag.hub, "down", detail, f"Events expire unread soon: see why {lag.function} stands still.")
    if behind_s >= LAG_DEGRADED_S:
        return Check(
            "hub", lag.hub, "degraded", detail, f"It catches up by itself unless {lag.function} fails: see its log."
        )
    return Check("hub", lag.hub, "ok", detail)
