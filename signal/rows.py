"""Alert transitions as rows of table Alerts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flockiq.shared.alerts import AlertTransition
from flockiq.shared.instants import rfc3339

_lines = msgspec.json.Encoder().encode_lines


def alert_rows(transitions: Sequence[AlertTransition], tenant: str) -> bytes:
    """NDJSON, one row a transition."""
    return _lines([_row(transition, tenant) for transition in transitions])


def _row(transition: AlertTransition, tenant: str) -> dict[str, object]:
    return {
        "AlertId": transition.id,
        "Revision": transition.revision,
        "Tenant": tenant,
        "Fingerprint": transition.fingerprint,
        "Rule": transition.rule,
        "Kind": transition.kind,
        "Severity": transition.severity,
        "SubjectType": transition.subject_type,
        "Subject": transition.subject,
        "MatchKey": transition.match_key,
        "Change": transition.change,
        "At": rfc3339(transition.at_us),
        "OpenedAt": rfc3339(transition.opened_us),
        "Title": transition.title,
        "Reason": transition.reason,
        "Count": transition.count,
        "Values": transition.values,
        "Labels": transition.labels,
    }
