"""Business Central's notifications, which only point: followed once each, and never answered so that it gives up."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from flockiq.capture import collection
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.services import Services
from tests.capture.peers.business_central import COMPANY, BusinessCentral
from tests.capture.peers.server import serve
from tests.capture.telling import SHOP, central, open_world, post, run_work


async def test_business_centrals_pointers_are_followed_once_each(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several notifications of one record are one GET; a deletion needs none."""
    peer = BusinessCentral()
    peer.put("c1", "Acme", "2026-03-01T10:00:00Z")
    peer.put("c2", "Bolt", "2026-03-01T10:00:00Z")
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        told = [peer.notification(key) for key in ("c1", "c1", "c2")]
        assert await peer.notify(door, *told) == 204
        await run_work(it)
        assert sorted(key for _, key in peer.requests) == ["c1", "c2"]
        assert {key: record["displayName"] for key, record in (await it.final()).items()} == {
            "c1": "Acme",
            "c2": "Bolt",
        }
        del peer.customers["c1"]
        assert await peer.notify(door, peer.notification("c1", "deleted")) == 204
        assert list(await it.final()) == ["c2"]


async def test_the_handshake_echoes_the_token(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """As plain text that no browser takes for anything else; a token of nonsense is no handshake."""
    async with (
        open_world(services, monkeypatch, central("http://127.0.0.1:9")) as (_, door),
        httpx.AsyncClient() as http,
    ):
        answer = await http.post(door, params={"validationToken": "a <b>token</b>/+&="})
        assert (answer.status_code, answer.text) == (200, "a <b>token</b>/+&=")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"
        for nonsense in ("", "x" * 3_000, "a\nb"):
            assert (await http.post(door, params={"validationToken": nonsense})).status_code == 503


async def test_only_business_central_is_answered_with_its_token(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else asks for one."""
    async with open_world(services, monkeypatch, SHOP) as (_, door), httpx.AsyncClient() as http:
        assert (await http.post(door, params={"validationToken": "token"})).status_code == 401


async def test_no_answer_makes_business_central_give_up(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong, malformed, too large: it would delete the subscription at a 4xx, so it is told to come again."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        peer.subscriptions["sub"] = {"resource": "x"}
        assert await peer.notify(door, peer.notification("c1", state="wrong")) == 503
        assert await peer.notify(door, peer.notification("c1", more="x" * 20_000)) == 503
        assert await post(door, b"{", {}) == 503
        assert peer.subscriptions
        assert await it.changes() == []


WHOLE = f"{COMPANY}/customers"
SINCE = f"{WHOLE}?$filter=lastModifiedDateTime gt 2026-03-01T10:00:00Z"


async def test_a_collection_is_read_by_the_filter_that_points_at_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a hundred changes come as one notification: its pages are read, and nothing else, without a poll."""
    peer = BusinessCentral()
    peer.page = 2
    peer.put("old", "Acme", "2026-03-01T10:00:00Z")
    for number in range(5):
        peer.put(f"c{number}", "Bolt", f"2026-03-01T10:00:0{number + 1}Z")
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        assert await peer.notify(door, peer.notification("c0", "collection", resource=SINCE)) == 204
        await run_work(it)
        assert sorted(await it.final()) == [f"c{number}" for number in range(5)]
        assert peer.filters == ["2026-03-01T10:00:00Z"] * 3


@pytest.mark.parametrize("most", [0, 10_000])
async def test_a_collection_that_is_too_large_brings_the_poll_forward(
    services: Services, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """One without a filter, or of more than an errand holds: reading what changed is the poll's work."""
    monkeypatch.setattr(collection, "MOST_RECORDS", most)
    peer = BusinessCentral()
    peer.put("c0", "Acme", "2026-03-01T10:00:00Z")
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        assert await it.poll() == 1
        peer.put("c1", "Bolt", "2026-03-01T10:00:01Z")
        assert await it.poll(1) == 0
        pointer = WHOLE if most else SINCE
        assert await peer.notify(door, peer.notification("c1", "collection", resource=pointer)) == 204
        await run_work(it)
        assert sorted(await it.final()) == ["c0"]
        assert await it.poll(1) == 1
        assert sorted(await it.final()) == ["c0", "c1"]


async def test_pages_of_a_collection_that_run_in_a_circle_end(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that gives a page its own link holds nobody for ever."""
    peer = BusinessCentral()
    peer.page = 0  # every page says that there is another, at the same place
    peer.put("c1", "Bolt", "2026-03-01T10:00:01Z")
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        assert await peer.notify(door, peer.notification("c1", "collection", resource=SINCE)) == 204
        await run_work(it)
        assert len(peer.filters) == 2
        assert await it.changes() == []


async def test_a_source_that_hangs_holds_neither_sender_nor_hub(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delivery is answered at once; the errand goes on by itself within its limits."""
    peer = BusinessCentral()
    peer.hang.clear()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        began = time.monotonic()
        assert await peer.notify(door, peer.notification("c1")) == 204
        assert time.monotonic() - began < 0.5
        await run_work(it)
        assert await it.changes() == []
        peer.hang.set()


async def test_a_hub_that_is_away_is_503_for_pointers_too(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errand is on the hub before the sender hears that all is well."""

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(services.events, name)

        async def publish(self, *_: object) -> None:
            raise HubUnavailable("the hub is away")

    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        it.capture.services = services._replace(events=Away())  # type: ignore[arg-type]
        assert await peer.notify(door, peer.notification("c1")) == 503
