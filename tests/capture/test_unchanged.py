"""A stream that can only be read whole tells what changed, and only that."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flockiq.capture.records import Taken
from flockiq.capture.unchanged import REMEMBERED, Lately, Unchanged
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.services import Services
from tests.capture.conftest import Open, World
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, orders


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Shop, dict[str, Any]]]:
    """Four orders without a time of change, and the shop as a source."""
    peer = Shop(cap=3)
    for number in range(1, 5):
        peer.put(number, state="A")
    async with serve(peer.app) as url:
        yield peer, orders(url, "offset", modified="")


async def test_unchanged_records_are_not_told_again(world: Open, shop: tuple[Shop, dict[str, Any]]) -> None:
    """Three reads of the same four records are four changes, after a restart too."""
    peer, source = shop
    async with world(source) as it:
        await it.poll()
        await it.poll()
    async with world(source) as it:
        await it.poll(600)
        assert len(await it.changes()) == 4
        peer.put(2, state="B")
        await it.poll()
        assert [change.data.key for change in (await it.changes())[4:]] == ["2"]


async def test_a_record_that_changes_back_is_three_versions(world: Open, shop: tuple[Shop, dict[str, Any]]) -> None:
    """A → B → A: the last A is news, for downstream holds B."""
    peer, source = shop
    async with world(source) as it:
        for state in ("A", "B", "A", "A"):
            peer.put(2, state=state)
            await it.poll()
        told = [change for change in await it.changes() if change.data.key == "2"]
    assert len(told) == 3
    assert len({change.id for change in told}) == 3


async def test_a_deleted_record_that_returns_as_it_was_is_told(world: Open, shop: tuple[Shop, dict[str, Any]]) -> None:
    """What was deleted downstream has to come back there."""
    peer, source = shop
    async with world(source) as it:
        await it.poll()
        gone = peer.rows.pop(3)
        await it.poll()
        peer.rows[3] = gone
        await it.poll()
        assert [change.data.op for change in await it.changes() if change.data.key == "3"] == ["r", "d", "r"]


async def test_a_record_that_says_it_is_deleted_is_told_of_once(world: Open, shop: tuple[Shop, dict[str, Any]]) -> None:
    """However often the source goes on listing it."""
    peer, source = shop
    source["streams"]["orders"]["deleted_when"] = {"field": "state", "values": ["gone"]}
    async with world(source) as it:
        await it.poll()
        peer.put(3, state="gone")
        for _ in range(3):
            await it.poll()
        assert [change.data.op for change in await it.changes() if change.data.key == "3"] == ["r", "d"]
        peer.put(3, state="A")
        await it.poll()
        assert "3" in await it.final()


EXAMPLES = count()


async def test_a_record_that_is_set_aside_is_not_taken_for_deleted(
    world: Open, shop: tuple[Shop, dict[str, Any]]
) -> None:
    """It is there, only of no use; what was last told of it stands, and is not told again when it is mended."""
    peer, source = shop
    source["streams"]["orders"]["modified"] = "updated_at"
    async with world(source) as it:
        await it.poll()
        mended = peer.rows[2]
        peer.put(2, updated_at="2026-99-99")
        await it.poll()
        peer.rows[2] = mended
        await it.poll()
        assert len(await it.letters()) == 1
        assert [change.data.op for change in await it.changes() if change.data.key == "2"] == ["r"]


class Unsettled:
    """A hub that takes events and then does not say so, as often as told."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self.silent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    async def publish(self, hub: str, outgoing: Any) -> None:
        """Publish; then fail, perhaps."""
        await self._events.publish(hub, outgoing)
        if hub == "changes" and self.silent:
            self.silent -= 1
            raise HubUnavailable("no acknowledgement")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from("ABx"), st.booleans()), min_size=1, max_size=7))
async def test_whatever_is_lost_on_the_way_downstream_ends_as_the_source_is(
    services: Services, steps: list[tuple[str, bool]]
) -> None:
    """An edit, an undo, a deletion; each read may die between its publication and its checkpoint."""
    peer = Shop()
    peer.put(1, state="A")
    name = f"shop-{next(EXAMPLES)}"  # every example starts from nothing
    hub = Unsettled(services.events)
    async with serve(peer.app) as url:
        source = orders(url, "offset", modified="", limits={"missing_share": 1}) | {"source": name}
        it = World(services._replace(events=hub), source)  # type: ignore[arg-type]
        await it.poll()
        for state, dies in steps:
            peer.rows.pop(1, None)
            if state != "x":
                peer.put(1, state=state)
            hub.silent = int(dies)
            with contextlib.suppress(HubUnavailable):
                await it.poll(600)
        for _ in range(3):
            await it.poll(600)
        told = [change for change in await it.changes() if change.source == name]
        await it.capture.close()
    last = max(told, key=lambda change: (change.data.ts_us, change.data.run, change.data.row))
    if 1 in peer.rows:
        assert last.data.op == "r"
        assert f'"state":"{peer.rows[1]["state"]}"'.encode() in bytes(last.data.after).replace(b" ", b"")
    else:
        assert last.data.op == "d"


def test_what_is_remembered_of_a_stream_has_a_bound() -> None:
    """The longest untold are forgotten, and told again if they are met."""
    source = SourceFile.model_validate(
        orders("http://a", "offset", incremental={"kind": "watermark", "query": {"since": "{since}"}})
    )
    lately = Lately()
    run = Unchanged(source.streams["orders"], lately)
    for number in range(REMEMBERED + 10):
        assert run.untold([Taken(str(number), 1, "r", b"{}")])
    run.acknowledged()
    assert len(lately) == REMEMBERED
    assert run.untold([Taken("0", 1, "r", b"{}")])
    assert not run.untold([Taken(str(REMEMBERED), 1, "r", b"{}")])
