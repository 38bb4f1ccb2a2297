"""Alert transitions as rows of table Alerts, a column at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from flockiq.shared.alerts import AlertTransition
from flockiq.shared.tabular import Columns

_json = msgspec.json.Encoder().encode


def alert_columns(transitions: Sequence[AlertTransition], tenant: str) -> Columns:
    """At least one transition, one a row."""
    columns = Columns(len(transitions))
    columns.texts("AlertId", [one.id for one in transitions])
    columns.numbers("Revision", np.array([one.revision for one in transitions], np.int64))
    columns.text("Tenant", tenant)
    columns.texts("Fingerprint", [one.fingerprint for one in transitions])
    _shared(columns, "Rule", [one.rule for one in transitions])
    _shared(columns, "Kind", [one.kind for one in transitions])
    _shared(columns, "Severity", [one.severity for one in transitions])
    _shared(columns, "SubjectType", [one.subject_type for one in transitions])
    columns.texts("Subject", [one.subject for one in transitions])
    columns.texts("MatchKey", [one.match_key for one in transitions])
    _shared(columns, "Change", [one.change for one in transitions])
    columns.instants("At", np.array([one.at_us for one in transitions], np.int64))
    columns.instants("OpenedAt", np.array([one.opened_us for one in transitions], np.int64))
    columns.texts("Title", [one.title for one in transitions])
    columns.texts("Reason", [one.reason for one in transitions])
    columns.numbers("Count", np.array([one.count for one in transitions], np.int64))
    columns.dynamic("Values", [_json(one.values) for one in transitions])
    columns.dynamic("Labels", [_json(one.labels) for one in transitions])
    return columns


def _shared(columns: Columns, name: str, texts: Iterable[str]) -> None:
    """Texts of which there are few."""
    numbers: dict[str, int] = {}
    which = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)
    columns.texts(name, list(numbers), which)
