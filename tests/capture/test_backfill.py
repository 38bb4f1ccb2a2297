"""A stream's past is read in slices: each once, whatever happens meanwhile, beside the polls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from starlette.responses import JSONResponse, Response

from flockiq.capture.backfill import begin
from flockiq.capture.backfill import work as slices
from flockiq.capture.cursor import Cursors
from flockiq.capture.http.circuit import Breaker
from flockiq.shared.circuits import circuits
from flockiq.shared.errors import NotFound
from flockiq.shared.services import Services
from tests.capture.conftest import Open, World
from tests.capture.past import BY_TIME, Past
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, orders
from tests.capture.test_crash import Killed, doom

HOUR = 60


@pytest.fixture(autouse=True)
def _checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is a checkpoint; and the hour of the shop's orders is near, so that slices are few."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    monkeypatch.setattr("flockiq.capture.backfill.plan.AHEAD_US", 0)


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    """An hour of orders, one a minute; and the shop's address."""
    peer = Shop(cap=4)
    for minute in range(HOUR):
        peer.put(minute, minute)
    async with serve(peer.app) as url:
        yield peer, url


def source(url: str, way: str = "cursor", *, limits: dict[str, Any] | None = None, **backfill: Any) -> dict[str, Any]:
    """The shop, polled for what is new, its past in slices of ten minutes up to the hour's end."""
    return orders(
        url,
        way,
        limits=limits,
        incremental={"kind": "watermark", "query": {"since": "{since}"}, "start": "2026-03-01T11:00:00Z"},
        backfill=BY_TIME | backfill,
    )


def at_the_hours_end(world: World) -> Past:
    """The backfill, asked for at 10:59:30 of the shop's day."""
    world.ahead_us += 1_772_362_770_000_000 - world.capture.now_us()
    return Past(world, "shop", "orders")


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
    services: Services, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    """Killed while it begins, between pages, and while it ends: the app started again goes on to the same end."""
    monkeypatch.setattr(slices, "TTL_S", 2.0)
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


async def test_no_more_slices_are_sent_than_the_source_has_places_to_spare(world: Open, shop: tuple[Shop, str]) -> None:
    """One stream and three places: two slices read and two waiting, so that a poll always finds a place."""
    _, url = shop
    async with world(source(url, limits={"concurrency": 3})) as it:
        past = at_the_hours_end(it)
        await past.ask()
        await past.step()
        assert len(await past.send()) == 4
        assert len(await past.send()) == 0
        it.ahead_us += 6_000_000
        assert len(await past.send()) == 4  # nobody read them: the same again
        assert len(set(past.sent[1:])) == 4


