"""What an alert is, and the only ways it may change. Pure; every AlertStore adapter applies these.

An alert is one *episode* of one fingerprint: ``fingerprint = hash(tenant, rule, subject)``,
``id = hash(fingerprint, cause)``, where cause is the id of what opened it. So the same facts
make the same alert in any order, on any machine, however often they are told.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal

import msgspec

from flockiq.shared.errors import BadRecord

Status = Literal["pending", "firing", "acknowledged", "resolved", "withdrawn"]
Severity = Literal["info", "warning", "critical"]
Change = Literal["open", "fire", "update", "resolve", "withdraw"]


class AlertTransition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of an alert's life as the engine (or the clock) decided it.

    ``revision`` counts an alert's transitions up from 1, so that a repeated or overtaken one is
    known. ``change``: open (pending), fire, update (seen again, values changed), resolve,
    withdraw (late data showed that it never should have been). Every transition carries the whole
    alert as far as the engine knows it.
    """

    id: str
    revision: int
    change: Change
    at_us: int
    fingerprint: str
    rule: str
    kind: str
    severity: Severity
    subject_type: str  # an entity type, or "feed", or "query"
    subject: str  # entity id, or source/stream, or the query row's key
    title: str
    opened_us: int
    cause: str  # the id of the delta, event or finding that opened it
    reason: str = ""  # why this transition
    count: int = 1
    match_key: str = ""
    group: str = ""  # what the subject is bucketed by on hub ``resolved``
    recommend: str = ""
    labels: dict[str, str] = {}
    values: dict[str, str | int | float | bool | None] = {}
    replaces: str = ""  # the withdrawn alert this one stands for, whose acknowledgement it inherits
    source_us: int = 0  # commit time in the source of the change behind this transition


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it stands."""

    id: str
    fingerprint: str
    rule: str
    kind: str
    severity: Severity
    subject_type: str
    subject: str
    match_key: str
    group: str
    title: str
    recommend: str
    labels: dict[str, str]
    values: dict[str, str | int | float | bool | None]
    status: Status
    opened_us: int
    fired_us: int
    updated_us: int
    resolved_us: int
    acknowledged_by: str
    acknowledged_us: int
    resolved_by: str  # "" when the condition itself ended
    lasting: bool = False  # a person resolved it, and what it is about has not ended yet
    count: int
    cause: str
    revision: int


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to an alert."""

    at_us: int
    by: str  # "flockiq" or a person
    change: str
    status: Status
    reason: str


class AlertQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to list. Empty fields do not restrict."""

    statuses: tuple[Status, ...] = ()
    rule: str = ""
    subject: str = ""
    lasting: bool = False  # only those a person resolved whose cause has not ended
    limit: int = 100
    continuation: str = ""


class AlertPage(msgspec.Struct, frozen=True):
    """A page of alerts; ``continuation`` is empty on the last."""

    alerts: list[Alert]
    continuation: str


MAX_PAGE: Final = 1000
"""The most alerts a page holds, whatever its query's limit."""

OPEN: tuple[Status, ...] = ("pending", "firing", "acknowledged")


def _status(alert: Alert | None, transition: AlertTransition, inherited: Alert | None) -> Status:
    match transition.change:
        case "withdraw":
            return "withdrawn"
        case "resolve":
            return "resolved"
        case "open":
            return "pending"
        case "fire":
            taken = inherited or alert
            acknowledged = taken is not None and taken.acknowledged_us > 0
            return "acknowledged" if acknowledged else "firing"
        case "update":
            return alert.status if alert is not None else "firing"


def advance(alert: Alert | None, transition: AlertTransition, inherited: Alert | None = None) -> Alert | None:
    """The alert after ``transition``, or None when the transition is old news.

    ``inherited`` is the alert that ``transition.replaces`` names, if it exists. A person's
    resolution stands until the condition itself ends: an update does not undo it.
    """
    if alert is not None and transition.revision <= alert.revision:
        return None
    status = _status(alert, transition, inherited)
    if alert is not None and alert.resolved_by and status != "withdrawn":
        status = "resolved"
    fired_us = alert.fired_us if alert is not None else 0
    if transition.change == "fire" and not fired_us:
        fired_us = transition.at_us
    ended = status in ("resolved", "withdrawn")
    keeper = alert if alert is not None and alert.acknowledged_us else inherited
    return Alert(
        id=transition.id,
        fingerprint=transition.fingerprint,
        rule=transition.rule,
        kind=transition.kind,
        severity=transition.severity,
        subject_type=transition.subject_type,
        subject=transition.subject,
        match_key=transition.match_key,
        group=transition.group,
        title=transition.title,
        recommend=transition.recommend,
        labels=transition.labels,
        values=transition.values,
        status=status,
        opened_us=transition.opened_us,
        fired_us=fired_us,
        updated_us=transition.at_us,
        resolved_us=(alert.resolved_us if alert and alert.resolved_us else transition.at_us) if ended else 0,
        acknowledged_by=keeper.acknowledged_by if keeper else "",
        acknowledged_us=keeper.acknowledged_us if keeper else 0,
        resolved_by=alert.resolved_by if alert else "",
        lasting=alert is not None and alert.lasting and transition.change not in ("resolve", "withdraw"),
        count=transition.count,
        cause=transition.cause,
        revision=transition.revision,
    )


def act(alert: Alert, action: str, by: str, at_us: int) -> Alert | None:
    """The alert after a person's action ("acknowledge" or "resolve"), or None if it changes nothing."""
    if action == "acknowledge" and alert.status in ("pending", "firing"):
        return msgspec.structs.replace(alert, status="acknowledged", acknowledged_by=by, acknowledged_us=at_us)
    if action == "resolve" and alert.status in OPEN:
        return msgspec.structs.replace(alert, status="resolved", resolved_by=by, resolved_us=at_us, lasting=True)
    return None


def entry(transition: AlertTransition, alert: Alert) -> HistoryEntry:
    """What the history keeps of an applied transition."""
    return HistoryEntry(
        at_us=transition.at_us, by="flockiq", change=transition.change, status=alert.status, reason=transition.reason
    )


_mark = msgspec.json.Decoder(tuple[Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)], str])


def continuation(last: Alert) -> str:
    """Where the page after ``last`` begins: the same place, whatever is opened or changes meanwhile."""
    return base64.urlsafe_b64encode(msgspec.json.encode((last.opened_us, last.id))).decode()


def place(text: str) -> tuple[int, str]:
    """(opened_us, id) of the alert that a continuation follows. BadRecord for a text that is none."""
    try:
        return _mark.decode(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, msgspec.DecodeError, UnicodeError) as error:
        raise BadRecord("is not one that a page of alerts gave", field="continuation") from error
