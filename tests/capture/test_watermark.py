"""Streams followed by the time their records changed: nothing is missed, little is read twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.capture.protocols.page import At
from flockiq.capture.protocols.rest import Rest
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.instants import rfc3339
from tests.capture.conftest import Open
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, at, orders

CHANGED = {"kind": "watermark", "query": {"since": "{since}"}, "lookback": "5m"}


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    """Ten orders, a minute apart, at most three a page; and the shop's address."""
    peer = Shop(cap=3)
    for number in range(1, 11):
        peer.put(number, minute=number)
    async with serve(peer.app) as url:
        yield peer, url


def asked(peer: Shop, name: str) -> list[str]:
    """What every request so far had for a parameter."""
    return [request.query_params.get(name, "") for request in peer.requests]


async def test_after_the_first_read_only_what_changed_is_asked_for(world: Open, shop: tuple[Shop, str]) -> None:
    """From the greatest time seen, less the look back; what that brings again is not told again."""
    peer, url = shop
    async with world(orders(url, "offset", incremental=CHANGED)) as it:
        await it.poll()
        assert set(asked(peer, "since")) == {""}
        peer.requests.clear()
        peer.put(3, minute=20, name="Changed")
        await it.poll()
        assert set(asked(peer, "since")) == {at(5)}
        peer.requests.clear()
        await it.poll()
        assert set(asked(peer, "since")) == {at(15)}
        changes = await it.changes()
    assert [change.data.key for change in changes[10:]] == ["3"]


async def test_a_start_bounds_the_first_read(world: Open, shop: tuple[Shop, str]) -> None:
    """Older records than incremental.start are not of interest."""
    _, url = shop
    async with world(orders(url, "page", incremental=CHANGED | {"start": "2026-03-01T10:08:00Z"})) as it:
        await it.poll()
        assert sorted(await it.final()) == ["10", "8", "9"]


