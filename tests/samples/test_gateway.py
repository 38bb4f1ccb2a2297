"""The sample ERP speaks SAP Gateway's OData V2."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from flockiq.local.samples import systems
from flockiq.local.samples.records import records
from tests.samples.conftest import Sampled

KEYS = {"CustomerSet": "Customer", "SalesOrderSet": "SalesOrder", "InvoiceSet": "Invoice"}
STREAMS = {"CustomerSet": "customers", "SalesOrderSet": "orders", "InvoiceSet": "invoices"}

Replica = dict[str, dict[str, Any]]


def absorb(body: dict[str, Any], entity_set: str, replica: Replica) -> int:
    """Take a page into ``replica``; how many deletions it told."""
    deleted = 0
    for row in body["d"]["results"]:
        key = row[KEYS[entity_set]]
        assert row["__metadata"]["uri"].endswith(f"{entity_set}('{key}')")
        if row["ODQ_CHANGEMODE"] == "D":
            replica.pop(key, None)
            deleted += 1
        else:
            replica[key] = row
    return deleted


async def test_a_caller_who_can_not_log_on_is_refused(sampled: Sampled) -> None:
    """No, wrong or garbled basic credentials are a 401 that asks for them."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for headers in ({}, {"Authorization": "Basic d3Jvbmc6"}, {"Authorization": "Basic ***"}):
            answer = await client.get(f"{sampled.erp_url}/CustomerSet?$format=json", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
            assert answer.json()["error"]["message"] == {"lang": "en", "value": "Logon failed"}


async def test_json_must_be_asked_for(sampled: Sampled) -> None:
    """Neither $format=json nor Accept: application/json: the service would send Atom, which is not offered."""
    async with httpx.AsyncClient(trust_env=False, auth=sampled.erp_auth) as client:
        assert (await client.get(f"{sampled.erp_url}/CustomerSet")).status_code == 406
        assert (await client.get(f"{sampled.erp_url}/CustomerSet?$format=json&$top=1")).status_code == 200


@pytest.mark.parametrize("entity_set", list(KEYS))
async def test_pages_and_then_deltas_add_up_to_what_the_erp_holds(
    erp: httpx.AsyncClient, sampled: Sampled, entity_set: str
) -> None:
    """Edits between pages and after them reach a replica that follows __next and then __delta."""
    replica: Replica = {}
    body = (await erp.get(f"/{entity_set}?$inlinecount=allpages&$format=json")).json()
    counted = int(body["d"]["__count"])
    assert counted == len(records(sampled.data)["erp", STREAMS[entity_set]])
    absorb(body, entity_set, replica)
    while link := body["d"].get("__next"):
        assert "$skiptoken=" in link
        await systems.control(sampled.data, "erp", edit=20)
        body = (await erp.get(link)).json()
        absorb(body, entity_set, replica)
    assert counted * 0.9 < len(replica) <= counted
    await systems.control(sampled.data, "erp", edit=400)
    assert "!deltatoken=" in body["d"]["__delta"]
    delta = (await erp.get(body["d"]["__delta"])).json()
    deleted = absorb(delta, entity_set, replica)
    assert (deleted > 0) == (entity_set != "CustomerSet")
    assert delta["d"]["__count"] == str(len(delta["d"]["results"]))
    held = records(sampled.data)["erp", STREAMS[entity_set]]
    assert {key: {name: row[name] for name in held.get(key, row)} for key, row in replica.items()} == held


async def test_values_are_written_as_v2_writes_them(erp: httpx.AsyncClient) -> None:
    """Decimals are text, times are /Date(ms)/, keys are ten digits."""
    order = (await erp.get("/SalesOrderSet?$top=1")).json()["d"]["results"][0]
    assert re.fullmatch(r"\d+\.\d\d", order["NetAmount"])
    assert re.fullmatch(r"/Date\(\d{13}\)/", order["LastChange"])
    assert int(re.sub(r"\D", "", order["OrderDate"])) % 86_400_000 == 0
    assert re.fullmatch(r"\d{10}", order["SalesOrder"])
    assert order["__metadata"]["type"] == "ZFLOCK_SRV.SalesOrder"


async def test_a_delta_token_that_expired_is_gone(erp: httpx.AsyncClient, sampled: Sampled) -> None:
    """An expired token is a 410 in V2's error shape; a new read gets a token that works."""
    link = (await erp.get("/CustomerSet")).json()["d"]["__next"]
    last = (await erp.get(link)).json()["d"]["__delta"]
    await systems.control(sampled.data, "erp", expire_tokens=True)
    answer = await erp.get(last)
    assert answer.status_code == 410
    error = answer.json()["error"]
    assert "expired" in error["message"]["value"]
    assert error["innererror"]["application"]["service_id"] == "ZFLOCK_SRV"
    await systems.control(sampled.data, "erp", edit=1)
    link = (await erp.get("/CustomerSet")).json()["d"]["__next"]
    assert (await erp.get((await erp.get(link)).json()["d"]["__delta"])).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/CustomerSet?$skiptoken=1", 400),
        ("/CustomerSet?!deltatoken='xyz'", 400),
        (f"/CustomerSet?!deltatoken='{'F' * 32}_20260101000000'", 400),
        (f"/CustomerSet?!deltatoken='{'0' * 32}_20269901000000'", 400),
        ("/CustomerSet?$select=Nothing", 400),
        ("/CustomerSet?$filter=Nothing eq 1", 400),
        ("/MaterialSet", 404),
        ("/CustomerSet('0')", 404),
    ],
)
async def test_nonsense_is_answered_in_v2s_error_shape(erp: httpx.AsyncClient, path: str, status: int) -> None:
    """Malformed tokens, unknown properties, sets and keys."""
    answer = await erp.get(path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]["lang"] == "en"


