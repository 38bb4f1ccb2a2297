"""Alert transitions as rows of table Alerts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from flockiq.shared.alerts import AlertTransition
from flockiq.shared.pool import instants

_lines = msgspec.json.Encoder().encode_lines


def alert_rows(transitions: Sequence[AlertTransition], tenant: str) -> bytes:
    """NDJSON, one row a transition."""
    times = instants(np.array([(one.at_us, one.opened_us) for one in transitions], np.int64).reshape(-1))
    rows = zip(transitions, times[::2], times[1::2], strict=True)
    return _lines([_row(transition, tenant, at, opened) for transition, at, opened in rows])


def _row(transition: AlertTransition, tenant: str, at: str, opened: str) -> dict[str, object]:
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
        "At": at,
        "OpenedAt": opened,
        "Title": transition.title,
        "Reason": transition.reason,
        "Count": transition.count,
        "Values": transition.values,
        "Labels": transition.labels,
    }
