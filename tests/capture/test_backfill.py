"""A stream's past is read in slices: each once, whatever happens meanwhile, beside the polls."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from flockiq.shared.services import Services
from tests.capture.conftest import Open, World, leased
from tests.capture.past import HOUR, Past, at_the_hours_end, hour_of_orders, source
from tests.capture.peers.shop import Shop
from tests.capture.test_crash import Killed, doom


@pytest.fixture(autouse=True)
def _checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is a checkpoint; and backfills end with the shop's hour, so that slices are few."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    monkeypatch.setattr("flockiq.capture.backfill.plan.AHEAD_US", 0)


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    """An hour of orders, one a minute; and the shop's address."""
    async with hour_of_orders() as found:
        yield found


async def test_every_record_is_told_once_and_a_slice_that_is_read_is_not_read_again(
    world: Open, shop: tuple[Shop, str]
) -> None:
    """Six slices of ten minutes hold all sixty orders; asked again afterwards, nothing is read."""
    peer, url = shop
    async with world(source(url)) as it:
        past = at_the_hours_end(it)
        await past.ask()
        done = await past.through()
        changes = await it.changes()
        status = await it.status("shop", "orders")
        asked = len(peer.requests)
        await past.step()
    held = {change.data.key for change in changes}
    assert held == {str(number) for number in range(HOUR)}
    # The shop's {until} includes its bound: five orders stand in two slices, at one position in time.
    assert Counter(change.data.key for change in changes).most_common(1)[0][1] <= 2
    assert len({change.id for change in changes}) == HOUR
    assert (done.state, done.slices, status.records) == ("done", 6, done.records)
    assert len(past.sent) == 7  # its beginning, and six slices
    assert len(peer.requests) == asked


async def test_asked_for_twice_it_is_one_backfill(world: Open, shop: tuple[Shop, str]) -> None:
    """The second asking finds the first; once that has ended, another may begin, under a greater run."""
    _, url = shop
    async with world(source(url)) as it:
        past = at_the_hours_end(it)
        first = await past.ask()
        assert (await past.ask(since_us=5)).id == first.id
        await past.step()
        assert (await past.ask()).id == first.id
        ended = await past.through()
        second = await past.ask()
        await past.step()
        assert second.id != first.id
        assert (await past.now()).run > ended.run


async def test_since_leaves_older_records_alone(world: Open, shop: tuple[Shop, str]) -> None:
    """Half an hour asked for is three slices."""
    _, url = shop
    async with world(source(url)) as it:
        past = at_the_hours_end(it)
        await past.ask(since_us=1_772_361_000_000_000)  # 10:30
        done = await past.through()
        keys = {int(change.data.key) for change in await it.changes()}
    assert done.slices == 3
    assert keys == set(range(30, HOUR))


@pytest.mark.parametrize("fatal", range(1, 25))
async def test_killed_at_any_write_it_ends_with_every_record(
    services: Services, shop: tuple[Shop, str], fatal: int
) -> None:
    """Killed while it begins, between pages, and while it ends: the app started again goes on to the same end."""
    services = leased(services, 2.0)
    peer, url = shop
    config = source(url, slice="30m", limits={"concurrency": 2})
    killed = World(doom(services, fatal, done=fatal % 2 == 0), config)
    past = at_the_hours_end(killed)
    await Past(World(services, config), "shop", "orders").keeper.ask("shop", "orders", 0, killed.capture.now_us())
    for _ in range(4):
        try:
            await past.step()
        except Killed:
            break
    await killed.capture.close()
    healthy = World(services, config)
    healthy.ahead_us = killed.ahead_us
    after = Past(healthy, "shop", "orders")
    for _ in range(40):
        await after.step(6)
        if (await after.now()).cleared:
            break
    done = await after.now()
    changes = await healthy.changes()
    await healthy.capture.close()
    assert (done.state, done.cleared) == ("done", True)
    assert {int(change.data.key) for change in changes} == set(range(HOUR))
    assert len({change.id for change in changes}) == HOUR
    assert len(peer.requests) <= 2 * 9 + 3  # each page once, but for the one that was under way, and bounds


