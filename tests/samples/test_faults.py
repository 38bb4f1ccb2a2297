"""A sample system misbehaves as ordered, on one stream, until told to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from flockiq.local.samples import systems
from flockiq.shared.errors import FlockIQError
from tests.samples.conftest import Sampled


@asynccontextmanager
async def faulty(sampled: Sampled, system: str, stream: str, fault: str) -> AsyncIterator[None]:
    """``stream`` shows ``fault`` for as long as this lasts."""
    await systems.control(sampled.data, system, faults={stream: fault})
    try:
        yield
    finally:
        await systems.control(sampled.data, system, faults={stream: None})


async def test_an_error_is_a_500_on_that_stream_only(crm: httpx.AsyncClient, sampled: Sampled) -> None:
    """While accounts fail, contacts are read; taken back, accounts are read again."""
    async with faulty(sampled, "crm", "accounts", "error"):
        assert (await crm.get("/accounts")).status_code == 500
        assert (await crm.get("/contacts?$top=1")).status_code == 200
    assert (await crm.get("/accounts?$top=1")).status_code == 200


async def test_a_hanging_stream_never_answers(crm: httpx.AsyncClient, erp: httpx.AsyncClient, sampled: Sampled) -> None:
    """The reader's own timeout must end it."""
    async with faulty(sampled, "crm", "accounts", "hang"), faulty(sampled, "erp", "InvoiceSet", "hang"):
        for client, path in ((crm, "/accounts"), (erp, "/InvoiceSet")):
            with pytest.raises(httpx.ReadTimeout):
                await client.get(path, timeout=0.3)


async def test_invalid_json_is_cut_off_in_the_middle(erp: httpx.AsyncClient, sampled: Sampled) -> None:
    """A 200 of type JSON that no parser takes."""
    async with faulty(sampled, "erp", "CustomerSet", "invalid_json"):
        answer = await erp.get("/CustomerSet")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(answer.content)


async def test_a_huge_page_is_over_50_million_bytes(crm: httpx.AsyncClient, sampled: Sampled) -> None:
    """It is streamed without a length, so that only counting shows how large it is."""
    size = 0
    async with (
        faulty(sampled, "crm", "contacts", "huge"),
        crm.stream("GET", "/contacts", headers={"Accept-Encoding": "identity"}) as answer,
    ):
        assert "content-length" not in answer.headers
        async for chunk in answer.aiter_raw():
            size += len(chunk)
    assert size > 50_000_000


async def test_wrong_types_leave_keys_and_times_alone(
    crm: httpx.AsyncClient, erp: httpx.AsyncClient, sampled: Sampled
) -> None:
    """Every other value has a type that its field can't take."""
    async with (
        faulty(sampled, "crm", "accounts", "wrong_types"),
        faulty(sampled, "erp", "SalesOrderSet", "wrong_types"),
    ):
        account = (await crm.get("/accounts", headers={"Prefer": "odata.track-changes"})).json()["value"][0]
        order = (await erp.get("/SalesOrderSet")).json()["d"]["results"][0]
    assert isinstance(account["accountid"], str)
    assert account["modifiedon"].endswith("Z")
    assert account["creditlimit"] == "not a number"
    assert isinstance(account["name"], dict)
    assert order["SalesOrder"].isdigit()
    assert isinstance(order["NetAmount"], dict)


@pytest.mark.parametrize("orders", [{"faults": {"accounts": "explode"}}, {"freez": True}, {"edit": "many"}])
async def test_orders_that_make_no_sense_are_refused(sampled: Sampled, orders: dict[str, object]) -> None:
    """A misspelt order must not look as if it had been obeyed."""
    with pytest.raises(FlockIQError, match="does not understand"):
        await systems.control(sampled.data, "crm", **orders)
