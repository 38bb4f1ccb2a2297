"""A small world as the stages would have left it: companies, invoices, alerts, feeds, a dead letter."""

from __future__ import annotations

import time

import msgspec
import xxhash

from flockiq.shared.alerts import AlertTransition
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import entity_id, hash_id
from flockiq.shared.services import Services
from flockiq.shared.status import StreamStatus, touch

TENANT = "default"
SECOND = 1_000_000
MINUTE = 60 * SECOND

HOSTILE = '<script>document.title="taken"</script><img src=x onerror=alert(1)>'

COMPANIES = {
    "123456789": "Nordwind Logistik GmbH",
    "201482210": "Alder & Finch Ltd",
    "318224907": "Kestrel Marine Supplies",
    "442190356": "Boulangerie Saint-Rémy",
    "557310042": "Tōhoku Precision",
    "660418823": HOSTILE,
    "771204459": "Grünwald Maschinenbau AG",
}


def company_id(tax_id: str) -> str:
    """The entity id of a sample company."""
    return entity_id(TENANT, "company", tax_id)


def _company(tax_id: str, name: str, now: int, version: int, **changed: str) -> dict[str, object]:
    crm = {
        "name": name,
        "tax_id": f"DE {tax_id}",
        "city": "Hamburg",
        "phone": "+49 40 1234-0",
        "payment_terms": "net 30",
    }
    erp = crm | {"name": name.replace("-", " "), "tax_id": tax_id, "credit_limit": "50000.00"} | changed
    fields = erp | {"email": "office@example.com", "phone": crm["phone"], "risk_score": 41}
    deleted = tax_id == "442190356"
    return {
        "Tenant": TENANT,
        "EntityType": "company",
        "EntityId": company_id(tax_id),
        "MatchKey": tax_id,
        "Version": version,
        "UpdatedAt": rfc3339(now + 800_000),
        "SourceTime": rfc3339(now),
        "Deleted": False,
        "Fields": fields,
        "Provenance": {
            field: {"source": "bureau", "rule": "only", "us": now - 50 * MINUTE}
            if field == "risk_score"
            else {
                "source": "crm" if field in ("phone", "email") else "erp",
                "rule": "recent" if field == "phone" else "rank",
                "us": now,
            }
            for field in fields
        },
        "Sources": {
            "crm": {
                "key": f"a-{tax_id}",
                "stream": "accounts",
                "deleted": deleted,
                "us": now,
                "event": "e1",
                "values": crm | {"email": "office@example.com", "credit_limit": "50000.00"},
            },
            "erp": {
                "key": f"C{tax_id[:5]}",
                "stream": "customers",
                "deleted": False,
                "us": now,
                "event": "e2",
                "values": erp,
            },
            "bureau": {
                "key": tax_id,
                "stream": "ratings",
                "deleted": False,
                "us": now,
                "event": "e3",
                "values": {"tax_id": tax_id, "risk_score": 41},
            },
        },
    }


def _invoice(number: int, customer: str, status: str, now: int) -> dict[str, object]:
    return {
        "Tenant": TENANT,
        "EntityType": "invoice",
        "EntityId": entity_id(TENANT, "invoice", f"I{number}"),
        "MatchKey": f"I{number}",
        "Version": 1,
        "UpdatedAt": rfc3339(now),
        "SourceTime": rfc3339(now),
        "Deleted": False,
        "Fields": {"customer": customer, "amount": "1250.50", "status": status},
        "Provenance": {},
        "Sources": {"erp": {"key": f"I{number}", "stream": "invoices", "deleted": False, "us": now, "values": {}}},
    }


def finding(name: str, kind: str, at: int) -> dict[str, object]:
    """A Findings row about the first company."""
    return {
        "FindingId": name,
        "Tenant": TENANT,
        "EntityType": "company",
        "EntityId": company_id("123456789"),
        "MatchKey": "123456789",
        "Field": "payment_terms",
        "Kind": kind,
        "CauseId": f"cause of {name}",
        "SourceTime": rfc3339(at),
        "CommittedAt": rfc3339(at + SECOND),
        "Ends": "",
        "Retracts": "",
    }


def delta(name: str, tax_id: str, field: str, old: str, new: str, at: int, retracts: str = "") -> dict[str, object]:
    """A Deltas row: its old value had been said an hour before, its new one a minute."""
    return {
        "DeltaId": name,
        "Tenant": TENANT,
        "EntityType": "company",
        "EntityId": company_id(tax_id),
        "MatchKey": tax_id,
        "Field": field,
        "Kind": "retracted" if retracts else "changed",
        "Old": old,
        "New": new,
        "Source": "erp",
        "CauseId": "e2",
        "SourceTime": rfc3339(at),
        "OldSourceTime": rfc3339(at - 60 * MINUTE),
        "NewSourceTime": rfc3339(at - MINUTE),
        "CommittedAt": rfc3339(at + SECOND),
        "Retracts": retracts,
    }


