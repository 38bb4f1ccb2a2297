"""Backfills over HTTP: begun once, looked at, cancelled; what can't be backfilled says why."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from flockiq.shared.backfills import Backfill, Backfills, Slice, Span
from flockiq.shared.services import Services

DAY_US = 86_400_000_000


async def running(services: Services, *slices: Slice) -> Backfill:
    """A backfill of crm/accounts that capture has begun."""
    keeper = Backfills(services.registry, "default")
    asked = await keeper.ask("crm", "accounts", 0, 1)
    for number, each in enumerate(slices):
        await keeper.kept("crm", "accounts", asked.id, f"{number:04d}").make(each)
    found = await keeper.move(
        "crm", "accounts", asked, lambda before: msgspec.structs.replace(before, state="running", started_us=2)
    )
    assert found is not None
    return found


async def test_a_backfill_is_begun_once(client: httpx.AsyncClient) -> None:
    """Asked for again it is the same one, and the list has it once."""
    first = await client.post("/api/sources/crm/backfill", params={"stream": "accounts", "since": "2024-01-31"})
    (asked,) = first.json()["backfills"]
    assert (asked["state"], asked["since"]) == ("asked", "2024-01-31T00:00:00.000000Z")
    again = await client.post("/api/sources/crm/backfill", params={"stream": "accounts"})
    assert again.json() == first.json()
    assert (await client.get("/api/backfills")).json() == first.json()
    assert (await client.get("/api/backfills", params={"source": "erp"})).json() == {"backfills": []}


async def test_without_a_stream_every_stream_of_the_source_is_read(client: httpx.AsyncClient) -> None:
    """The CRM has three."""
    begun = (await client.post("/api/sources/crm/backfill")).json()["backfills"]
    assert [each["stream"] for each in begun] == ["accounts", "contacts", "opportunities"]


@pytest.mark.parametrize(
    ("path", "query", "status", "says"),
    [
        ("nobody", {}, 404, "There is no source 'nobody' in config"),
        ("crm", {"stream": "leads"}, 404, "it has accounts, contacts, opportunities"),
        ("marketing", {}, 400, "tells by itself"),
        ("northwind", {}, 404, "it is disabled"),
        ("crm", {"since": "2999-01-01"}, 400, "in the future"),
        ("erp", {"stream": "orders", "since": "2024-01-01"}, 400, "a time can't limit them"),
        ("crm", {"since": "yesterday"}, 422, "since"),
    ],
)
async def test_what_cant_be_backfilled_says_why(
    client: httpx.AsyncClient, path: str, query: dict[str, str], status: int, says: str
) -> None:
    """A problem document with the reason; nothing is begun."""
    answer = await client.post(f"/api/sources/{path}/backfill", params=query)
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert (await client.get("/api/backfills")).json() == {"backfills": []}


async def test_progress_counts_slices_that_are_left_and_parts_of_those_being_read(
    services: Services, client: httpx.AsyncClient
) -> None:
    """A slice that was split counts as its halves; one whose total is told counts by its records."""
    await running(
        services,
        Slice(state="done", records=10),
        Slice(state="split", records=5),
        Slice(counted=3, total=6, records=3),
        Slice(),
    )
    (told,) = (await client.get("/api/backfills")).json()["backfills"]
    assert (told["slices"], told["done"], told["records"], told["part"]) == (3, 1, 18, 0.5)


async def test_a_failing_backfill_degrades_health_with_its_reason(
    services: Services, client: httpx.AsyncClient
) -> None:
    """One slice that fails is named with what the source says; without one, a backfill is well."""
    await running(services, Slice(span=Span(since_us=1, until_us=DAY_US), failures=3, error="no such index"), Slice())
    checks = (await client.get("/api/health")).json()["checks"]
    (check,) = [each for each in checks if each["name"] == "crm/accounts/backfill"]
    assert check["status"] == "degraded"
    assert "0 of 2 slices read" in check["detail"]
    assert "no such index" in check["detail"]


async def test_cancelled_it_says_by_whom(services: Services, client: httpx.AsyncClient) -> None:
    """Cancelling what never was is 404; cancelling twice changes nothing."""
    assert (await client.post("/api/sources/crm/backfill/cancel")).status_code == 404
    await running(services, Slice())
    first = await client.post("/api/sources/crm/backfill/cancel", headers={"x-ms-client-principal-name": "ann"})
    (told,) = first.json()["backfills"]
    assert (told["state"], told["why"]) == ("cancelled", "cancelled by ann")
    again = await client.post("/api/sources/crm/backfill/cancel", headers={"x-ms-client-principal-name": "bob"})
    assert again.json() == first.json()
    assert (await client.post("/api/sources/crm/backfill")).status_code == 503  # capture has not put it away yet


async def test_another_sites_page_can_begin_none(client: httpx.AsyncClient) -> None:
    """Reading a past costs quota: a stranger's form must not."""
    answer = await client.post("/api/sources/crm/backfill", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
