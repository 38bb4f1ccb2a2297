"""A partition of hub ``changes`` under test: records told as packed wire lines, what is forwarded read back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.merge.match import Place
from flockiq.shared import wire
from flockiq.shared.config.load import load
from flockiq.shared.config.model import Config
from flockiq.shared.instants import rfc3339
from flockiq.shared.outbox import Outbox
from flockiq.shared.owner import Folded
from flockiq.shared.positions import Position, entity_id, event_id
from flockiq.shared.settings import HUBS, Settings

TENANT = "default"
_commits = itertools.count(1)  # an owner never uses a number twice

COMPANY = """
entity: company
match_key: lower(tax_id)
fields:
  name: {type: string}
  tax_id: {type: string}
  limit: {type: decimal, scale: 2}
  terms: {type: string}
  since: {type: date}
  staff: {type: integer}
  active: {type: boolean}
  seen: {type: timestamp}
survivorship:
  default: [rank]
  ranks: {default: [erp, web]}
  fields: {terms: [recent]}
"""
ORDER = """
entity: order
partition_by: customer
fields:
  customer: {type: string}
  amount: {type: decimal, scale: 2}
"""
ERP = """
source: erp
connector: files
files: {path: inbox/erp}
streams:
  customers:
    pattern: "*.csv"
    format: {kind: csv}
    primary_key: [id]
    entity: company
    fields:
      name: Name
      tax_id: address.tax.id
      limit: {from: Limit, default: "0.00"}
      terms: {from: Terms, values: {NT30: net 30, 60: net 60, "true": at once}}
      since: {from: Since, format: "%d.%m.%Y"}
      staff: Staff
      active: Active
      seen: {from: Seen, zone: Europe/Berlin}
  orders:
    pattern: "*.csv"
    format: {kind: csv}
    primary_key: [id]
    entity: order
    fields: {customer: customer, amount: amount}
"""
WEB = """
source: web
connector: files
files: {path: inbox/web}
streams:
  contacts:
    pattern: "*.csv"
    format: {kind: csv}
    primary_key: [id]
    entity: company
    fields: {name: name, tax_id: tax_id, terms: terms, staff: staff}
"""


def write_config(folder: Path) -> Config:
    """Two sources and two entity types, written as people write them and loaded as the app loads them."""
    for kind, files in {
        "entities": {"company": COMPANY, "order": ORDER},
        "sources": {"erp": ERP, "web": WEB},
    }.items():
        (folder / kind).mkdir(parents=True)
        for name, text in files.items():
            (folder / kind / f"{name}.yaml").write_text(text)
    return load(folder, {})


def changes_of(config: Config, partitions: int = 4) -> Changes:
    """A partition in which nothing has happened, loaded as its owner loads it."""
    changes = Changes(stream_plans(config), Settings(partitions={**HUBS, "resolved": partitions}), lambda: 1_000_000)
    changes.load(b"", [])
    return changes


def change(
    op: wire.Op,
    us: int,
    record: Mapping[str, object] | None = None,
    *,
    key: str = "7",
    source: str = "web",
    stream: str = "contacts",
    run: int = 1,
    row: int = 0,
) -> wire.Change:
    """One version of one record, its id made as capture makes it."""
    after = json.dumps(record or {}).encode()
    return wire.Change(
        id=event_id(TENANT, source, stream, key, Position(us, run, row), op.encode() + after),
        source=source,
        type=wire.CHANGE,
        subject=f"{stream}/{key}",
        time=rfc3339(us),
        tenant=TENANT,
        data=wire.ChangeData(
            op=op, stream=stream, key=key, ts_us=us, run=run, row=row, captured_us=us, after=msgspec.Raw(after)
        ),
    )


def packed(given: Sequence[wire.Change]) -> list[bytes]:
    """Changes as the bodies of hub events."""
    return [event.body for event in wire.pack(0, wire.CHANGE, [wire.encode(one) for one in given])]


def tell(changes: Changes, *given: wire.Change) -> Folded:
    """One batch."""
    return changes.fold(packed(given), next(_commits))


def forwarded(outbox: Outbox) -> list[wire.Resolved]:
    """The lines that go on to hub ``resolved``, partition by partition."""
    decoder = msgspec.json.Decoder(wire.Resolved)
    events = outbox.events.get("resolved", [])
    return [decoder.decode(line) for event in events for line in wire.unpack(event.body).split(b"\n")]


def said(folded: Folded) -> list[tuple[str, str, int, dict[str, Any]]]:
    """What is forwarded: (op, match key, source time, fields), in order."""
    return [
        (line.data.op, line.data.match_key, line.data.ts_us, dict(line.data.fields))
        for line in forwarded(folded.outbox)
    ]


def place(match_key: str) -> Place:
    """Where a company with this match key lives."""
    company = entity_id(TENANT, "company", match_key)
    return Place(company, match_key, company)