def alert(rule: str, kind: str, severity: str, subject: str, title: str, at: int, **more: object) -> AlertTransition:
    """The first transition of an alert, pending."""
    fingerprint = hash_id(TENANT, rule, subject)
    return AlertTransition(
        id=hash_id(fingerprint, "c"),
        revision=1,
        change="open",
        at_us=at,
        fingerprint=fingerprint,
        rule=rule,
        kind=kind,
        severity=severity,
        subject=subject,
        title=title,
        opened_us=at,
        cause="c",
        **({"subject_type": "company", "group": subject} | more),
    )


def fired(first: AlertTransition, at: int, reason: str = "") -> AlertTransition:
    """The transition after ``first`` that fires it."""
    return msgspec.structs.replace(first, revision=2, change="fire", at_us=at, reason=reason)


def alerts(now: int) -> list[AlertTransition]:
    """The sample alerts: two of one rule, one each of three more, one pending, one resolved."""
    halved = [
        alert(
            "credit-limit-halved",
            "change",
            "critical",
            company_id(tax_id),
            f"{COMPANIES[tax_id]}: credit limit cut from 50,000.00 to {to}",
            now - age,
            match_key=tax_id,
            recommend="Hold open orders above the new limit until finance confirms it.",
            values={"old": "50000.00", "new": to, "field": "credit_limit", "source": "erp"},
            labels={"team": "credit"},
        )
        for tax_id, to, age in (("123456789", "25000.00", 40 * SECOND), ("660418823", "12000.00", 9 * MINUTE))
    ]
    owed = alert(
        "deleted-with-open-invoices",
        "query",
        "critical",
        company_id("442190356"),
        "Boulangerie Saint-Rémy was deleted in the CRM but owes 2501.0 on 2 open invoices",
        now - 3 * MINUTE,
        subject_type="query",
        group="",
        recommend="Restore the account or assign the open invoices before the dunning run.",
        values={"entity_id": company_id("442190356"), "open_invoices": 2, "open_amount": 2501.0},
    )
    terms = alert(
        "payment-terms-disagree",
        "drift",
        "warning",
        company_id("318224907"),
        "Kestrel Marine Supplies: CRM and ERP disagree on payment terms",
        now - 2 * MINUTE,
        match_key="318224907",
        recommend="Agree on one value and correct the other system.",
        values={"crm": "net 30", "erp": "net 60"},
    )
    silent = alert(
        "feed-silent",
        "absence",
        "warning",
        "marketing/contacts",
        "Nothing from marketing/contacts for 12 s",
        now - 70 * SECOND,
        subject_type="feed",
        group="",
        recommend="Check that the webhook subscription is still active.",
    )
    risky = alert(
        "risk-very-high",
        "threshold",
        "warning",
        company_id("201482210"),
        "Alder & Finch Ltd: risk score 96 with a credit limit of 50,000.00",
        now - 4 * SECOND,
        match_key="201482210",
    )
    ended = msgspec.structs.replace(
        fired(silent, now), revision=3, change="resolve", at_us=now - 20 * SECOND, reason="contacts arrived again"
    )
    firing = [
        fired(each, each.at_us + 3 * SECOND, "the condition held for 3 s") for each in (*halved, owed, terms, silent)
    ]
    return [*halved, owed, terms, silent, risky, *firing, ended]


def letter(now: int) -> DeadLetter:
    """The sample's record that was set aside; its id does not depend on the time."""
    return DeadLetter(
        stage="capture",
        source="bureau",
        stream="ratings",
        reason="'n/a' is not an integer",
        at_us=now - 6 * MINUTE,
        key="123456780",
        field="score",
        body=b"123456780;n/a",
    )


def letter_id(kept: DeadLetter) -> str:
    """The id that a letter is kept under."""
    content = xxhash.xxh3_128_hexdigest(kept.body)
    return hash_id(TENANT, kept.stage, kept.source, kept.stream, kept.key, kept.reason, content)