async def test_the_upper_bound_stays_where_the_read_began(
    world: Open, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of one read do not move while it is read, even across slices; the next read has a later bound."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    peer, url = shop
    source = orders(
        url,
        "keyset",
        limits={"slice_time": "1ms"},
        incremental=CHANGED
        | {"query": {"since": "{since}", "until": "{until}"}, "start": "2026-01-01", "settle": "1m"},
    )
    async with world(source) as it:
        for _ in range(5):
            await it.poll(0.5)
        first = set(asked(peer, "until"))
        await it.poll(60)
        assert len(first) == 1
        assert first < set(asked(peer, "until"))
        assert len(await it.final()) == 10


async def test_a_clock_that_runs_ahead_hides_nothing(world: Open, shop: tuple[Shop, str]) -> None:
    """A record from the future does not move the watermark beyond our own clock."""
    peer, url = shop
    async with world(orders(url, "offset", incremental=CHANGED)) as it:
        peer.put(98, updated_at="2999-01-01T00:00:00Z")
        await it.poll()
        peer.put(99, updated_at=rfc3339(it.capture.now_us()))
        await it.poll(30)
        final = await it.final()
    assert {"98", "99"} <= set(final)


async def test_deletions_are_found_by_reading_everything_now_and_then(world: Open, shop: tuple[Shop, str]) -> None:
    """Every ``reconcile`` reads; without it a row that is gone goes unnoticed."""
    peer, url = shop
    async with world(orders(url, "link-header", incremental=CHANGED | {"reconcile": 2})) as it:
        await it.poll()
        del peer.rows[4]
        await it.poll()
        await it.poll()
        assert "4" in await it.final()
        peer.requests.clear()
        await it.poll()
        assert set(asked(peer, "since")) == {""}
        assert "4" not in await it.final()
        peer.requests.clear()
        await it.poll()
        assert set(asked(peer, "since")) == {at(5)}


async def test_a_deletion_that_a_record_tells_of_itself_is_one(world: Open, shop: tuple[Shop, str]) -> None:
    """A soft delete flag comes with the changes."""
    peer, url = shop
    deleted = {"field": "deleted", "values": ["true"]}
    async with world(orders(url, "cursor", incremental=CHANGED, deleted_when=deleted)) as it:
        await it.poll()
        peer.put(4, minute=30, deleted=True)
        await it.poll()
        await it.poll()
        changes = await it.changes()
        assert "4" not in await it.final()
    assert [change.data.op for change in changes[10:]] == ["d"]


async def test_an_expired_page_of_changes_begins_only_their_read_again(
    world: Open, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads a million records again because one link was too old."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    peer, url = shop
    async with world(orders(url, "next-url", incremental=CHANGED, expired=["too old"])) as it:
        await it.poll()
        peer.requests.clear()
        for number in range(20, 25):
            peer.put(number, minute=number)
        peer.answers = [None, JSONResponse({"error": "this cursor is too old"}, 400)]
        await it.poll()
        status = await it.status("shop", "orders")
        assert set(asked(peer, "since")) == {at(5)}
        assert len(await it.final()) == 15
    assert (status.error, status.outcome) == ("", "read")


PLACES: dict[str, tuple[dict[str, Any], At, str]] = {
    "seconds": ({"format": "epoch_s"}, At(since_us=1_772_359_200_900_000), "since=1772359200"),
    "milliseconds": ({"format": "epoch_ms"}, At(since_us=1_772_359_200_900_000), "since=1772359200900"),
    "a date": ({"format": "date"}, At(since_us=1_772_359_200_900_000), "since=2026-03-01"),
    "a time": ({}, At(since_us=1_772_359_200_900_000), "since=2026-03-01T10%3A00%3A00.900Z"),
    "everything": ({}, At(), "x"),
}


@pytest.mark.parametrize("name", PLACES)
def test_times_are_written_as_the_source_wants_them(name: str) -> None:
    """Rounded down, so that nothing falls between two reads."""
    change, where, link = PLACES[name]
    source = SourceFile.model_validate(orders("http://a", "offset", incremental=CHANGED | change, query={"x": "y"}))
    assert link in Rest(source, source.streams["orders"]).first(where)


class Central:
    """Customers of an OData V4 service without change tracking, as Business Central's: filtered, counted."""

    def __init__(self) -> None:
        self.rows = [{"id": str(n), "lastModifiedDateTime": at(n)} for n in range(1, 6)]
        self.lost = 0  # records that its pages leave out, though it counts them
        self.filters: list[str] = []
        self.app = Starlette(routes=[Route("/api/customers", self._get)])

    async def _get(self, request: Request) -> Response:
        said = request.query_params.get("$filter", "lastModifiedDateTime ge 0001")
        start = int(request.query_params.get("$skiptoken", "0"))
        self.filters += [] if start else [said]
        since = said.removeprefix("lastModifiedDateTime ge ")
        found = [row for row in self.rows if str(row["lastModifiedDateTime"]) >= since]
        given = found[: len(found) - self.lost]
        body: dict[str, Any] = {"value": given[start : start + 2]}
        if not start:
            body["@odata.count"] = len(found)
        if start + 2 < len(given):
            link = request.url.include_query_params(**{"$skiptoken": start + 2})
            body["@odata.nextLink"] = str(link)
        return JSONResponse(body)


async def test_an_odata_service_is_followed_by_time_and_held_to_its_count(world: Open) -> None:
    """Where a service tracks no changes, a filter does; where it counts, its pages must hold as many."""
    peer = Central()
    async with serve(peer.app) as url:
        source = orders(url, "link-header") | {"connector": "odata_v4"}
        source["streams"]["orders"] = {
            "path": "customers",
            "primary_key": ["id"],
            "modified": "lastModifiedDateTime",
            "query": {"$count": "true"},
            "incremental": CHANGED | {"query": {"$filter": "lastModifiedDateTime ge {since}"}, "lookback": "1m"},
            "entity": "company",
            "fields": {"name": "id"},
        }
        async with world(source) as it:
            await it.poll()
            peer.rows.append({"id": "6", "lastModifiedDateTime": at(6)})
            await it.poll()
            assert [change.data.key for change in await it.changes()] == ["1", "2", "3", "4", "5", "6"]
            assert peer.filters[1] == f"lastModifiedDateTime ge {at(4)}"
            peer.lost = 1
            await it.poll()
            assert "the pages held 1 records" in (await it.status("shop", "orders")).error
