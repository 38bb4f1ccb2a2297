"""Azure's adapters over the peers."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
import pytest_asyncio

from flockiq.shared.adapters.azure.events import namespace as naming
from flockiq.shared.adapters.azure.events import sender, stream
from flockiq.shared.adapters.azure.events.namespace import Namespace
from flockiq.shared.adapters.azure.events.stream import HubEvents
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.ports import OutgoingEvent, StoredEvent
from tests.peers.event_hubs.peer import EventHubs
from tests.peers.leftovers import swept

HUB = "changes"
PARTITIONS = 64  # enough that each test has some of its own: what takes time is a client's first word to a hub

SDK_LEAVES_SOCKETS = "ignore:unclosed:ResourceWarning"
"""What the SDK does with the socket of a connection that broke: it is closed when it is collected."""

type Opens = Callable[[EventHubs], HubEvents]
_numbers = itertools.count()


class Site(NamedTuple):
    """The adapter, the peer, and two partitions that nobody else uses."""

    events: HubEvents
    peer: EventHubs
    partition: int
    other: int

    def beside(self, n: int) -> Site:
        """A site for one of up to eight things that a test does at once."""
        return self._replace(partition=PARTITIONS + 8 * (self.partition // 2) + n)

    async def publish(self, *bodies: bytes) -> None:
        """Publish these to the partition, in one call."""
        await self.events.publish(HUB, [OutgoingEvent(self.partition, body) for body in bodies])

    def bodies(self, partition: int | None = None) -> list[bytes]:
        """What the partition holds at the peer."""
        return [event.body for event in self.peer.events(HUB, self.partition if partition is None else partition)]

    async def read(self, start: int = 0, limit: int = 100) -> Sequence[StoredEvent]:
        """Read the partition."""
        return await self.events.read(HUB, self.partition, start, limit)


@pytest.fixture(scope="module", autouse=True)
def _leftovers() -> Iterator[None]:
    """Set up first, so that it ends last: once the loops of a module are closed."""
    with swept():
        yield


@pytest.fixture(scope="module")
def peer() -> Iterator[EventHubs]:
    """A namespace with one hub of many partitions."""
    with EventHubs({HUB: PARTITIONS * 5}) as peer:
        yield peer


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> FolderBlobs:
    """Where large bodies go."""
    return FolderBlobs(tmp_path_factory.mktemp("blobs"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opens(blobs: FolderBlobs, peer: EventHubs) -> AsyncIterator[Opens]:
    """Opens the adapter over a peer; all are closed at the end, before the peer is."""
    del peer
    opened: list[HubEvents] = []

    def over(peer: EventHubs) -> HubEvents:
        opened.append(HubEvents(Namespace(peer.environment, never), {}, blobs))
        return opened[-1]

    yield over
    for each in opened:
        await each.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def events(opens: Opens, peer: EventHubs) -> HubEvents:
    """The adapter over the peer."""
    return opens(peer)


@pytest.fixture
def site(events: HubEvents, peer: EventHubs) -> Iterator[Site]:
    """A test's own place."""
    partition = next(_numbers) * 2 % PARTITIONS
    yield Site(events, peer, partition, partition + 1)
    peer.faults.clear()
    peer.faults.injected.clear()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits and limits of a test's size: a busy service is asked again at once, and given up on after a second."""
    monkeypatch.setattr(naming, "BUSY_S", 0.02)
    for module in (sender, stream):
        monkeypatch.setattr(module, "WITHIN_S", 1.0)


def never() -> None:
    """Nobody's identity: a peer is reached by an emulator's connection string."""
    raise AssertionError("an emulator was asked for a token")
