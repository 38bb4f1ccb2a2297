"""Alerts as an operator works through them: by rule, the gravest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flockiq.shared.alerts import OPEN, Alert, AlertPage, Severity

_GRAVITY: dict[Severity, int] = {"critical": 0, "warning": 1, "info": 2}
_STANDING = {"firing": 0, "acknowledged": 1, "pending": 2}


class Group(NamedTuple):
    """The alerts of one rule."""

    rule: str
    severity: Severity  # the gravest of its alerts
    recommend: str  # what all of them recommend; "" when they differ, and each says its own
    alerts: list[Alert]  # firing first, then acknowledged, then pending; newest first among equals


class Board(NamedTuple):
    """Groups, and how many alerts there are behind each tab."""

    groups: list[Group]
    open: int
    resolved: int
    more: bool  # there are more than are shown


def board(page: AlertPage, counts: Mapping[str, Mapping[str, int]]) -> Board:
    """A page of alerts in groups. Pure."""
    by_rule: dict[str, list[Alert]] = {}
    for alert in page.alerts:
        by_rule.setdefault(alert.rule, []).append(alert)
    groups = [_group(rule, alerts) for rule, alerts in by_rule.items()]
    # By the newest of each, whatever its status: a press must not move the groups under somebody's hand.
    groups.sort(key=lambda group: (_GRAVITY[group.severity], -max(a.opened_us for a in group.alerts), group.rule))
    return Board(
        groups=groups,
        open=sum(number for by_status in counts.values() for status, number in by_status.items() if status in OPEN),
        resolved=sum(by_status.get("resolved", 0) for by_status in counts.values()),
        more=bool(page.continuation),
    )


def _group(rule: str, alerts: Sequence[Alert]) -> Group:
    advice = {alert.recommend for alert in alerts}
    return Group(
        rule=rule,
        severity=min((alert.severity for alert in alerts), key=_GRAVITY.__getitem__),
        recommend=advice.pop() if len(advice) == 1 else "",
        alerts=sorted(alerts, key=lambda alert: (_STANDING.get(alert.status, 3), -alert.opened_us, alert.id)),
    )
