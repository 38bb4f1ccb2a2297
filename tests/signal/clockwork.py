"""A clock over real embedded adapters, with rules written as people write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from flockiq.shared.alerts import Alert, AlertQuery
from flockiq.shared.config.load import load
from flockiq.shared.config.model import Config
from flockiq.shared.instants import rfc3339
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import HUBS, Settings
from flockiq.shared.status import arrived, touch

SECOND = 1_000_000
TENANT = "default"
START = 1_700_000_000 * SECOND

SOURCE = """
source: shop
connector: files
files: {path: inbox/shop}
streams:
  sales:
    pattern: "*.csv"
    format: {kind: csv}
    primary_key: [id]
    entity: sale
    fields: {amount: amount}
"""
ENTITY = """
entity: sale
fields:
  amount: {type: integer}
"""
RULES = """
labels: {team: shop}
rules:
  broken:
    query: broken.kql
    key: [key]
    every: 1s
    title: never
  lacking:
    query: letters.kql
    key: [key, colour]
    every: 1s
    title: never
  letters:
    query: letters.kql
    key: [key]
    every: 2s
    title: "{key}: {reason}"
    recommend: "Look at {key}"
    labels: {tier: one}
    runbook: https://example.com/letters
  silent:
    absence: {source: shop, stream: sales}
    for: 30s
    severity: critical
    title: "Nothing from {source}/{stream} for {silent}"
"""
QUERIES = {
    "broken.kql": "NoSuchTable | take 1",
    "letters.kql": """declare query_parameters(tenant:string);
DeadLetters
| where Tenant == tenant
| summarize arg_max(At, Reason) by Key
| where Reason != "gone"
| project key = Key, reason = Reason""",
}


def write_config(folder: Path) -> Config:
    """The rules, loaded as the app loads them."""
    files = {"sources/shop.yaml": SOURCE, "entities/sale.yaml": ENTITY, "rules/all.yaml": RULES}
    for path, text in (files | {f"rules/{name}": text for name, text in QUERIES.items()}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return load(folder, {})


def open_services(folder: Path) -> Services:
    """The embedded adapters over a folder."""
    return connect(Settings(data=folder, partitions={**HUBS, "resolved": 3}))


async def row(services: Services, at_us: int, reasons: Mapping[str, str]) -> None:
    """What the query finds from now on: a reason for each key; "gone" for none."""
    lines = [
        json.dumps({"Id": f"{key}{at_us}", "Tenant": TENANT, "Key": key, "Reason": reason, "At": rfc3339(at_us)})
        for key, reason in reasons.items()
    ]
    await services.analytics.ingest("DeadLetters", "\n".join(lines).encode())
    await services.analytics.flush()


async def speaks(services: Services, at_us: int) -> None:
    """The feed brings a record."""
    await touch(services, "shop", "sales", arrived(at_us, 1))


async def alerts(services: Services, rule: str) -> list[Alert]:
    """Every alert of a rule, oldest first."""
    page = await services.alerts.query(TENANT, AlertQuery(rule=rule, limit=1000))
    return list(reversed(page.alerts))
