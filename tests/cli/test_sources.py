"""The commands for the person who adds a source: against the sample systems, files, and a service described anew."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.capture.cursor import Cursor, Cursors
from flockiq.cli import metadata
from flockiq.cli.main import main
from flockiq.local.samples import systems
from flockiq.shared import wire
from flockiq.shared.circuits import Circuit, key
from flockiq.shared.errors import SourceError
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from flockiq.shared.status import StreamStatus, touch
from tests.capture.peers.server import serve

ROOT = Path(__file__).parents[2]
Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on which the sample systems run."""
    folder = tmp_path_factory.mktemp("data")
    asyncio.run(systems.start(folder, 1, "http://127.0.0.1:9", story=False, rate=0.0))
    yield folder
    asyncio.run(systems.stop(folder))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the config that comes with the app."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path / "config"


def run(config: Path, data: Path, verb: str, *arguments: str) -> int:
    """``flockiq sources VERB …``; its exit code."""
    return main(["sources", verb, "--config", str(config), "--data", str(data), *arguments])


def write(config: Path, source: dict[str, Any]) -> None:
    """A source's file."""
    (config / "sources" / f"{source['source']}.yaml").write_text(yaml.safe_dump(source))


def taken(config: Path, printed: str) -> None:
    """Put every file that was printed where it says."""
    for part in printed.split("---\n"):
        lines = part.splitlines()
        (place,) = [line.removeprefix("# config/") for line in lines if line.startswith("# config/")]
        (config / place).write_text("\n".join(lines))


@pytest.mark.parametrize("name", ["crm", "erp"])
def test_check_reaches_every_stream_of_a_sample_system(name: str, data: Path, config: Path, capsys: Capsys) -> None:
    """It authenticates, reads a few records of each, and ends well; the secret is named and never shown."""
    assert run(config, data, "check", name) == 0
    said = capsys.readouterr().out
    assert said.count("5 of 5 records read") == 3
    assert "FAIL" not in said
    secrets = json.loads((data / "samples" / "secrets.json").read_text())
    assert not any(secret in said for secret in secrets.values())


def test_check_names_what_is_missing(tmp_path: Path, config: Path, capsys: Capsys) -> None:
    """The setting and the secret, before anything is asked; what no source is called is answered with what they are."""
    assert run(config, tmp_path, "check", "crm") == 1
    said = capsys.readouterr().out
    assert "FLOCKIQ_SAMPLE_CRM_URL" in said
    assert "FLOCKIQ_SECRET_SAMPLE_CRM_TOKEN" in said
    assert run(config, tmp_path, "check", "cmr") == 1
    assert 'did you mean "crm"' in capsys.readouterr().err


