"""Two tenants on the same stores: neither sees anything of the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from flockiq.serve.app import application
from flockiq.shared.services import Services


@pytest.fixture
async def stranger(sample: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A program of another tenant, whose app leans on the very same stores as the sample world's."""
    other = sample._replace(settings=msgspec.structs.replace(sample.settings, tenant="other"))
    transport = httpx.ASGITransport(application(lambda: other))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7071") as asking:
        yield asking


def ids(listed: httpx.Response, name: str) -> list[str]:
    """The ids of a list in an answer."""
    return [each.get("id") or f"{each['source']}/{each['stream']}" for each in listed.json()[name]]


@pytest.mark.parametrize(
    ("path", "name"),
    [("/api/alerts", "alerts"), ("/api/entities", "entities"), ("/api/dead-letters?state=all", "dead_letters")],
)
async def test_a_list_holds_nothing_of_another_tenant(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, path: str, name: str
) -> None:
    """What one sees in full, the other sees empty."""
    assert ids(await client.get(path), name)
    assert ids(await stranger.get(path), name) == []


@pytest.mark.parametrize(
    ("path", "name"), [("alerts", "alerts"), ("entities", "entities"), ("dead-letters", "dead_letters")]
)
async def test_what_another_tenant_has_can_not_be_opened_by_its_id(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, path: str, name: str
) -> None:
    """Knowing an id opens nothing: it is as if it were not there."""
    query = "?state=all" if path == "dead-letters" else ""
    (one, *_) = ids(await client.get(f"/api/{path}{query}"), name)
    assert (await client.get(f"/api/{path}/{one}")).status_code == 200
    assert (await stranger.get(f"/api/{path}/{one}")).status_code == 404


async def test_what_another_tenant_has_can_not_be_changed(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    """Neither acknowledged, nor replayed."""
    (alert, *_) = ids(await client.get("/api/alerts?status=firing"), "alerts")
    (letter, *_) = ids(await client.get("/api/dead-letters?state=all"), "dead_letters")
    assert (await stranger.post(f"/api/alerts/{alert}/acknowledge")).status_code == 404
    assert (await stranger.post(f"/api/dead-letters/{letter}/replay")).status_code == 404
    assert (await client.get(f"/api/alerts/{alert}")).json()["alert"]["status"] == "firing"


async def test_numbers_count_nothing_of_another_tenant(stranger: httpx.AsyncClient) -> None:
    """Not even how much there is."""
    told = (await stranger.get("/api/summary")).json()
    assert (told["entities"], told["deltas"], told["alerts"]) == (0, 0, {})
