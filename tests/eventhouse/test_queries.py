"""Every query answers rightly on DuckDB, from rows as the stages write them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import entity_id
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from tests.eventhouse.conftest import EVENTHOUSE
from tests.serve.sample import (
    COMPANIES,
    HOSTILE,
    MINUTE,
    SECOND,
    TENANT,
    company_id,
    delta,
    fill,
    letter,
    letter_id,
    now_us,
)

NOW = now_us()
QUERIES = sorted([*EVENTHOUSE.glob("queries/*.kql"), *EVENTHOUSE.glob("rules/*.kql")])
PARAMETERS = {
    "entity": {"id": company_id("123456789")},
    "findings": {"id": company_id("123456789")},
    "entity_history": {"id": company_id("123456789")},
    "dead_letter": {"id": letter_id(letter(NOW))},
    "latency": {"since": rfc3339(NOW - 15 * MINUTE)},
    "activity": {"since": rfc3339(NOW - 15 * MINUTE)},
}

Rows = list[dict[str, object]]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Services]:
    """The sample world, ingested through the port."""
    services = connect(Settings(data=tmp_path))
    await fill(services, NOW)
    yield services
    await services.close()


async def ask(services: Services, name: str, *, tenant: str = TENANT, **parameters: str) -> Rows:
    """The rows a query gives."""
    [path] = EVENTHOUSE.glob(f"*/{name}.kql")
    given = {"tenant": tenant} | PARAMETERS.get(name, {}) | parameters
    table = await services.analytics.query(path.read_text(encoding="utf-8"), given)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


async def ingest(services: Services, table: str, *rows: dict[str, object]) -> None:
    """Add rows."""
    await services.analytics.ingest(table, b"\n".join(msgspec.json.encode(row) for row in rows))


async def test_every_query_answers_and_keeps_tenants_apart(world: Services) -> None:
    """Each gives rows to the tenant whose they are; to another only zeros, or nothing."""
    for path in QUERIES:
        assert await ask(world, path.stem), path.name
        for row in await ask(world, path.stem, tenant="somebody-else"):
            assert not any(row.values()), path.name


async def test_rows_that_come_twice_count_once(
    world: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingestion is at least once, and no query shows it."""
    other = connect(Settings(data=tmp_path / "twice"))
    ingest = other.analytics.ingest

    async def twice(table: str, rows: bytes) -> None:
        for _ in range(2):
            await ingest(table, rows)

    monkeypatch.setattr(other.analytics, "ingest", twice)
    await fill(other, NOW)
    for path in QUERIES:
        assert await ask(other, path.stem) == await ask(world, path.stem), path.name
    await other.close()


async def test_a_deleted_company_with_open_invoices_is_one_row(world: Services) -> None:
    """The rule's query sums what is open, and leaves out what is paid or somebody else's."""
    assert await ask(world, "deleted_with_open_invoices") == [
        {
            "entity_id": company_id("442190356"),
            "name": "Boulangerie Saint Rémy",
            "match_key": "442190356",
            "open_invoices": 2,
            "open_amount": 2501.0,
        }
    ]


async def test_the_row_goes_when_the_invoices_are_paid(world: Services) -> None:
    """Only the latest version of an invoice counts."""
    paid = {"Tenant": TENANT, "EntityType": "invoice", "Version": 2, "Deleted": False}
    fields = {"customer": "C44219", "amount": "1250.50", "status": "PAID"}
    for number in (1, 2):
        row = paid | {"EntityId": entity_id(TENANT, "invoice", f"I{number}"), "Fields": fields}
        await ingest(world, "Entities", row)
    assert await ask(world, "deleted_with_open_invoices") == []


async def test_the_latest_version_of_an_entity_stands(world: Services) -> None:
    """A repeated or older row changes nothing, and dynamic columns come back as objects."""
    [row] = await ask(world, "entity")
    assert row["Version"] == 2
    assert row["Fields"]["credit_limit"] == "25000.00"  # type: ignore[index]
    assert row["Sources"]["crm"]["values"]["credit_limit"] == "50000.00"  # type: ignore[index]


