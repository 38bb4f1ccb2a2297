"""The checker of the story: what was planted against what the app tells, by its HTTP API alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from flockiq.local.samples import truth
from flockiq.local.samples.story import RULES
from flockiq.local.samples.truth import Truth
from flockiq.shared.errors import FlockIQError

PAGE, MOST_PAGES = 500, 200
EARLY_US = 5_000_000
"""How long before a planted event an alert may have been opened: feeds go by their last record."""

COUNTED = ("firing", "acknowledged", "resolved")


class Told(msgspec.Struct, frozen=True):
    """What the checker reads of an alert."""

    id: str
    rule: str
    subject: str
    title: str
    status: str
    opened_us: int
    match_key: str = ""
    values: dict[str, Any] = {}


class Alerts(msgspec.Struct, frozen=True):
    """A page of ``GET /api/alerts``."""

    alerts: list[Told]
    continuation: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How the app did. ``waiting`` events are neither found nor due yet."""

    planted: int
    found: int
    missed: int
    unexpected: int
    waiting: int
    details: tuple[str, ...] = ()  # a line for each that was missed or unexpected


async def check(data: Path, app_url: str) -> Verdict:
    """Ask the app what it tells, and compare. FlockIQError if it does not answer."""
    alerts = await _alerts(app_url)
    return judge(truth.read(data), alerts, time.time_ns() // 1_000)


def judge(planted: list[Truth], alerts: list[Told], now_us: int) -> Verdict:
    """Each planted event explains one alert, and needs it; a second alert for the same is unexpected.

    So is any other alert of the rules that come with the app. Rules that somebody added are theirs to judge.
    """
    told = sorted((alert for alert in alerts if alert.status in COUNTED), key=lambda alert: alert.opened_us)
    taken: dict[str, Told] = {}  # by the id of the truth that explains it
    for event in (event for event in planted if event.expects == "firing"):
        free = (alert for alert in told if alert not in taken.values() and _is_about(alert, event))
        if (alert := next(free, None)) is not None:
            taken[event.id] = alert
    details: list[str] = []
    found = waiting = missed = 0
    for event in planted:
        if _is_found(event, planted, taken):
            found += 1
        elif event.due_by_us > now_us:
            waiting += 1
        else:
            missed += 1
            late_s = (now_us - event.committed_us) / 1e6
            about = event.match_key or event.key
            details.append(f"missed: {event.kind} ({event.rule}, {about} {event.name}), {late_s:.0f} s ago")
    unexpected = [alert for alert in told if alert.rule in RULES and alert not in taken.values()]
    details += [f"unexpected: {alert.rule}: {alert.title} ({alert.status}, {alert.id})" for alert in unexpected]
    return Verdict(
        planted=len(planted),
        found=found,
        missed=missed,
        unexpected=len(unexpected),
        waiting=waiting,
        details=tuple(details),
    )


def _is_found(event: Truth, planted: list[Truth], taken: dict[str, Told]) -> bool:
    if event.expects == "firing":
        return event.id in taken
    begun = (
        other for other in planted if other.expects == "firing" and (other.rule, other.key) == (event.rule, event.key)
    )
    return any(other.id in taken and taken[other.id].status == "resolved" for other in begun)


def _is_about(alert: Told, event: Truth) -> bool:
    if alert.rule != event.rule or alert.opened_us < event.committed_us - EARLY_US:
        return False
    match event.subject_type:
        case "company":
            return event.match_key in (alert.match_key, alert.values.get("match_key"))
        case "order":
            return event.key in (alert.match_key, alert.values.get("key"))
        case _:
            return event.key in (alert.subject, f"{alert.values.get('source')}/{alert.values.get('stream')}")


async def _alerts(app_url: str) -> list[Told]:
    alerts: list[Told] = []
    query = {"limit": str(PAGE)}
    async with httpx.AsyncClient(base_url=app_url, trust_env=False, timeout=10.0) as client:
        for _ in range(MOST_PAGES):
            try:
                answer = await client.get("/api/alerts", params=query)
                answer.raise_for_status()
                page = msgspec.json.decode(answer.content, type=Alerts)
            except (httpx.HTTPError, msgspec.DecodeError) as error:
                raise FlockIQError(f"The app does not tell its alerts at {app_url}/api/alerts: {error}") from error
            alerts += page.alerts
            if not page.continuation:
                return alerts
            query["continuation"] = page.continuation
    raise FlockIQError(f"The app tells of more than {PAGE * MOST_PAGES:,} alerts: something is wrong with its rules.")