async def test_plain_queries_filter_order_skip_and_limit(erp: httpx.AsyncClient, sampled: Sampled) -> None:
    """Filters compare dates and decimals by value; $skip and $top cut; $select leaves the rest out."""
    held = records(sampled.data)["erp", "orders"]
    large = sorted(
        (float(order["NetAmount"]) for order in held.values() if float(order["NetAmount"]) > 5_000), reverse=True
    )
    query = "$filter=NetAmount gt 5000m and LastChange gt datetime'2020-01-01T00:00:00'"
    body = (await erp.get(f"/SalesOrderSet?{query}&$orderby=LastChange&$inlinecount=allpages&$top=1")).json()
    assert body["d"]["__count"] == str(len(large))
    assert len(body["d"]["results"]) == 1
    body = (await erp.get("/SalesOrderSet?$orderby=SalesOrder&$skip=2&$top=2&$select=SalesOrder,Status")).json()
    assert [row["SalesOrder"] for row in body["d"]["results"]] == sorted(held)[2:4]
    assert set(body["d"]["results"][0]) == {
        "__metadata",
        "SalesOrder",
        "Status",
        "ODQ_CHANGEMODE",
        "ODQ_ENTITYCNTR",
    }
    one = (await erp.get(f"/SalesOrderSet('{min(held)}')")).json()["d"]
    assert one["NetAmount"] == held[min(held)]["NetAmount"]


async def test_the_metadata_document_names_every_property(erp: httpx.AsyncClient) -> None:
    """$metadata is EDMX with the properties that records have."""
    answer = await erp.get("/$metadata", headers={"Accept": "application/xml"})
    tree = ET.fromstring(answer.text)  # noqa: S314 - our own document
    names = {
        entity.attrib["Name"]: {child.attrib["Name"] for child in entity if child.tag.endswith("Property")}
        for entity in tree.iter("{http://schemas.microsoft.com/ado/2008/09/edm}EntityType")
    }
    order = (await erp.get("/SalesOrderSet?$top=1")).json()["d"]["results"][0]
    assert set(names) == {"Customer", "SalesOrder", "Invoice"}
    assert names["SalesOrder"] == set(order) - {"__metadata"}
