"""Streams that are told of and polled as well: neither hides what the other brings."""

from __future__ import annotations

import pytest

from flockiq.shared.services import Services
from tests.capture.peers.business_central import BusinessCentral
from tests.capture.peers.server import serve
from tests.capture.telling import central, open_world, run_work


async def test_of_what_is_told_and_read_with_one_time_the_later_wins(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both number their runs after the other's: a source that counts in seconds does not go back in time."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        for number in range(4):
            peer.put("c1", f"read {number}", "2026-03-01T10:00:00Z")
            assert await it.poll() == 1
            assert (await it.final())["c1"]["displayName"] == f"read {number}"
            peer.put("c1", f"told {number}", "2026-03-01T10:00:00Z")
            await peer.notify(door, peer.notification("c1"))
            await run_work(it)
            assert (await it.final())["c1"]["displayName"] == f"told {number}"


async def test_a_poll_finds_a_return_that_nobody_told(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read A, told B, and A again without a word: the poll says A, although it read A before."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        peer.put("c1", "A", "2026-03-01T10:00:00Z")
        assert await it.poll() == 1
        peer.put("c1", "B", "2026-03-01T10:00:00Z")
        await peer.notify(door, peer.notification("c1"))
        await run_work(it)
        assert (await it.final())["c1"]["displayName"] == "B"
        peer.put("c1", "A", "2026-03-01T10:00:00Z")
        assert await it.poll() == 1
        assert (await it.final())["c1"]["displayName"] == "A"


async def test_what_was_told_of_is_known_to_be_gone_when_a_poll_lacks_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created and told, deleted without a word: the full read finds it missing."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        peer.put("c1", "A", "2026-03-01T10:00:00Z")
        assert await it.poll() == 1
        peer.put("c2", "B", "2026-03-01T10:00:00Z")
        await peer.notify(door, peer.notification("c2"))
        await run_work(it)
        del peer.customers["c2"]
        assert await it.poll() == 1
        assert list(await it.final()) == ["c1"]
