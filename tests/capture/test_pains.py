"""What users of other tools complain of most, one test each, named after the complaint.

Of the tenth, the half that is about databases alone (a replication slot fills the disk) waits until one is read.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.capture.http.client import SourceClient, Tally
from flockiq.capture.reading import FLUSH_BYTES
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.services import Services
from tests.capture.conftest import Open, World
from tests.capture.peers.issuer import Issuer
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, orders
from tests.capture.peers.tables import DataversePeer
from tests.capture.telling import KNOCK, after, open_world, post
from tests.capture.test_auth import things
from tests.capture.test_told_dataverse import context, dataverse

CHANGED: dict[str, Any] = {"kind": "watermark", "query": {"since": "{since}"}, "lookback": "5m"}


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    """Ten orders, a minute apart, at most three a page; and the shop's address."""
    peer = Shop(cap=3)
    for number in range(1, 11):
        peer.put(number, minute=number)
    async with serve(peer.app) as url:
        yield peer, url


async def test_pain_1_records_committed_late_are_missed_by_a_watermark(world: Open, shop: tuple[Shop, str]) -> None:
    """A record from before the watermark is found within the look back, and nothing is told twice for it."""
    peer, url = shop
    async with world(orders(url, "offset", incremental=CHANGED)) as it:
        await it.poll()
        peer.put(99, minute=7)  # its transaction began at 10:07 and was committed after 10:10 was read
        await it.poll()
        await it.poll()
        told = [change.data.key for change in await it.changes()]
    assert told[10:] == ["99"]


async def test_pain_2_equal_timestamps_at_a_page_cap_loop_for_ever(world: Open) -> None:
    """Thirty records of one second, seven a page."""
    peer = Shop(cap=7)
    for number in range(30):
        peer.put(number + 1, minute=5)
    async with serve(peer.app) as url, world(orders(url, "keyset", incremental=CHANGED)) as it:
        await it.poll()
        assert (await it.status("shop", "orders")).error == ""
        assert len(await it.changes()) == 30
        peer.put(31, minute=5)
        await it.poll()
        assert len(await it.changes()) == 31
    assert len(peer.requests) < 15


async def test_pain_3_deletes_are_invisible(world: Open, shop: tuple[Shop, str]) -> None:
    """Told by a flag, or found by comparing keys: by a whole read every time, or now and then."""
    peer, url = shop
    flagged = orders(url, "cursor", incremental=CHANGED, deleted_when={"field": "gone", "values": ["true"]})
    whole = orders(url, "page") | {"source": "whole"}
    sometimes = orders(url, "offset", incremental=CHANGED | {"reconcile": 1}) | {"source": "sometimes"}
    async with world(flagged, whole, sometimes) as it:
        await it.poll()
        peer.put(4, minute=20, gone=True)
        await it.poll()
        del peer.rows[4]
        for _ in range(3):
            await it.poll()
        deleted = {change.source for change in await it.changes() if (change.data.op, change.data.key) == ("d", "4")}
    assert deleted == {"shop", "whole", "sometimes"}


