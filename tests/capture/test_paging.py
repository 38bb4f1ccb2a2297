"""Pages, however a source of plain JSON turns them: every record once, and never silently fewer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from tests.capture.conftest import Open
from tests.capture.peers.server import serve
from tests.capture.peers.shop import WAYS, Shop, orders


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    """Ten orders, several of one time, at most three a page; and the shop's address."""
    peer = Shop(cap=3)
    for number in range(1, 11):
        peer.put(number, minute=number // 4)
    async with serve(peer.app) as url:
        yield peer, url


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_paging_takes_every_record_once(world: Open, shop: tuple[Shop, str], way: str) -> None:
    """A page size the source does not grant loses nothing."""
    _, url = shop
    async with world(orders(url, way, page_size=5)) as it:
        await it.poll()
        changes = await it.changes()
        status = await it.status("shop", "orders")
    assert status.error == ""
    assert [change.data.key for change in changes] == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_paging_reads_an_empty_stream(world: Open, way: str) -> None:
    """No record is no error."""
    peer = Shop()
    async with serve(peer.app) as url, world(orders(url, way)) as it:
        await it.poll()
        assert (await it.status("shop", "orders")).error == ""
        assert len(peer.requests) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_paging_goes_on_after_a_kill(
    world: Open, shop: tuple[Shop, str], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is in the cursor: another process reads the page after the last published one."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    peer, url = shop
    peer.answers = [None, None, JSONResponse({"error": "down"}, 503), JSONResponse({"error": "down"}, 503)]
    async with world(orders(url, way)) as it:
        await it.poll()
    asked = len(peer.requests)
    async with world(orders(url, way)) as it:
        await it.poll(600)
        keys = [change.data.key for change in await it.changes()]
    assert keys == [str(number) for number in range(1, 11)]
    assert peer.requests[asked].url == peer.requests[2].url


Trouble = tuple[str, list[Response | None], str]

TROUBLES: dict[str, Trouble] = {
    "more without a token": (
        "cursor",
        [JSONResponse({"data": {"items": [{"id": 1}]}, "meta": {"cursor": None, "more": True}})],
        "there is more, and not where",
    ),
    "a token that leads to itself": (
        "cursor",
        [JSONResponse({"data": {"items": [{"id": n}]}, "meta": {"cursor": "c7", "more": True}}) for n in (1, 2)],
        "run in a circle",
    ),
    "the same page for every number": (
        "offset-blind",
        [JSONResponse({"items": [{"id": 1}, {"id": 2}]})] * 2,
        "the same page again",
    ),
    "fewer records than the source counts": (
        "next-url",
        [JSONResponse({"data": {"items": [{"id": 1}]}, "links": {}, "total": 7})],
        "the pages held 1 records, and the source says there are 7",
    ),
    "an empty page before the count is reached": (
        "offset",
        [JSONResponse({"items": [], "total": 7})],
        "there is more, and gives an empty page",
    ),
    "a keyset without anything to stand on": (
        "keyset",
        [JSONResponse([{"id": 1, "updated_at": None}])],
        "nothing to page by",
    ),
    "a link elsewhere": (
        "next-url",
        [JSONResponse({"data": {"items": []}, "links": {"next": "https://elsewhere.example/x"}})],
        "not declared",
    ),
    "a Link header elsewhere": (
        "link-header",
        [JSONResponse([], headers={"Link": '<http://169.254.169.254/latest>; rel="next"'})],
        "not declared",
    ),
    "records that are no list": ("next-url", [JSONResponse({"data": {"items": {"a": 1}}})], "no list at records"),
    "no records at all": (
        "next-url",
        [JSONResponse({"rows": []})],
        "no list at records: data.items; lists are at: rows",
    ),
    "a next link that is an object": (
        "next-url",
        [JSONResponse({"data": {"items": []}, "links": {"next": {"href": "/x"}}})],
        "neither text nor a number",
    ),
    "a count that is none": ("offset", [JSONResponse({"items": [], "total": "many"})], "no number of records"),
    "a flag that is none": ("page", [JSONResponse({"items": [], "last": "perhaps"})], "neither true nor false"),
    "no JSON": ("page", [Response("<html>busy</html>")], "is not JSON"),
    "a refusal": ("page", [JSONResponse({"error": "no such field"}, 400)], "no such field"),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_an_answer_that_would_lose_records_is_an_error(world: Open, name: str) -> None:
    """The message says what was met, and nothing is taken for the end of the stream."""
    way, answers, said = TROUBLES[name]
    peer = Shop()
    peer.answers = list(answers)
    counted: dict[str, Any] = {"paginate": WAYS[way]["paginate"] | {"total": "total"}} if "counts" in name else {}
    async with serve(peer.app) as url, world(orders(url, way, **counted)) as it:
        await it.poll()
        status = await it.status("shop", "orders")
    assert said in status.error
    assert status.outcome == "unusable"


async def test_pages_have_a_cap(world: Open, shop: tuple[Shop, str]) -> None:
    """limits.pages ends a read that never would."""
    _, url = shop
    async with world(orders(url, "page", limits={"pages": 2})) as it:
        await it.poll()
        status = await it.status("shop", "orders")
    assert "over 2 pages" in status.error


async def test_a_short_read_is_repeated_from_its_start(world: Open, shop: tuple[Shop, str]) -> None:
    """A count not reached does not leave the stream stuck at its last page."""
    peer, url = shop
    peer.answers = [JSONResponse({"data": {"items": [{"id": 1}]}, "links": {}, "total": 7})]
    source = orders(url, "next-url", paginate={"kind": "next_url", "next": "links.next", "total": "total"})
    async with world(source) as it:
        await it.poll()
        await it.poll(600)
        status = await it.status("shop", "orders")
        final = await it.final()
    assert status.error == ""
    assert len(final) == 10


async def test_a_page_token_that_expired_begins_the_read_again(
    world: Open, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that waited too long starts over, and ends complete."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    peer, url = shop
    peer.answers = [None, JSONResponse({"error": "INVALID_QUERY_LOCATOR"}, 400)]
    async with world(orders(url, "cursor", expired=["INVALID_QUERY_LOCATOR"])) as it:
        await it.poll()
        status = await it.status("shop", "orders")
        final = await it.final()
    assert (status.error, status.outcome) == ("", "resynced")
    assert len(final) == 10


async def test_items_that_are_no_records_are_set_aside(world: Open, shop: tuple[Shop, str]) -> None:
    """One odd item among records does not cost the page."""
    peer, url = shop
    peer.answers = [JSONResponse([{"id": 1, "updated_at": "2026-03-01T10:00:00Z"}, 7, "x"])]
    async with world(orders(url, "link-header")) as it:
        await it.poll()
        assert [change.data.key for change in await it.changes()] == ["1"]
        assert len(await it.letters()) == 2


async def test_null_where_records_belong_is_none(world: Open, shop: tuple[Shop, str]) -> None:
    """Some sources write null for an empty list."""
    peer, url = shop
    peer.answers = [JSONResponse({"data": {"items": None}})]
    async with world(orders(url, "next-url")) as it:
        await it.poll()
        assert (await it.status("shop", "orders")).error == ""
