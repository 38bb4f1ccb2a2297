"""Backfills beside everything else: polls, places at the source, people who cancel or change config."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from flockiq.capture.backfill import work as slices
from flockiq.capture.cursor import Cursors
from flockiq.capture.http.circuit import Breaker
from flockiq.shared.circuits import circuits
from flockiq.shared.errors import NotFound
from flockiq.shared.services import Services
from tests.capture.conftest import Open, World, leased
from tests.capture.past import Past, at_the_hours_end, hour_of_orders, source
from tests.capture.peers.shop import Shop


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


async def test_its_run_is_taken_between_two_polls(services: Services, shop: tuple[Shop, str]) -> None:
    """While a poll reads, a backfill does not begin: of one record, what is read later must be told as later."""
    services = leased(services, 0.2)
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
