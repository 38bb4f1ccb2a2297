"""The adapter of Event Hubs broken on purpose (``tests.azure.mutants``)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from flockiq.shared import overflow
from flockiq.shared.adapters.azure.events import sender
from flockiq.shared.adapters.azure.events.namespace import Namespace
from flockiq.shared.adapters.azure.events.sender import Lane
from flockiq.shared.adapters.azure.events.stream import HubEvents
from flockiq.shared.adapters.azure.events.tail import Tail
from flockiq.shared.errors import ConfigError, HubUnavailable
from flockiq.shared.ports import OutgoingEvent
from tests.azure.event_hubs.conftest import HUB, SDK_LEAVES_SOCKETS, Opens, Site, never
from tests.azure.mutants import Behaviour, Kind, Mutant, broken, sound
from tests.peers.event_hubs.peer import EventHubs

pytestmark = [
    pytest.mark.usefixtures("hasty"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings(SDK_LEAVES_SOCKETS),
]
type Given = tuple[Site, Opens]


@pytest.fixture
def given(site: Site, opens: Opens) -> Given:
    """A place of the hub, and the adapter over other peers."""
    return site, opens


async def says_what_was_not_published(site: Site, _opens: Opens) -> None:
    """The hub is busy for longer than is tried."""
    site.peer.faults.plan("throttled", times=1_000, where="send")
    with pytest.raises(HubUnavailable):
        await site.publish(b"0")
    site.peer.faults.clear()


async def lets_nothing_pass_a_gap(site: Site, _opens: Opens) -> None:
    """Three callers of one partition, of which the first fails: the others are told as well, and nothing is there."""
    site.peer.faults.plan("throttled", times=1_000, where=f"send/{HUB}/{site.partition}")
    first = asyncio.create_task(site.publish(b"0"))
    await asyncio.sleep(0.3)  # it is on its way
    later = [asyncio.create_task(site.publish(b"%d" % n)) for n in (1, 2)]
    outcomes = await asyncio.gather(first, *later, return_exceptions=True)
    site.peer.faults.clear()
    assert [type(outcome) for outcome in outcomes] == [HubUnavailable] * 3
    assert site.bodies() == []


async def reads_on_where_it_was(site: Site, _opens: Opens) -> None:
    """A receiver is cut off between two readings: nothing is left out, nothing comes twice."""
    await site.publish(*(b"%d" % n for n in range(10)))
    found = list(await site.read(0, 10))
    site.peer.cut()
    await site.publish(*(b"%d" % n for n in range(10, 20)))
    found += await site.read(found[-1].sequence + 1, 10)
    assert [event.body for event in found] == [b"%d" % n for n in range(20)]


async def refuses_another_partition_count(site: Site, _opens: Opens) -> None:
    """The settings say 4: keys would move."""
    wrong = HubEvents(Namespace(site.peer.environment, never), {HUB: 4}, site.events._blobs)
    try:
        with pytest.raises(ConfigError):
            await wrong.publish(HUB, [OutgoingEvent(0, b"0")])
    finally:
        await wrong.close()


async def keeps_what_is_too_large(_site: Site, opens: Opens) -> None:
    """On a tier whose publications are small."""
    with EventHubs({HUB: 1}, max_message_bytes=262_144) as peer:
        events = opens(peer)
        body = os.urandom(700_000)
        await events.publish(HUB, [OutgoingEvent(0, body)])
        (event,) = await events.read(HUB, 0, 0, 1)
        assert event.body == body
        await events.close()


def acknowledgements_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any answer is taken for a yes."""

    async def assume(work: Callable[[], Awaitable[Any]], *_judge: Any, **_given: Any) -> Any:
        try:
            return await work()
        except Exception:  # noqa: BLE001 - that is the carelessness
            return None

    monkeypatch.setattr(sender, "persist", assume)


def who_waits_behind_a_failure_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the callers of the publication that failed hear of it; the others are sent as if nothing were missing."""

    def fail(self: Lane, error: Exception, sent: Sequence[Any] = ()) -> None:
        del self
        for call in sent:
            if not call.outcome.done():
                call.outcome.set_exception(error)

    def patched(self: Lane, error: Exception, sent: Sequence[Any] = ()) -> None:
        fail(self, error, sent)
        for _, call in self._waiting:
            if not call.outcome.done():
                call.outcome.set_result(None)
        self._waiting.clear()

    monkeypatch.setattr(Lane, "_fail", patched)


def reading_again_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a reader was is not looked at when a receiver is made anew."""
    begin = Tail.__init__

    def made(self: Tail, client: Any, partition: int, _start: int, end: int) -> None:
        begin(self, client, partition, 0, end)

    async def take(self: Tail, _start: int, limit: int) -> Any:
        return await taken(self, 0, limit)

    taken = Tail.take
    monkeypatch.setattr(Tail, "__init__", made)
    monkeypatch.setattr(Tail, "take", take)


def partition_counts_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own count is taken, whatever the settings say."""
    count = HubEvents.partition_count

    async def own(self: HubEvents, hub: str) -> int:
        self._partitions.clear()
        return await count(self, hub)

    monkeypatch.setattr(HubEvents, "partition_count", own)


def references_without_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference is published, and the body it names kept nowhere."""
    keep = overflow.keep

    class Nowhere:
        """Blobs that keep nothing."""

        async def put(self, *_: Any, **__: Any) -> None:
            """Keep nothing."""

    async def lost(_blobs: Any, hub: str, partition: int, body: bytes) -> bytes:
        return await keep(Nowhere(), hub, partition, body)  # type: ignore[arg-type]

    monkeypatch.setattr(overflow, "keep", lost)


MUTANTS = [
    Mutant("events", Kind.ANSWER_ASSUMED, acknowledgements_assumed, says_what_was_not_published),
    Mutant("events", Kind.ANSWER_ASSUMED, who_waits_behind_a_failure_not_told, lets_nothing_pass_a_gap),
    Mutant("events", Kind.NOT_READ_AGAIN, reading_again_from_the_beginning, reads_on_where_it_was),
    Mutant("events", Kind.OTHER, partition_counts_not_compared, refuses_another_partition_count),
    Mutant("events", Kind.OTHER, references_without_bodies, keeps_what_is_too_large),
]


@sound(MUTANTS)
async def test_it_holds_of_the_adapter(behaviour: Behaviour, given: Given) -> None:
    """As it is."""
    await behaviour(*given)


@broken(MUTANTS)
async def test_a_broken_adapter_is_found(mutant: Mutant, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what holds of a sound one."""
    await mutant.is_found(monkeypatch, *given)
