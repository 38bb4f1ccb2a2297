"""Reading from Event Hubs when things go wrong, what is kept elsewhere, and what is there no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import pytest
import pytest_asyncio

from flockiq.shared import overflow
from flockiq.shared.adapters.azure.events import tail
from flockiq.shared.adapters.azure.events.stream import HubEvents
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.ports import Bounds, OutgoingEvent, StoredEvent
from tests.azure.event_hubs.conftest import HUB, SDK_LEAVES_SOCKETS, Opens, Site
from tests.peers.event_hubs.peer import EventHubs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.filterwarnings(SDK_LEAVES_SOCKETS)]

BODIES = [b"%d" % n for n in range(30)]


def said(events: Sequence[StoredEvent]) -> list[bytes]:
    """The bodies."""
    return [event.body for event in events]


async def all_of(site: Site, step: int) -> list[bytes]:
    """What the partition holds, read in steps."""
    found: list[bytes] = []
    while some := await site.read(len(found), step):
        assert len(some) <= step
        found += said(some)
    return found


async def comes_through(kind: str, site: Site) -> None:
    """``kind`` strikes in the middle of what is read."""
    await site.publish(*BODIES)
    site.peer.faults.plan(kind, where=f"receive/{HUB}/{site.partition}", after=10)
    assert await all_of(site, 7) == BODIES, kind


async def test_reading_comes_through_whatever_happens_once(site: Site) -> None:
    """Every event once, in order."""
    kinds = ("detached", "dropped", "stolen", "slow")
    await asyncio.gather(*(comes_through(kind, site.beside(n)) for n, kind in enumerate(kinds)))
    assert site.peer.faults.injected == dict.fromkeys(kinds, 1)


@pytest.mark.parametrize("kind", ["throttled", "unavailable", "dropped"])
async def test_asking_how_far_a_hub_is_comes_through(kind: str, site: Site) -> None:
    """Management is tried again like all else."""
    await site.publish(b"x", b"y")
    site.peer.faults.plan(kind, where="manage")
    assert await site.events.bounds(HUB, site.partition) == Bounds(0, 2)
    assert site.peer.faults.injected == {kind: 1}


@pytest.mark.usefixtures("hasty")
async def test_a_hub_that_does_not_answer_is_unavailable(site: Site) -> None:
    """After the time it was given."""
    site.peer.faults.plan("throttled", times=1_000, where="manage")
    with pytest.raises(HubUnavailable, match="503"):
        await site.read()


@pytest.mark.usefixtures("hasty")
async def test_a_partition_that_keeps_back_what_it_says_it_holds_is_unavailable(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes silence for the end, and what comes later is read."""
    monkeypatch.setattr(tail, "WAIT_S", 0.5)
    await site.publish(*BODIES)
    site.peer.faults.plan("slow", times=20, where="receive")
    with pytest.raises(HubUnavailable):
        await site.read()
    site.peer.faults.clear()
    monkeypatch.setattr(tail, "WAIT_S", 10.0)
    assert said(await site.read()) == BODIES


async def test_reading_goes_on_with_the_link_it_has(site: Site) -> None:
    """One receiver serves a reader that goes forward, and waits for what comes."""
    await site.publish(*BODIES)
    assert await all_of(site, 4) == BODIES
    assert site.peer.receivers(HUB, site.partition, "flockiq-read") == 1
    await site.publish(b"more")
    assert said(await site.read(30)) == [b"more"]
    assert said(await site.read(29)) == [BODIES[29], b"more"]


async def test_readers_of_one_partition_do_not_mix_up_each_other(site: Site) -> None:
    """Each gets what it asked for."""
    await site.publish(*BODIES)
    found = await asyncio.gather(*(site.read(start, 2) for start in (0, 20, 10)))
    assert [said(some) for some in found] == [BODIES[0:2], BODIES[20:22], BODIES[10:12]]


async def test_what_retention_dropped_is_passed_over(site: Site) -> None:
    """Reading from before the oldest gives what is retained; an emptied partition's bounds meet at its end."""
    await site.publish(*BODIES)
    site.peer.drop(HUB, site.partition, 12)
    assert await site.events.bounds(HUB, site.partition) == Bounds(12, 30)
    assert said(await site.read(3, 5)) == BODIES[12:17]
    site.peer.drop(HUB, site.partition, 30)
    assert await site.events.bounds(HUB, site.partition) == Bounds(30, 30)


async def test_reading_ahead_stops_at_its_bound(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer ends at so many bytes, and the next goes on."""
    monkeypatch.setattr(tail, "AHEAD_BYTES", 250_000)
    await site.publish(*(bytes([n]) * 100_000 for n in range(9)))
    found: list[bytes] = []
    while some := await site.read(len(found)):
        assert 1 <= len(some) <= 9
        found += said(some)
    assert [body[0] for body in found] == list(range(9))


class Basic(NamedTuple):
    """A namespace of the Basic tier, whose publications hold at most 256 KB."""

    peer: EventHubs
    events: HubEvents
    blobs: FolderBlobs

    async def large(self) -> str:
        """Publish an event over that limit; where its body is."""
        body = b"large" * 80_000
        await self.events.publish(HUB, [OutgoingEvent(0, b"small"), OutgoingEvent(0, body), OutgoingEvent(0, b"end")])
        (path,) = await self.blobs.list(overflow.PREFIX)
        return path


@pytest_asyncio.fixture(loop_scope="module")
async def basic(opens: Opens, blobs: FolderBlobs) -> AsyncIterator[Basic]:
    """A fresh one."""
    with EventHubs({HUB: 1}, max_message_bytes=262_144) as peer:
        events = opens(peer)
        yield Basic(peer, events, blobs)
        await events.close()
    for path in await blobs.list(overflow.PREFIX):
        await blobs.delete(path)


async def test_what_is_too_large_for_the_tier_is_kept_in_blobs_and_read_back(basic: Basic) -> None:
    """The event carries the reference, in its place; publishing again keeps one copy."""
    path = await basic.large()
    assert [len(event.body) < 300 for event in basic.peer.events(HUB, 0)] == [True] * 3
    assert [len(event.body) for event in await basic.events.read(HUB, 0, 0, 10)] == [5, 400_000, 3]
    assert await basic.large() == path
    body = basic.peer.events(HUB, 0)[1].body
    assert overflow.refers(body)
    assert path.encode() in body


async def test_a_reference_to_what_is_not_there_is_given_as_it_is(basic: Basic) -> None:
    """No packed event is in it, so its reader sets it aside; those beside it are read."""
    path = await basic.large()
    kept = await basic.blobs.get(path)
    for harm in (kept[:-1] + b"!", kept[:-1], None):
        if harm is None:
            await basic.blobs.delete(path)
        else:
            await basic.blobs.put(path, harm)
        small, reference, end = await basic.events.read(HUB, 0, 0, 10)
        assert (small.body, end.body) == (b"small", b"end")
        assert overflow.refers(reference.body)


@pytest.mark.parametrize(
    "body",
    [
        b'flockiq.overflow/1 {"path": "secrets/keys", "bytes": 4}',
        b'flockiq.overflow/1 {"path": "overflow/../secrets/0/00000000000000000000000000000000", "bytes": 4}',
        b'flockiq.overflow/1 {"path": 7}',
        b"flockiq.overflow/1 \xff",
        b"flockiq.overflow/1 ",
    ],
)
async def test_a_reference_that_nobody_here_wrote_opens_nothing(body: bytes, blobs: FolderBlobs) -> None:
    """Whoever may send to a hub can't read other files by it."""
    await blobs.put("secrets/keys", b"hush")
    assert await overflow.whole(blobs, body) == body
