"""Transitions to tell, and what shared.alerts says they come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flockiq.shared import alerts as life
from flockiq.shared.alerts import Alert, AlertTransition, Change, HistoryEntry

LIFE: Sequence[Change] = ("open", "fire", "update", "resolve")


def step(alert: str, revision: int, change: Change, **more: Any) -> AlertTransition:
    """One transition of an alert about entity ``e1``, unless told otherwise."""
    given = {"at_us": 1_000 + revision, "subject": "e1", "opened_us": 1_000, "rule": "limit"} | more
    return AlertTransition(
        id=alert,
        revision=revision,
        change=change,
        fingerprint=f"f-{alert}",
        kind="threshold",
        severity="critical",
        subject_type="company",
        title="Akmé: limit cut",
        cause="d1",
        count=revision,
        **given,
    )


def lives(count: int) -> list[AlertTransition]:
    """Whole lives of so many alerts of as many entities, all opened before any fires."""
    return [
        step(f"a{n}", revision, change, subject=f"e{n}", opened_us=n)
        for revision, change in enumerate(LIFE, 1)
        for n in range(count)
    ]


def fold(transitions: Sequence[AlertTransition]) -> tuple[dict[str, Alert], dict[str, list[HistoryEntry]]]:
    """The alerts and their histories, told once and in order."""
    alerts: dict[str, Alert] = {}
    history: dict[str, list[HistoryEntry]] = {}
    for transition in transitions:
        alert = life.advance(alerts.get(transition.id), transition, alerts.get(transition.replaces))
        if alert is not None:
            alerts[alert.id] = alert
            history.setdefault(alert.id, []).append(life.entry(transition, alert))
    return alerts, history
