"""Alert transitions as rows of table Alerts."""

from __future__ import annotations

import msgspec

from flockiq.shared.alerts import AlertTransition
from flockiq.shared.tabular import ndjson, packed
from flockiq.signal.rows import alert_columns


def step(number: int, **more: object) -> AlertTransition:
    """A transition with something in every field."""
    known = {
        "id": f"a{number}",
        "revision": (1 << 60) + number,
        "change": "open",
        "at_us": number * 1_000_001,
        "fingerprint": f"f{number}",
        "rule": "credit",
        "kind": "threshold",
        "severity": "critical",
        "subject_type": "company",
        "subject": f"c{number}",
        "title": "Größe \U0001f600 'of' \"it\"",
        "opened_us": number,
        "cause": "e",
        "reason": "",
        "count": number,
        "match_key": "DE1",
        "labels": {"team": "sales"},
        "values": {"credit": "10.50", "risk": 0.1, "active": True, "terms": None},
    }
    return msgspec.convert({**known, **more}, AlertTransition)


def test_every_column_is_what_the_transition_says() -> None:
    """In order; texts that rows share, and those that none has."""
    steps = [step(1), step(2, change="fire", reason="it held"), step(3, rule="other", values={}, labels={})]
    rows = [msgspec.json.decode(line) for line in ndjson(packed([alert_columns(steps, "t")])).splitlines()]
    assert rows == [
        {
            "AlertId": one.id,
            "Revision": one.revision,
            "Tenant": "t",
            "Fingerprint": one.fingerprint,
            "Rule": one.rule,
            "Kind": one.kind,
            "Severity": one.severity,
            "SubjectType": one.subject_type,
            "Subject": one.subject,
            "MatchKey": "DE1",
            "Change": one.change,
            "At": at,
            "OpenedAt": f"1970-01-01T00:00:00.00000{number}Z",
            "Title": one.title,
            "Reason": one.reason,
            "Count": number,
            "Values": one.values,
            "Labels": one.labels,
        }
        for number, (one, at) in enumerate(
            zip(
                steps,
                ("1970-01-01T00:00:01.000001Z", "1970-01-01T00:00:02.000002Z", "1970-01-01T00:00:03.000003Z"),
                strict=True,
            ),
            1,
        )
    ]