async def test_pain_4_state_moves_past_a_failed_page(
    services: Services, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub refuses page two: the next run reads page two, and no other again."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    peer, url = shop
    it = World(services, orders(url, "offset"))
    publish, published = services.events.publish, [0]

    async def refuses_the_second(hub: str, events: Any) -> None:
        published[0] += hub == "changes"
        if hub == "changes" and published[0] == 2:
            raise HubUnavailable("not now")
        await publish(hub, events)

    monkeypatch.setattr(services.events, "publish", refuses_the_second)
    with pytest.raises(HubUnavailable):
        await it.poll()
    await it.poll(600)
    keys = [change.data.key for change in await it.changes()]
    await it.capture.close()
    assert keys == [str(number) for number in range(1, 11)]
    assert [request.query_params["offset"] for request in peer.requests[:3]] == ["0", "3", "3"]


async def test_pain_5_a_first_read_does_not_resume_in_its_middle(
    world: Open, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four instances, each stopped after a page or so, finish what none began again."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    peer, url = shop
    for hour in range(1, 6):
        async with world(orders(url, "keyset", limits={"slice_time": "1ms"})) as it:
            await it.poll(3600 * hour)
    async with world() as it:
        assert [change.data.key for change in await it.changes()] == [str(number) for number in range(1, 11)]
    assert len({str(request.url) for request in peer.requests}) == len(peer.requests) == 5


async def test_pain_6_a_source_is_silently_truncated_to_one_page(world: Open, shop: tuple[Shop, str]) -> None:
    """More without a token, a count not reached: an error. Smaller pages than asked for: all of them."""
    peer, url = shop
    first = [{"id": 1, "updated_at": None}]
    answers: dict[str, Any] = {
        "cursor": {"data": {"items": first}, "meta": {"more": True}},
        "next-url": {"data": {"items": first}, "links": {"next": None}, "total": 10},
    }
    counted = {"paginate": {"kind": "next_url", "next": "links.next", "total": "total"}}
    for way, answer in answers.items():
        peer.answers = [JSONResponse(answer)]
        async with world(orders(url, way, **(counted if way == "next-url" else {})) | {"source": way}) as it:
            await it.poll()
            assert (await it.status(way, "orders")).outcome == "unusable"
    async with world(orders(url, "offset-blind", page_size=5)) as it:
        await it.poll()
        assert len(await it.final()) == 10


async def test_pain_7_a_single_use_refresh_token_is_lost(
    services: Services, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new token is kept before anything is read with what came along with it."""
    kept = tmp_path / "secrets.json"
    kept.write_text('{"refresh": "refresh-0"}')
    kept.chmod(0o600)
    monkeypatch.setenv("FLOCKIQ_SECRETS_FILE", str(kept))
    issuer = Issuer()
    async with serve(issuer.app) as url:
        source = SourceFile.model_validate(things(url, "refresh_token"))
        order: list[str] = []
        write = services.secrets.set

        async def noted(name: str, value: str) -> None:
            order.append(f"kept {value}, {len(issuer.calls)} calls")
            await write(name, value)

        monkeypatch.setattr(services.secrets, "set", noted)
        for _ in range(3):  # three processes, one after another, each with nothing but the secret
            client = SourceClient(source, services, {})
            assert (await client.get("things", {}, Tally())).ok
            await client.close()
    assert order == ["kept refresh-1, 0 calls", "kept refresh-2, 1 calls", "kept refresh-3, 2 calls"]


async def test_pain_8_quotas_are_exhausted(world: Open) -> None:
    """A tenth of the allowance is left to everybody else."""
    left = [13]

    async def counting(_: Request) -> Response:
        left[0] -= 1
        return JSONResponse([], headers={"X-Left": str(left[0]), "X-Of": "100"})

    quota = {"quota": {"header": "X-Left", "limit_header": "X-Of"}}
    metered = Starlette(routes=[Route("/api/link-header", counting)])
    async with serve(metered) as url, world(orders(url, "link-header", limits=quota)) as it:
        for _ in range(8):
            await it.poll()
        status = await it.status("shop", "orders")
    assert left[0] == 10
    assert (status.quota_left, status.outcome) == (10, "unavailable")


async def test_pain_9_delta_tokens_expire(world: Open, accounts: Any) -> None:
    """A full read that finds what was deleted meanwhile, and says why it was made."""
    peer = DataversePeer("accountid", page=2)
    for number in range(5):
        peer.table.put({"accountid": f"a{number}", "modifiedon": "2026-03-01T10:00:00Z"})
    async with serve(peer.app) as url, world(accounts(url)) as it:
        await it.poll()
        del peer.table.rows["a3"]
        peer.oldest = 10_000
        await it.poll()
        assert (await it.status("crm", "accounts")).outcome == "resynced"
        assert sorted(await it.final()) == ["a0", "a1", "a2", "a4"]


async def test_pain_10_what_a_source_leaves_out_is_taken_for_empty(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that did not change is absent (as PostgreSQL's TOAST columns are), not null; null is null."""
    async with open_world(services, monkeypatch, dataverse("http://127.0.0.1:9")) as (it, door):
        for told in (context(creditlimit=5.5), context(name=None, modifiedon="/Date(1772359200000)/")):
            assert await post(door, msgspec.json.encode(told), KNOCK) == 204
        first, second = await it.changes()
    assert (first.data.op, second.data.op) == ("u", "u")
    assert "name" not in after(first)
    assert "creditlimit" not in after(second)
    assert after(second)["name"] is None


async def test_pain_11_a_schema_change_loses_rows(world: Open, shop: tuple[Shop, str]) -> None:
    """A new column arrives with its record, and is told of."""
    peer, url = shop
    async with world(orders(url, "offset", columns={"on_change": "evolve"})) as it:
        await it.poll()
        peer.put(3, minute=20, priority="high")
        await it.poll()
        assert (await it.final())["3"]["priority"] == "high"
        assert (await it.status("shop", "orders")).schema == "priority is new (text)"


async def test_pain_12_memory_grows_with_the_source(world: Open) -> None:
    """Forty thousand records by watermark take no more memory than their pages and what is under way."""

    async def endless(request: Request) -> Response:
        start = int(request.query_params["offset"])
        rows = [
            {"id": start + number, "name": "x" * 200, "updated_at": "2026-03-01T10:00:00Z"} for number in range(1_000)
        ]
        return JSONResponse({"items": rows if start < 40_000 else []})

    many = Starlette(routes=[Route("/api/offset-blind", endless)])
    async with serve(many) as url, world(orders(url, "offset-blind", incremental=CHANGED)) as it:
        tracemalloc.start()
        try:
            await it.poll()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        status = await it.status("shop", "orders")
    assert (status.error, status.records) == ("", 40_000)
    assert peak < 8 * FLUSH_BYTES


async def test_credentials_are_not_sent_to_a_next_link_elsewhere(world: Open, shop: tuple[Shop, str]) -> None:
    """A next link on another origin is not called at all."""
    peer, url = shop
    called: list[Request] = []

    async def elsewhere(request: Request) -> Response:
        called.append(request)
        await asyncio.sleep(0)
        return JSONResponse([])

    async with serve(Starlette(routes=[Route("/steal", elsewhere)])) as other:
        peer.answers = [JSONResponse([], headers={"Link": f'<{other}/steal>; rel="next"'})]
        source = orders(url, "link-header") | {"auth": {"kind": "bearer", "token": {"secret": "token"}}}
        async with world(source) as it:
            await it.poll()
            error = (await it.status("shop", "orders")).error
    assert "not declared" in error
    assert called == []