async def test_history_tells_each_delta_once_and_which_were_taken_back(world: Services) -> None:
    """Newest first; the delta that a later one retracts says so."""
    rows = await ask(world, "entity_history")
    assert [(row["DeltaId"], row["IsRetracted"]) for row in rows] == [("d1", False), ("d3", False), ("d2", True)]
    said = NOW - 40 * SECOND
    assert [rows[0][name] for name in ("SourceTime", "OldSourceTime", "NewSourceTime")] == [
        rfc3339(at) for at in (said, said - 60 * MINUTE, said - MINUTE)
    ]


async def test_findings_tell_when_drift_began_and_ended_and_leave_out_what_was_taken_back(world: Services) -> None:
    """Newest first: one that lasts, an anomaly with what was expected, one that is over."""
    rows = await ask(world, "findings")
    assert [(row["FindingId"], row["Kind"]) for row in rows] == [("f6", "drift"), ("f3", "anomaly"), ("f1", "drift")]
    assert [row["EndedAt"] for row in rows[:2]] == [None, None]
    assert rows[2]["EndedAt"] == rfc3339(NOW - 25 * MINUTE)
    assert (rows[1]["Score"], rows[1]["Expected"], rows[1]["High"]) == (9.5, 41.0, 52.0)
    assert await ask(world, "findings", id="") == rows


async def test_effective_deltas_leave_out_repeats_and_retractions(world: Services) -> None:
    """d1 and d4 stand; d2 was taken back by d3."""
    assert await ask(world, "effective_deltas") == [{"Count": 2}]


async def test_a_delta_told_again_after_it_was_taken_back_stands(world: Services) -> None:
    """A late record may bring back what an earlier late one had undone."""
    await ingest(world, "Deltas", delta("d2", "123456789", "city", "Bremen", "Hamburg", NOW - 18 * MINUTE))
    assert await ask(world, "effective_deltas") == [{"Count": 3}]
    [again] = [row for row in await ask(world, "entity_history") if row["DeltaId"] == "d2"]
    assert not again["IsRetracted"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nordwind", "Nordwind Logistik GmbH"),
        ("44219", "Boulangerie Saint Rémy"),
        ("C31822", "Kestrel Marine Supplies"),
        (company_id("771204459"), "Grünwald Maschinenbau AG"),
        ("<script>", HOSTILE.replace("-", " ")),
    ],
)
async def test_search_finds_by_name_match_key_record_key_and_id(world: Services, text: str, found: str) -> None:
    """Part of a name or match key; a whole record key or id."""
    assert [row["Name"] for row in await ask(world, "entity_search", type="company", text=text)] == [found]


async def test_search_takes_its_text_as_text(world: Services) -> None:
    """A text that looks like KQL or SQL is looked for, not run."""
    for text in ("' | count", '" or true //', "'); drop table Entities; --", "%"):
        assert await ask(world, "entity_search", text=text) == []
    assert len(await ask(world, "entity_search", type="company")) == len(COMPANIES)


async def test_search_orders_names_whatever_their_case(world: Services) -> None:
    """A system that writes in capitals does not come before all others."""
    entity = {"Tenant": TENANT, "EntityType": "plant", "Version": 1, "Deleted": False}
    for name in ("beta", "ALPHA", "Alder", "Zeta"):
        await ingest(world, "Entities", entity | {"EntityId": name, "MatchKey": name, "Fields": {"name": name}})
    assert [row["Name"] for row in await ask(world, "entity_search", type="plant")] == [
        "Alder",
        "ALPHA",
        "beta",
        "Zeta",
    ]


async def test_latency_leaves_out_what_the_first_reading_brought(world: Services) -> None:
    """Records older than the first complete reading of every stream are not slow, they are old."""
    [before] = await ask(world, "latency")
    old = {"Tenant": TENANT, "EntityId": "o", "Version": 1, "SourceTime": rfc3339(NOW - 400 * MINUTE)}
    await ingest(world, "Entities", old | {"UpdatedAt": rfc3339(NOW)})
    assert await ask(world, "latency") == [before]
    assert before["P99"] == 800.0
    run = {"RunId": "r2", "Tenant": TENANT, "Source": "erp", "Stream": "orders", "Error": ""}
    await ingest(world, "Runs", run | {"StartedAt": rfc3339(NOW), "EndedAt": rfc3339(NOW + SECOND)})
    [later] = await ask(world, "latency")
    assert later["Changes"] == 0
