"""The sample CRM speaks the Dataverse Web API."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from flockiq.local.samples import systems
from flockiq.local.samples.records import records
from tests.samples.conftest import Sampled

TRACK = {"Prefer": "odata.track-changes"}

Replica = dict[str, dict[str, Any]]


async def follow(client: httpx.AsyncClient, link: str, key: str, replica: Replica, **headers: str) -> str:
    """Read from ``link`` to the delta link, as a reader would, into ``replica``; the delta link."""
    while True:
        answer = await client.get(link, headers=headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        for row in body["value"]:
            if row.get("@odata.context", "").endswith("/$deletedEntity"):
                assert row["reason"] == "deleted"
                replica.pop(row["id"], None)
            else:
                replica[row[key]] = row
        if "@odata.deltaLink" in body:
            return str(body["@odata.deltaLink"])
        link = body["@odata.nextLink"]


async def test_a_caller_without_the_token_is_refused(sampled: Sampled) -> None:
    """No or a wrong bearer token is a 401 with the error's shape, for data and control alike."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for url in (f"{sampled.crm_url}/accounts", sampled.crm_url.replace("/api/data/v9.2", "/_control")):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic d3Jvbmc6"}):
                answer = await client.get(url, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert set(answer.json()["error"]) == {"code", "message"}


async def test_a_full_read_gives_every_record_once_and_a_delta_link(crm: httpx.AsyncClient, sampled: Sampled) -> None:
    """Pages of the size preferred, confirmed by Preference-Applied, add up to what the CRM holds."""
    wish = {"Prefer": 'odata.track-changes, odata.maxpagesize="500"'}
    answer = await crm.get("/accounts?$select=name,fq_taxid", headers=wish)
    assert answer.headers["preference-applied"] == "odata.track-changes,odata.maxpagesize=500"
    assert answer.headers["odata-version"] == "4.0"
    body = answer.json()
    assert body["@odata.context"].endswith("$metadata#accounts(name,fq_taxid)/$delta")
    assert len(body["value"]) == 500
    assert set(body["value"][0]) == {"@odata.etag", "accountid", "name", "fq_taxid"}
    seen = [row["accountid"] for row in body["value"]]
    while link := body.get("@odata.nextLink"):
        body = (await crm.get(link)).json()
        seen += [row["accountid"] for row in body["value"]]
    assert "@odata.deltaLink" in body
    assert len(seen) == len(set(seen))
    assert set(seen) == set(records(sampled.data)["crm", "accounts"])
    assert 1_900 < len(seen) < 2_000


@pytest.mark.parametrize(
    ("stream", "key"), [("accounts", "accountid"), ("contacts", "contactid"), ("opportunities", "opportunityid")]
)
async def test_what_changes_while_pages_are_read_is_in_the_delta(
    crm: httpx.AsyncClient, sampled: Sampled, stream: str, key: str
) -> None:
    """A replica made of pages read between edits, and then the delta, is what the CRM holds."""
    replica: Replica = {}
    answer = await crm.get(f"/{stream}", headers={"Prefer": "odata.track-changes,odata.maxpagesize=250"})
    while True:
        body = answer.json()
        replica |= {row[key]: row for row in body["value"]}
        if "@odata.deltaLink" in body:
            break
        await systems.control(sampled.data, "crm", edit=60)
        answer = await crm.get(body["@odata.nextLink"])
    await systems.control(sampled.data, "crm", edit=200)
    await follow(crm, body["@odata.deltaLink"], key, replica, Prefer="odata.maxpagesize=20")
    held = records(sampled.data)["crm", stream]
    assert {k: {name: row[name] for name in held.get(k, row)} for k, row in replica.items()} == held


async def test_a_delta_tells_deleted_records_and_changed_ones_only(crm: httpx.AsyncClient, sampled: Sampled) -> None:
    """After edits, the delta is small, holds tombstones, and following it again brings nothing."""
    replica: Replica = {}
    link = await follow(crm, "/contacts", "contactid", replica, **TRACK)
    before = set(replica)
    await systems.control(sampled.data, "crm", edit=200)
    answer = await crm.get(link)
    rows = answer.json()["value"]
    gone = [row["id"] for row in rows if row.get("@odata.context", "").endswith("$metadata#contacts/$deletedEntity")]
    assert gone
    assert set(gone) <= before
    assert 0 < len(rows) < 200
    assert answer.headers["preference-applied"] == "odata.track-changes"
    assert (await crm.get(answer.json()["@odata.deltaLink"])).json()["value"] == []


@pytest.mark.parametrize("option", ["$filter=statecode eq 0", "$orderby=name", "$expand=owner", "$top=3"])
async def test_options_that_change_tracking_does_not_allow_are_refused(crm: httpx.AsyncClient, option: str) -> None:
    """A filter, an order, an expansion or a limit together with track-changes is a 400."""
    answer = await crm.get(f"/accounts?{option}", headers=TRACK)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "0x80060888"
    assert option.partition("=")[0] in answer.json()["error"]["message"]


async def test_expired_tokens_are_refused_as_dataverse_does(crm: httpx.AsyncClient, sampled: Sampled) -> None:
    """Every delta token given so far expires by order, and later ones by age; a full read goes on working."""
    link = await follow(crm, "/opportunities", "opportunityid", {}, **TRACK)
    await systems.control(sampled.data, "crm", expire_tokens=True)
    answer = await crm.get(link)
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "code": "0x80044352",
        "message": "Version stamp associated with the client has expired. Please perform a full sync.",
    }
    await systems.control(sampled.data, "crm", edit=1)
    link = await follow(crm, "/opportunities", "opportunityid", {}, **TRACK)
    assert (await crm.get(link)).status_code == 200
    await systems.control(sampled.data, "crm", token_lifetime_s=0.0)
    await asyncio.sleep(0.01)
    assert (await crm.get(link)).json()["error"]["code"] == "0x80044352"
    await systems.control(sampled.data, "crm", token_lifetime_s=3_600.0)