def test_check_says_what_the_source_refuses(
    data: Path, config: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong secret, an entity set that does not exist, a field and a key that no record has."""
    monkeypatch.setenv("FLOCKIQ_SECRET_SAMPLE_ERP_PASSWORD", "wrong horse")
    assert run(config, data, "check", "erp") == 1
    said = capsys.readouterr().out
    assert "401: the credentials are refused" in said
    assert "wrong horse" not in said
    monkeypatch.delenv("FLOCKIQ_SECRET_SAMPLE_ERP_PASSWORD")
    path = config / "sources" / "erp.yaml"
    path.write_text(path.read_text().replace("InvoiceSet", "BillSet").replace("city: City", "city: Town"))
    path.write_text(path.read_text().replace("primary_key: [SalesOrder]", "primary_key: [Order]"))
    assert run(config, data, "check", "erp") == 1
    said = capsys.readouterr().out
    assert "note customers        no record read has Town" in said
    assert "FAIL orders           record 1: Order: is missing, and it identifies the record" in said
    assert "FAIL invoices" in said


def test_read_prints_change_events_and_publishes_nothing(data: Path, config: Path, capsys: Capsys) -> None:
    """One JSON line a record, as hub changes would have it; the hub stays empty."""
    assert run(config, data, "read", "erp", "customers", "--limit", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    changes = [msgspec.json.decode(line, type=wire.Change) for line in lines]
    assert [(change.source, change.data.stream, change.data.op) for change in changes] == [
        ("erp", "customers", "r")
    ] * 3
    assert all("CustomerName" in msgspec.json.decode(change.data.after) for change in changes)
    assert not (data / "events.db").exists()
    assert run(config, data, "read", "erp", "custmers") == 1
    assert 'did you mean "customers"' in capsys.readouterr().err


def test_what_discover_prints_of_an_odata_service_works(data: Path, config: Path, capsys: Capsys) -> None:
    """From nothing but the connection: all entity sets, their keys and columns, entity types that fit."""
    stub = yaml.safe_load((config / "sources" / "erp.yaml").read_text())
    del stub["streams"]
    for rules in (config / "rules").glob("*.yaml"):
        rules.unlink()
    write(config, stub)
    assert run(config, data, "discover", "erp") == 0
    printed = capsys.readouterr().out
    assert "# SalesOrderSet: key SalesOrder; " in printed
    assert "#   NetAmount: decimal" in printed
    taken(config, printed[printed.index("# config/sources/") :])
    suggested = yaml.safe_load((config / "sources" / "erp.yaml").read_text())
    assert suggested["auth"] == stub["auth"]
    assert {"customer_set", "sales_order_set", "invoice_set"} <= suggested["streams"].keys()
    assert suggested["streams"]["customer_set"]["modified"] == "LastChange"
    assert run(config, data, "check", "erp") == 0
    assert main(["check", "--config", str(config)]) == 0
    capsys.readouterr()
    assert run(config, data, "read", "erp", "sales_order_set", "--limit", "2") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_discover_sees_what_a_service_does_not_describe(data: Path, config: Path, capsys: Capsys) -> None:
    """The sample CRM offers no $metadata: its streams are shown as their records show them."""
    assert run(config, data, "discover", "crm") == 0
    printed = capsys.readouterr().out
    assert "# accounts: key accountid; " in printed
    assert "#   creditlimit: " in printed
    assert yaml.safe_load(printed)["streams"]["accounts"]["incremental"] == {"kind": "delta"}


async def _customers(request: Request) -> Response:
    page = int(request.query_params.get("page", "1"))
    first = (page - 1) * 2
    rows = [
        {
            "customer_no": f"C{number}",
            "companyName": f"Acme {number}",
            "balance": number + 0.5,
            "active": True,
            "since": "2026-03-01",
            "updatedAt": "2026-03-01T10:00:00Z",
            "address": {"city": "Bern"},
            "label": "a\u009bb",
        }
        for number in range(first, min(first + 2, 5))
    ]
    return JSONResponse({"data": {"items": rows}})


async def test_what_discover_prints_of_a_rest_api_works(config: Path, tmp_path: Path, capsys: Capsys) -> None:
    """From a stub whose key is a guess: the key is found, columns get types, and the file reads all pages."""
    app = Starlette(routes=[Route("/v1/customers", _customers)])
    async with serve(app) as url:
        stub = {
            "source": "shop",
            "connector": "rest",
            "connection": {"base_url": f"{url}/v1", "allow_private": True},
            "streams": {
                "customers": {
                    "path": "customers",
                    "records": "data.items",
                    "paginate": {"kind": "page"},
                    "primary_key": ["id"],
                    "entity": "company",
                    "fields": {"name": "name"},
                }
            },
        }
        write(config, stub)
        assert await asyncio.to_thread(run, config, tmp_path, "check", "shop") == 1
        assert "id: is missing, and it identifies the record" in capsys.readouterr().out
        assert await asyncio.to_thread(run, config, tmp_path, "discover", "shop") == 0
        printed = capsys.readouterr().out
        assert "# customers: key customer_no; 8 columns" in printed
        taken(config, printed[printed.index("# config/sources/") :])
        assert yaml.safe_load((config / "entities" / "customer.yaml").read_text())["fields"] == {
            "customer_no": {"type": "string"},
            "company_name": {"type": "string"},
            "balance": {"type": "float"},
            "active": {"type": "boolean"},
            "since": {"type": "date"},
            "updated_at": {"type": "timestamp"},
            "address_city": {"type": "string"},
            "label": {"type": "string"},
        }
        assert await asyncio.to_thread(run, config, tmp_path, "check", "shop") == 0
        capsys.readouterr()
        assert await asyncio.to_thread(run, config, tmp_path, "read", "shop", "customers", "--limit", "5") == 0
        shown = capsys.readouterr().out
        assert [msgspec.json.decode(line, type=wire.Change).data.key for line in shown.splitlines()] == [
            f"C{number}" for number in range(5)
        ]
        assert "\u009b" not in shown  # a terminal would obey it


def test_files_are_checked_discovered_and_read(config: Path, tmp_path: Path, capsys: Capsys) -> None:
    """The newest by name; a bad row is told of beside the good ones; without a file that is what is missing."""
    assert run(config, tmp_path, "check", "bureau") == 1
    assert "no file in inbox/bureau fits the pattern 'ratings-*.csv'" in capsys.readouterr().out
    inbox = tmp_path / "blobs" / "inbox" / "bureau"
    inbox.mkdir(parents=True)
    (inbox / "ratings-1.csv").write_text("old\n1\n")
    (inbox / "ratings-2.csv").write_text("tax_id,score,rated_at\nDE1,50,2026-03-01T10:00:00Z\nDE2\n")
    assert run(config, tmp_path, "read", "bureau", "ratings") == 0
    shown = capsys.readouterr()
    assert [msgspec.json.decode(line, type=wire.Change).data.key for line in shown.out.splitlines()] == ["DE1"]
    assert "row 3 has 1 values where the header has 3" in shown.err
    assert run(config, tmp_path, "discover", "bureau") == 0
    assert "#   score: string" in capsys.readouterr().out


def test_a_webhook_says_that_it_can_not_be_read(
    config: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its secret and its address can be checked all the same."""
    monkeypatch.setenv("FLOCKIQ_SECRET_SAMPLE_HUBSPOT_SECRET", "correct horse")
    monkeypatch.setenv("FLOCKIQ_PUBLIC_URL", "https://hooks.example")
    assert run(config, tmp_path, "check", "marketing") == 0
    assert "https://hooks.example/api/webhooks/marketing" in capsys.readouterr().out
    for verb in (["read", "marketing", "contacts"], ["discover", "marketing"]):
        assert run(config, tmp_path, *verb) == 1
        assert "told by a webhook" in capsys.readouterr().err


def test_a_source_that_is_not_enabled_can_be_looked_at(config: Path, tmp_path: Path, capsys: Capsys) -> None:
    """That is when one needs it; a file that is wrong says where."""
    path = config / "sources" / "northwind.yaml"
    path.write_text(path.read_text().replace("services.odata.org", "127.0.0.1:9"))
    assert run(config, tmp_path, "check", "northwind") == 1
    said = capsys.readouterr().out
    assert "set enabled: true" in said
    assert "private, loopback or link-local" in said
    path.write_text(path.read_text() + "evry: 2s\n")
    assert run(config, tmp_path, "check", "northwind") == 1
    assert "northwind.yaml:" in capsys.readouterr().err


async def test_status_tells_how_every_stream_stands(config: Path, tmp_path: Path, capsys: Capsys) -> None:
    """Read or not, failing and why; from what is kept, whether the app runs or not."""
    services = connect(Settings(data=tmp_path))
    now_us = 1_772_359_200_000_000
    failing = StreamStatus(last_run_us=now_us, records=1_234, error="answers 500", failures=3, outcome="unavailable")
    await touch(services, "erp", "orders", lambda _: failing)
    waiting = Cursors(services.registry, services.settings.tenant, "erp", "invoices")
    await waiting.save(Cursor(run=1, job="750R1"))
    path = config / "sources" / "crm.yaml"
    crm = yaml.safe_load(path.read_text())
    crm.setdefault("limits", {})["quota"] = {"header": "X-Left", "limit_header": "X-Limit", "floor": 0.1}
    path.write_text(yaml.safe_dump(crm))
    spent = StreamStatus(last_run_us=now_us, quota_left=60, quota_of=500)
    await touch(services, "crm", "accounts", lambda _: spent)
    held = Circuit(opened_us=now_us, until_us=time.time_ns() // 1_000 + 80_000_000, error="answers 503")
    await services.registry.put(key(services.settings.tenant, "erp"), msgspec.json.encode(held), None)
    await services.close()
    assert await asyncio.to_thread(run, config, tmp_path, "status") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["crm:"].startswith("crm: 60 of 500 requests are left of its allowance")
    assert lines["crm:"].endswith("reading stops at 50, which are left to others (limits.quota)")
    assert "1 min more: answers 503. See whether" in lines["erp:"]
    assert "1,234" in lines["erp/orders"]
    assert "failing (3 in a row): answers 500" in lines["erp/orders"]
    assert "not read yet" in lines["erp/customers"]
    assert "full read, waiting for job 750R1" in lines["erp/invoices"]
    assert "told" in lines["marketing/contacts"]
    assert run(config, tmp_path / "nothing", "status") == 1
    assert "Nothing has run in" in capsys.readouterr().err


V4 = b"""<?xml version="1.0"?>
<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0"><edmx:DataServices>
<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="A" Alias="self">
<EntityType Name="Thing"><Key><PropertyRef Name="id"/></Key><Property Name="id" Type="Edm.Guid"/></EntityType>
<EntityType Name="Account" BaseType="self.Thing"><Property Name="rate" Type="Edm.Decimal"/>
<Property Name="tags" Type="Collection(Edm.String)"/></EntityType>
<EntityType Name="Loop" BaseType="A.Loop"/>
<EntityContainer Name="C"><EntitySet Name="accounts" EntityType="self.Account"/>
<EntitySet Name="loops" EntityType="A.Loop"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"""


def test_metadata_is_read_with_what_types_are_based_on() -> None:
    """Keys come from the base; what no field can hold has no type; a circle of types ends."""
    accounts, loops = metadata.shapes(V4)
    assert accounts.keys == ("id",)
    assert [(column.name, column.type) for column in accounts.columns] == [
        ("rate", "decimal"),
        ("tags", ""),
        ("id", "string"),
    ]
    assert loops.keys == ()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<a", b'<?xml version="1.0" encoding="x"?><a/>', b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>']
)
def test_metadata_that_is_none_is_refused(body: bytes) -> None:
    """No entity is ever expanded."""
    with pytest.raises(SourceError, match=r"\$metadata"):
        metadata.shapes(body)
