"""Rules that the clock watches: rows of a query, and feeds that fall silent. Pure.

What is open is read from the alert store, so the clock keeps no state of its own. An alert's id
comes from what it is about and which episode of it this is, so a clock that runs twice opens none
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from flockiq.shared.alerts import Alert, AlertTransition, Change
from flockiq.shared.config.model import Rule
from flockiq.shared.errors import QueryError
from flockiq.shared.lanes import Scalar
from flockiq.shared.positions import hash_id
from flockiq.signal.watch import fill


class Holding(NamedTuple):
    """Something a rule found to hold: what it is about, since when, and its values."""

    subject: str
    since_us: int
    values: dict[str, Scalar]
    cause: str = ""  # "": the episode's number stands for it


class Feed(NamedTuple):
    """When a feed last brought a record, 0 for never."""

    source: str
    stream: str
    last_record_us: int


def rows_holding(rule: Rule, columns: Sequence[str], rows: Sequence[Sequence[object]], now_us: int) -> list[Holding]:
    """A query's rows, one for each key. QueryError when the query lacks a key column."""
    lacking = [name for name in rule.key if name not in columns]
    if lacking:
        raise QueryError(f"it gives no column {', '.join(lacking)}, which key names; it gives {', '.join(columns)}")
    found: dict[str, Holding] = {}
    for row in rows:
        values = {name: _scalar(value) for name, value in zip(columns, row, strict=True)}
        subject = _subject([str(values[name]) for name in rule.key])
        found.setdefault(subject, Holding(subject, now_us, values))
    return list(found.values())


def feeds_holding(rule: Rule, feeds: Sequence[Feed], watched_since_us: int, now_us: int) -> list[Holding]:
    """The rule's feed, if it has been silent too long.

    Its ``since_us`` lies ahead while nobody has listened for as long as that: nothing begins yet.
    """
    for feed in feeds:
        if (feed.source, feed.stream) != (rule.source, rule.stream) or not feed.last_record_us:
            continue
        if now_us - feed.last_record_us >= rule.for_us:
            since = max(feed.last_record_us, watched_since_us)
            values: dict[str, Scalar] = {
                "source": feed.source,
                "stream": feed.stream,
                "silent": _duration(now_us - feed.last_record_us),
            }
            return [Holding(f"{feed.source}/{feed.stream}", since + rule.for_us, values, str(feed.last_record_us))]
    return []


def transitions(
    rule: Rule,
    tenant: str,
    holding: Sequence[Holding],
    open_alerts: Sequence[Alert],
    episodes: Callable[[str], int],
    now_us: int,
) -> list[AlertTransition]:
    """What opens, changes and resolves.

    ``open_alerts`` holds those a person resolved as well, until what they are about has ended.
    ``episodes``: how many alerts a subject has had under this rule.
    """
    by_subject = {alert.subject: alert for alert in open_alerts}
    steps: list[AlertTransition] = []
    for one in holding:
        alert = by_subject.pop(one.subject, None)
        if alert is None and one.since_us > now_us:
            continue  # nothing new begins yet, but what was open goes on
        if alert is None:
            cause = one.cause or f"episode {episodes(one.subject) + 1}"
            steps.append(_step(rule, tenant, one, cause, "fire", one.since_us, now_us, 1, "it began to hold"))
        elif rule.kind == "query" and alert.status != "resolved" and alert.values != one.values:
            steps.append(
                _step(
                    rule, tenant, one, alert.cause, "update", alert.opened_us, now_us, alert.count, "its values changed"
                )
            )
    for alert in by_subject.values():
        gone = Holding(alert.subject, alert.opened_us, dict(alert.values))
        steps.append(
            _step(
                rule, tenant, gone, alert.cause, "resolve", alert.opened_us, now_us, alert.count, "it no longer holds"
            )
        )
    return steps


def ended(alert: Alert, now_us: int) -> AlertTransition:
    """The end of an alert whose rule is no longer in config."""
    return AlertTransition(
        id=alert.id,
        revision=max(now_us, alert.revision + 1),
        change="resolve",
        at_us=now_us,
        fingerprint=alert.fingerprint,
        rule=alert.rule,
        kind=alert.kind,
        severity=alert.severity,
        subject_type=alert.subject_type,
        subject=alert.subject,
        title=alert.title,
        opened_us=alert.opened_us,
        cause=alert.cause,
        reason="its rule was removed from config",
        count=alert.count,
        match_key=alert.match_key,
        group=alert.group,
        recommend=alert.recommend,
        labels=alert.labels,
        values=alert.values,
    )


def _step(
    rule: Rule,
    tenant: str,
    one: Holding,
    cause: str,
    change: Change,
    opened_us: int,
    now_us: int,
    count: int,
    reason: str,
) -> AlertTransition:
    fingerprint = hash_id(tenant, rule.name, one.subject)
    labels: Mapping[str, str] = rule.labels
    return AlertTransition(
        id=hash_id(fingerprint, cause),
        revision=now_us,
        change=change,
        at_us=now_us,
        fingerprint=fingerprint,
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        subject_type="feed" if rule.kind == "absence" else rule.entity or "query",
        subject=one.subject,
        title=fill(rule.title, one.values),
        opened_us=opened_us,
        cause=cause,
        reason=reason,
        count=count,
        match_key=str(one.values.get("match_key") or ""),
        recommend=fill(rule.recommend, one.values),
        labels=dict(labels) | ({"runbook": rule.runbook} if rule.runbook else {}),
        values=one.values,
        source_us=one.since_us,
    )


def _subject(parts: Sequence[str]) -> str:
    """The values of a key as one text; no two keys give the same."""
    if len(parts) == 1:
        return parts[0]
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _duration(us: int) -> str:
    seconds = us // 1_000_000
    if seconds < 120:  # noqa: PLR2004 - two minutes are easier read as seconds
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"  # noqa: PLR2004 - likewise