@pytest.mark.parametrize(
    "query",
    [
        "$deltatoken=x",
        "$deltatoken=" + quote("999999999!01/01/2026 00:00:00"),
        "$deltatoken=" + quote("1!99/99/2026 00:00:00"),
        "$skiptoken=1-2",
        "$skiptoken=" + "9" * 60,
        "$select=" + "x" * 3_000,
        "$filter=name eq 'x' or 1 eq 1",
        "$top=-1",
    ],
)
async def test_nonsense_is_answered_with_a_400(crm: httpx.AsyncClient, query: str) -> None:
    """A malformed token or option is the caller's fault, and said so."""
    answer = await crm.get(f"/accounts?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "0x80060888"


async def test_what_does_not_exist_is_not_found(crm: httpx.AsyncClient) -> None:
    """An unknown set and an unknown record are 404s, told apart by their codes."""
    assert (await crm.get("/Account")).json()["error"]["code"] == "0x8006088a"
    answer = await crm.get("/accounts(00000000-0000-4000-8000-000000000000)")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "0x80040217"


async def test_more_requests_than_the_budget_are_told_when_to_come_back(
    crm: httpx.AsyncClient, sampled: Sampled
) -> None:
    """Over the budget comes a 429 with Retry-After in seconds; after that time all is well again."""
    await systems.control(sampled.data, "crm", budget={"requests": 2, "window_s": 1.0})
    try:
        answers = [await crm.get("/accounts?$top=1") for _ in range(3)]
        assert answers[-1].status_code == 429
        assert answers[-1].json()["error"]["code"] == "0x80072322"
        await asyncio.sleep(int(answers[-1].headers["retry-after"]))
        assert (await crm.get("/accounts?$top=1")).status_code == 200
    finally:
        await systems.control(sampled.data, "crm", budget={"requests": 6_000, "window_s": 300.0})


async def test_now_and_then_a_request_is_refused_for_a_second(crm: httpx.AsyncClient, sampled: Sampled) -> None:
    """One request in so many, by the seed's dice, is a 429 with a short Retry-After."""
    await systems.control(sampled.data, "crm", throttle_one_in=4)
    try:
        answers = [await crm.get("/accounts(0)") for _ in range(40)]
    finally:
        await systems.control(sampled.data, "crm", throttle_one_in=0)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 2 <= len(refused) <= 25
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}


async def test_plain_queries_filter_order_limit_count_and_page(crm: httpx.AsyncClient, sampled: Sampled) -> None:
    """Without change tracking the usual options work, by key and by time of change."""
    held = records(sampled.data)["crm", "accounts"]
    times = sorted(fields["modifiedon"] for fields in held.values())
    middle = times[len(times) // 2]
    query = f"$filter=modifiedon gt {middle}&$orderby=modifiedon desc&$count=true&$select=modifiedon&$top=5"
    body = (await crm.get(f"/accounts?{query}")).json()
    assert body["@odata.count"] == sum(moment > middle for moment in times)
    assert [row["modifiedon"] for row in body["value"]] == times[:-6:-1]
    key = next(iter(held))
    body = (await crm.get(f"/accounts?$filter=accountid eq {key} and statecode eq 0")).json()
    assert [row["accountid"] for row in body["value"]] == [key]
    assert (await crm.get(f"/accounts({key})?$select=name")).json()["name"] == held[key]["name"]
    seen: list[str] = []
    link = "/accounts?$select=accountid&$orderby=accountid"
    while link:
        body = (await crm.get(link, headers={"Prefer": "odata.maxpagesize=700"})).json()
        seen += [row["accountid"] for row in body["value"]]
        link = body.get("@odata.nextLink", "")
    assert seen == sorted(held)