async def test_an_unfinished_slice_goes_on_at_the_page_it_had_reached(world: Open, shop: tuple[Shop, str]) -> None:
    """Out of time after every page, a slice is sent again and again, and no page is asked for twice."""
    peer, url = shop
    async with world(source(url, slice="1h", limits={"slice_time": "1ms"})) as it:
        past = at_the_hours_end(it)
        await past.ask()
        await past.step()
        for expected in (4, 8, 12):
            await past.step()
            (one,) = (await past.slices()).values()
            assert one.records == expected
            assert one.row > 0
        await past.through()
        assert len({str(request.url) for request in peer.requests}) == len(peer.requests) == HOUR // 4
        assert len({(change.data.run, change.data.row) for change in await it.changes()}) == HOUR


async def test_a_slice_as_large_as_the_sources_cap_is_split(world: Open, shop: tuple[Shop, str]) -> None:
    """No slice of more than fifteen records is believed to be whole; halves are read instead."""
    _, url = shop
    async with world(source(url, slice="1h", cap=16)) as it:
        past = at_the_hours_end(it)
        await past.ask()
        done = await past.through()
        assert {int(change.data.key) for change in await it.changes()} == set(range(HOUR))
    assert done.slices in {4, 8}
    assert any(name.endswith(".0") for name in past.sent)


async def test_a_source_that_says_too_many_is_asked_for_less(world: Open, shop: tuple[Shop, str]) -> None:
    """The refusal's words split the slice; where it can't be made smaller, the slice fails and says so."""
    peer, url = shop
    peer.answers = [None, Response("Query returns TOO_MANY_ROWS", 400), None]
    async with world(source(url, slice="1h", too_many=["TOO_MANY_ROWS"])) as it:
        past = at_the_hours_end(it)
        await past.ask()
        done = await past.through()
        assert {int(change.data.key) for change in await it.changes()} == set(range(HOUR))
    assert done.slices == 2


async def test_more_pages_than_a_read_may_have_split_the_slice(world: Open, shop: tuple[Shop, str]) -> None:
    """limits.pages bounds a slice as it bounds a poll, and is no error here."""
    _, url = shop
    async with world(source(url, slice="1h", limits={"pages": 10})) as it:
        past = at_the_hours_end(it)
        await past.ask()
        done = await past.through()
        assert {int(change.data.key) for change in await it.changes()} == set(range(HOUR))
    assert done.slices == 2


async def test_a_slice_that_fails_says_why_and_holds_no_other(world: Open, shop: tuple[Shop, str]) -> None:
    """One slice's refusal is told with its reason and tried again later; the others are read meanwhile."""
    peer, url = shop
    usual = peer.app.routes[2].endpoint  # type: ignore[attr-defined] # a Route has one
    broken = True

    async def broken_at_half_past(request: Any) -> Response:
        if broken and request.query_params.get("since") == "2026-03-01T10:30:00Z":
            return JSONResponse({"error": "no such index"}, 400)
        return await usual(request)  # type: ignore[no-any-return]

    peer.app.routes[2].app = _app(broken_at_half_past)  # type: ignore[attr-defined] # likewise
    async with world(source(url)) as it:
        past = at_the_hours_end(it)
        await past.ask()
        for _ in range(8):
            await past.step()
        told = await past.progress()
        assert (told.slices, told.done, told.failing) == (6, 5, 1)
        assert "no such index" in told.error
        assert told.retry_us > it.capture.now_us() - 8_000_000
        broken = False
        await past.step(400)
        assert (await past.through()).state == "done"
        assert {int(change.data.key) for change in await it.changes()} == set(range(HOUR))


def _app(endpoint: Any) -> Any:
    from starlette.routing import request_response  # noqa: PLC0415 - only here is a route's answer replaced

    return request_response(endpoint)