async def fill(services: Services, now: int) -> None:
    """Write the sample world as of ``now``, µs."""

    async def ingest(table: str, rows: list[dict[str, object]]) -> None:
        await services.analytics.ingest(table, b"\n".join(msgspec.json.encode(row) for row in rows))

    changed = {"123456789": {"credit_limit": "25000.00"}, "318224907": {"payment_terms": "net 60"}}
    await ingest(
        "Entities",
        [
            _company(tax_id, name, now - 40 * SECOND - n * SECOND, 1)
            for n, (tax_id, name) in enumerate(COMPANIES.items())
        ],
    )
    await ingest(
        "Entities",
        [_company(tax_id, COMPANIES[tax_id], now - 40 * SECOND, 2, **fields) for tax_id, fields in changed.items()],
    )
    invoices = [
        _invoice(1, "C44219", "OPEN", now),
        _invoice(2, "C44219", "OPEN", now),
        _invoice(3, "C44219", "PAID", now),
        _invoice(4, "C12345", "OPEN", now),
    ]
    await ingest("Entities", invoices)
    await ingest(
        "Deltas",
        [
            delta("d1", "123456789", "credit_limit", "50000.00", "25000.00", now - 40 * SECOND),
            delta("d1", "123456789", "credit_limit", "50000.00", "25000.00", now - 40 * SECOND),
            delta("d2", "123456789", "city", "Bremen", "Hamburg", now - 20 * MINUTE),
            delta("d3", "123456789", "city", "Bremen", "Hamburg", now - 19 * MINUTE, retracts="d2"),
            delta("d4", "318224907", "payment_terms", "net 30", "net 60", now - 2 * MINUTE),
        ],
    )
    terms = finding("f1", "drift", now - 30 * MINUTE)
    odd = finding("f3", "anomaly", now - 10 * MINUTE) | {"Field": "risk_score", "Value": 96.0, "Score": 9.5}
    await ingest(
        "Findings",
        [
            terms,
            terms,
            finding("f2", "agreement", now - 25 * MINUTE) | {"Ends": "f1"},
            odd | {"Expected": 41.0, "Low": 30.0, "High": 52.0},
            finding("f4", "drift", now - 9 * MINUTE),
            finding("f5", "retracted", now - 9 * MINUTE) | {"Retracts": "f4", "CommittedAt": rfc3339(now - 8 * MINUTE)},
            finding("f6", "drift", now - 5 * MINUTE),
        ],
    )
    run = {
        "RunId": "r1",
        "Tenant": TENANT,
        "Source": "crm",
        "Stream": "accounts",
        "Run": 1,
        "Records": 7,
        "Outcome": "read",
        "Error": "",
    }
    await ingest("Runs", [run | {"StartedAt": rfc3339(now - 30 * MINUTE), "EndedAt": rfc3339(now - 29 * MINUTE)}])
    await ingest(
        "Changes",
        [
            {
                "EventId": f"{stream}{n}",
                "Tenant": TENANT,
                "Source": source,
                "Stream": stream,
                "CapturedAt": rfc3339(now - n * 8 * SECOND),
            }
            for source, stream in (("crm", "accounts"), ("erp", "orders"))
            for n in range(90)
        ],
    )
    await ingest(
        "Changes",
        [
            {"EventId": f"c{tax_id}", "Tenant": TENANT, "Key": f"C{tax_id[:5]}", "EntityId": company_id(tax_id)}
            for tax_id in COMPANIES
        ],
    )
    feeds = {
        ("crm", "accounts"): StreamStatus(
            last_run_us=now, last_record_us=now - 4 * SECOND, records=2041, run=9, outcome="read"
        ),
        ("crm", "contacts"): StreamStatus(
            last_run_us=now - 5 * MINUTE, last_record_us=now - 5 * MINUTE, records=2000, run=3, outcome="read"
        ),
        ("erp", "customers"): StreamStatus(
            last_run_us=now, last_record_us=now - 9 * SECOND, records=1934, run=9, outcome="read"
        ),
        ("erp", "orders"): StreamStatus(
            last_run_us=now - MINUTE,
            last_record_us=now - MINUTE,
            records=17_233,
            run=9,
            outcome="unavailable",
            error="erp/orders: the source answered 503 four times in a row",
            retry_at_us=now + 30 * SECOND,
            circuit="open",
        ),
        ("marketing", "contacts"): StreamStatus(
            last_run_us=now - 20 * SECOND, last_record_us=now - 20 * SECOND, records=311, outcome="delivered"
        ),
    }
    for (source, stream), status in feeds.items():
        await touch(services, source, stream, lambda _, status=status: status)
    await bury(services, [letter(now)])
    await services.alerts.apply(TENANT, alerts(now))
    await services.registry.put(
        "progress/default/process_resolved/0", b'{"sequence": -1, "at_us": 1, "duplicates": 5, "too_late": 3}', None
    )


def now_us() -> int:
    """The time, µs."""
    return time.time_ns() // 1000
