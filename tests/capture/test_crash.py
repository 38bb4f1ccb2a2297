"""Killed at any moment and started again, a stream ends as its source is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from flockiq.capture.lease import under_lease
from flockiq.shared.errors import HubUnavailable, LeaseLost
from flockiq.shared.services import Services
from tests.capture.conftest import Open, World
from tests.capture.peers.server import serve
from tests.capture.peers.tables import DataversePeer

Source = Callable[..., dict[str, Any]]

WRITES = {"registry": ("put",), "events": ("publish",), "blobs": ("put", "delete")}


class Killed(BaseException):
    """The process ends here."""


class Doomed:
    """A port whose writes are counted; after the fatal one, done or not, nothing is done any more."""

    def __init__(self, port: Any, writes: tuple[str, ...], count: list[int], fatal: int, *, done: bool) -> None:
        self._port, self._writes, self._count, self._fatal, self._done = port, writes, count, fatal, done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name not in self._writes:
            return method

        async def write(*arguments: Any, **named: Any) -> Any:
            self._count[0] += 1
            if self._count[0] > self._fatal or (self._count[0] == self._fatal and not self._done):
                raise Killed
            result = await method(*arguments, **named)
            if self._count[0] == self._fatal:
                raise Killed
            return result

        return write


def doom(services: Services, fatal: int, *, done: bool) -> Services:
    """Services that end with write number ``fatal``."""
    count = [0]
    return services._replace(
        **{name: Doomed(getattr(services, name), writes, count, fatal, done=done) for name, writes in WRITES.items()}
    )


@pytest.mark.parametrize("fatal", range(1, 22))
async def test_killed_at_any_write_the_stream_ends_as_its_source_is(
    services: Services, accounts: Source, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    """First read, edit, deletion, expiry with a silent deletion: a kill at any write loses and invents nothing."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)  # every page is a checkpoint
    peer = DataversePeer("accountid", page=2)
    for number in range(5):
        peer.table.put({"accountid": f"a{number}", "name": f"C{number}", "modifiedon": "2026-03-01T10:00:00Z"})
    async with serve(peer.app) as url:
        source = accounts(url, limits={"missing_share": 1})
        healthy = World(services, source)
        if fatal % 2:  # every other kill meets the resync instead of the first read
            await healthy.poll()
            del peer.table.rows["a1"]
            peer.oldest = 10_000
        killed = World(doom(services, fatal, done=fatal // 2 % 2 == 0), source)
        killed.ahead_us = 600_000_000
        with contextlib.suppress(Killed):
            await killed.poll()
        await killed.capture.close()
        peer.table.put({"accountid": "a2", "name": "Edited", "modifiedon": "2026-03-01T11:00:00Z"})
        peer.table.delete("a3")
        healthy.ahead_us = 1_200_000_000
        await healthy.poll()
        await healthy.poll()
        final = await healthy.final()
        status = await healthy.status("crm", "accounts")
        await healthy.capture.close()
    held = {key: row["name"] for key, (_, row) in peer.table.rows.items() if row is not None}
    assert {key: row["name"] for key, row in final.items()} == held
    assert status.error == ""


async def test_what_was_published_before_a_kill_is_not_read_again(
    accounts: Source, world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read goes on at the page after the last acknowledged one, under a new run number."""
    monkeypatch.setattr("flockiq.capture.reading.FLUSH_AFTER_S", 0.0)
    peer = DataversePeer("accountid", page=2)
    for number in range(10):
        peer.table.put({"accountid": f"a{number}", "name": "", "modifiedon": "2026-03-01T10:00:00Z"})
    async with serve(peer.app) as url:
        async with world(accounts(url)) as it:
            client = it.capture.client(it.capture.sources["crm"])
            original = client.get

            async def two_pages(*arguments: Any, **named: Any) -> Any:
                if len(peer.requests) == 2:
                    raise Killed
                return await original(*arguments, **named)

            monkeypatch.setattr(client, "get", two_pages)
            await it.poll()
        async with world(accounts(url)) as it:
            await it.poll(600)
            changes = await it.changes()
    assert [change.data.key for change in changes] == [f"a{number}" for number in range(10)]
    assert {change.data.run for change in changes[:4]} == {1}
    assert {change.data.run for change in changes[4:]} == {2}
    assert len(peer.requests) == 5


async def test_a_hub_that_is_away_moves_no_cursor(services: Services, accounts: Source) -> None:
    """HubUnavailable leaves the function, so that the work is delivered again; nothing is lost then."""
    peer = DataversePeer("accountid", page=2)
    peer.table.put({"accountid": "a", "name": "", "modifiedon": "2026-03-01T10:00:00Z"})

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(services.events, name)

        async def publish(self, hub: str, events: Any) -> None:
            if hub == "changes":
                raise HubUnavailable("the hub is away")
            await services.events.publish(hub, events)

    async with serve(peer.app) as url:
        it = World(services._replace(events=Away()), accounts(url))  # type: ignore[arg-type]
        with pytest.raises(HubUnavailable):
            await it.poll()
        await it.capture.close()
        again = World(services, accounts(url))
        await again.work()
        assert [change.data.key for change in await again.changes()] == ["a"]
        await again.capture.close()


async def test_only_one_holds_a_lease_and_who_loses_it_stops(services: Services) -> None:
    """While held, others get None; when it passes on, the work is cancelled and LeaseLost says so."""
    registry = services.registry
    told: list[str] = []

    async def work() -> str:
        told.append(str(await under_lease(registry, "stream", never, ttl_s=0.3)))
        return "done"

    async def never() -> str:
        raise AssertionError

    assert await under_lease(registry, "stream", work, ttl_s=0.3) == "done"
    assert told == ["None"]

    async def robbed() -> None:
        lease = await registry.acquire("other", "nobody", 60)
        assert lease is not None
        await asyncio.sleep(5)
        told.append("not reached")

    class Thief:
        def __getattr__(self, name: str) -> Any:
            return getattr(registry, name)

        async def renew(self, *_: Any) -> Any:
            raise LeaseLost("it passed to another")

    with pytest.raises(LeaseLost):
        await under_lease(Thief(), "stream", robbed, ttl_s=0.3)  # type: ignore[arg-type]
    assert told == ["None"]
