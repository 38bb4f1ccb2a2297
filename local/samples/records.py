"""What the sample systems hold, read from their own files: what the app must hold in the end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from flockiq.local.samples import dataverse, gateway
from flockiq.local.samples.crm import Crm
from flockiq.local.samples.erp import Erp
from flockiq.local.samples.store import Record, record_of
from flockiq.local.samples.truth import folder

Fields = dict[str, Any]

_ERP_STREAMS = {"CustomerSet": "customers", "SalesOrderSet": "orders", "InvoiceSet": "invoices"}


def records(data: Path) -> dict[tuple[str, str], dict[str, Fields]]:
    """Every record that exists now, by (source, stream) and key, with its fields as its system sends them.

    The names are those of config/sources. Systems that were never started are left out.
    """
    held: dict[tuple[str, str], dict[str, Fields]] = {}
    for system in ("crm", "erp", "marketing"):
        path = folder(data) / f"{system}.sqlite"
        if not path.exists():
            continue
        # Reading alongside the system: its write-ahead log shows what is committed, and blocks nobody.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            for row in connection.execute("SELECT * FROM records WHERE deleted = 0"):
                record = record_of(row)
                source, stream, fields = _sent(system, record)
                held.setdefault((source, stream), {})[record.key] = fields
    return held


def outstanding(data: Path) -> int:
    """How many webhook events marketing has not got rid of yet."""
    path = folder(data) / "marketing.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM outbox").fetchone()[0])


def _sent(system: str, record: Record) -> tuple[str, str, Fields]:
    match system:
        case "crm":
            return "crm", record.stream, {Crm.primary[record.stream]: record.key, **dataverse.fields_of(record)}
        case "erp":
            fields = {Erp.primary[record.stream]: record.key, **gateway.fields_of(record)}
            return "erp", _ERP_STREAMS[record.stream], fields
        case _ if record.stream == "ratings":
            return "bureau", "ratings", record.body
        case _:
            return "marketing", "contacts", {"objectId": int(record.key), **record.body}