async def test_a_slice_without_a_place_makes_room_and_is_sent_again(
    services: Services, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While other instances hold all places, nothing is read and nothing waits for ever."""
    monkeypatch.setattr("flockiq.capture.seats._ROUND_S", 0.01)
    peer, url = shop
    it = World(services, source(url, limits={"concurrency": 2, "slice_time": "50ms"}))
    past = at_the_hours_end(it)
    await past.ask()
    await past.step()
    taken = await services.registry.acquire("seat/default/shop/1", "another instance", 600)
    assert taken is not None
    assert await past.step() == 2
    assert not peer.requests
    await services.registry.release(taken)
    assert await past.step() == 2
    assert peer.requests
    await it.capture.close()


async def test_polls_go_on_beside_a_backfill_and_win_over_it(world: Open, shop: tuple[Shop, str]) -> None:
    """An edit polled while slices wait is not undone by them, though its time is the record's old one."""
    peer, url = shop
    config = source(url)
    config["streams"]["orders"]["incremental"] = {"kind": "full"}
    async with world(config) as it:
        past = at_the_hours_end(it)
        await it.poll(0)
        await past.ask()
        await past.step()
        works = await past.send()  # under way, and not read yet
        old = dict(peer.rows)
        peer.put(5, 5, name="Edited")
        await it.poll(10)
        assert (await it.final())["5"]["name"] == "Edited"
        peer.rows = old  # what a slice that had asked before would have seen
        slices.run(it.capture, works)
        while it.capture.slices:
            await asyncio.gather(*it.capture.slices.values())
        late = [change for change in await it.changes() if change.data.key == "5"]
        assert [msgspec.json.decode(change.data.after)["name"] for change in late][-1] == "Edited"
        assert (await it.final())["5"]["name"] == "Edited"
        assert {change.data.run for change in late} == {1, 2, 3}


async def test_its_run_is_taken_between_two_polls(
    services: Services, shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a poll reads, a backfill does not begin: of one record, what is read later must be told as later."""
    monkeypatch.setattr(begin, "TTL_S", 0.2)
    _, url = shop
    it = World(services, source(url, limits={"slice_time": "1ms"}))
    past = at_the_hours_end(it)
    await past.ask()
    held = await services.registry.acquire("capture/default/shop/orders", "a poll", 60)
    assert held is not None
    await past.step()
    assert (await past.now()).state == "asked"
    await services.registry.release(held)
    await past.step(10)
    running = await past.now()
    cursor = await Cursors(services.registry, "default", "shop", "orders").load()
    assert (running.state, running.run, running.run_us) == ("running", cursor.run, cursor.run_us)
    await it.capture.close()


async def test_cancelled_it_stops_and_what_was_told_stays(world: Open, shop: tuple[Shop, str]) -> None:
    """A reader in the middle of a slice notices; nothing is sent any more, and another backfill may begin."""
    _, url = shop
    async with world(source(url, limits={"slice_time": "1ms"})) as it:
        past = at_the_hours_end(it)
        with pytest.raises(NotFound):
            await past.keeper.cancel("shop", "orders", "", 0)
        await past.ask()
        await past.step()
        await past.step()
        told = len(await it.changes())
        assert told > 0
        await past.keeper.cancel("shop", "orders", "by hand", it.capture.now_us())
        await past.step()
        ended = await past.now()
        assert (ended.state, ended.why, ended.cleared, ended.records) == ("cancelled", "by hand", True, told)
        assert await past.step() == 0
        assert len(await it.changes()) == told
        assert (await past.ask()).id != ended.id


async def test_slices_of_a_stream_that_config_changed_are_given_up(services: Services, shop: tuple[Shop, str]) -> None:
    """Their links would lead elsewhere: the backfill ends and says why."""
    _, url = shop
    before = World(services, source(url, limits={"slice_time": "1ms"}))
    past = at_the_hours_end(before)
    await past.ask()
    await past.step()
    await past.step()
    await before.capture.close()
    after = World(services, source(url, "offset"))
    after.ahead_us = before.ahead_us
    changed = Past(after, "shop", "orders")
    await changed.step()
    await changed.step()
    ended = await changed.now()
    assert ended.state == "cancelled"
    assert "config" in ended.why
    await after.capture.close()


async def test_a_backfill_waits_for_a_source_that_is_disabled(services: Services, shop: tuple[Shop, str]) -> None:
    """It is kept, and goes on when the source comes back."""
    _, url = shop
    it = World(services, source(url) | {"enabled": False})
    past = at_the_hours_end(it)
    await past.ask()
    assert await past.step() == 0
    assert (await past.now()).state == "asked"
    back = World(services, source(url))
    back.ahead_us = it.ahead_us
    assert (await Past(back, "shop", "orders").through()).state == "done"
    await back.capture.close()


async def test_a_backfill_waits_for_a_source_that_is_left_alone(services: Services, shop: tuple[Shop, str]) -> None:
    """Nothing of it is sent while the source's circuit is open; then it goes on."""
    _, url = shop
    it = World(services, source(url, limits={"circuit": {"failures": 1, "pause": "1m"}}))
    past = at_the_hours_end(it)
    await past.ask()
    limits = it.capture.sources["shop"].limits
    await Breaker(limits, services.registry, it.capture.tenant, "shop", it.capture.now_us).failed("answers 503")
    assert await past.step() == 0
    assert (await past.now()).state == "asked"
    it.ahead_us += 61_000_000
    assert (await past.through()).state == "done"
    assert await circuits(services) == {}
    await it.capture.close()
