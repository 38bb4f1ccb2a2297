"""Reading ahead of a function: what a stream of another kind, or one that forgets, does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from flockiq.local.host.pumps import Reader
from flockiq.local.host.settings import EventHubs
from flockiq.shared.ports import Bounds, OutgoingEvent, StoredEvent


class Memory:
    """One partition in memory; it can forget its oldest events, and can't be waited for."""

    def __init__(self) -> None:
        self.stored: list[StoredEvent] = []
        self.end = 0
        self.limits: list[int] = []

    async def partition_count(self, hub: str) -> int:
        """One, whatever the hub."""
        return len([hub])

    async def publish(self, hub: str, events: Sequence[OutgoingEvent]) -> None:
        """Append."""
        assert hub
        for event in events:
            self.stored.append(StoredEvent(0, self.end, str(self.end), 0, event.body))
            self.end += 1

    async def read(self, hub: str, partition: int, start: int, limit: int) -> Sequence[StoredEvent]:
        """What is retained, and a note of how much was asked for."""
        assert (hub, partition) == ("orders", 0)
        self.limits.append(limit)
        return [event for event in self.stored if event.sequence >= start][:limit]

    async def bounds(self, hub: str, partition: int) -> Bounds:
        """The retained range."""
        assert (hub, partition) == ("orders", 0)
        return Bounds(self.end - len(self.stored), self.end)

    async def close(self) -> None:
        """Nothing is held."""


class Waking(Memory):
    """One that can be waited for, and answers at once when the event is, or was, there."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    async def wait(self, hub: str, partition: int, sequence: int, timeout_s: float) -> bool:
        """See ``Waitable``."""
        assert (hub, partition) == ("orders", 0)
        self.waits += 1
        if self.end <= sequence:
            await asyncio.sleep(min(timeout_s, 0.02))
        return self.end > sequence


async def batch(reader: Reader) -> Sequence[StoredEvent]:
    """The next batch, whose turn comes at once."""
    await reader.come()
    return await reader.batch()


def bodies(count: int) -> list[OutgoingEvent]:
    """``count`` events."""
    return [OutgoingEvent(0, str(number).encode()) for number in range(count)]


async def test_a_stream_that_cant_be_waited_for_is_asked_again() -> None:
    """Any EventStream will do; news then takes a tenth of a second."""
    events = Memory()
    reader = Reader(events, "orders", 0, 0, EventHubs())
    waiting = asyncio.create_task(batch(reader))
    await asyncio.sleep(0.05)
    await events.publish("orders", bodies(2))
    async with asyncio.timeout(1):
        assert [event.sequence for event in await waiting] == [0, 1]
    await reader.close()


async def test_a_reader_that_retention_overtook_does_not_spin() -> None:
    """When all it waited for was dropped, it moves on to what comes next."""
    events = Waking()
    await events.publish("orders", bodies(5))
    events.stored.clear()
    reader = Reader(events, "orders", 0, 2, EventHubs())
    waiting = asyncio.create_task(batch(reader))
    await asyncio.sleep(0.1)
    assert events.waits < 20
    await events.publish("orders", bodies(1))
    async with asyncio.timeout(1):
        assert [event.sequence for event in await waiting] == [5]
    await reader.close()


@pytest.mark.parametrize(("prefetch", "most"), [(10, 10), (1, 4)])
async def test_no_more_is_read_ahead_than_allowed(prefetch: int, most: int) -> None:
    """What waits in memory is bounded by prefetchCount, or a whole batch if that is more."""
    events = Memory()
    await events.publish("orders", bodies(50))
    reader = Reader(events, "orders", 0, 0, EventHubs(max_event_batch_size=4, prefetch_count=prefetch))
    found: list[int] = []
    while len(found) < 50:
        some = await batch(reader)
        assert 1 <= len(some) <= 4
        found += [event.sequence for event in some]
    await reader.close()
    assert found == list(range(50))
    assert max(events.limits) == most


async def test_a_batch_holds_what_came_while_the_one_before_was_worked_on() -> None:
    """Events are not left for the batch after the next because something had been read ahead by then."""
    events = Memory()
    await events.publish("orders", bodies(6))
    reader = Reader(events, "orders", 0, 0, EventHubs(max_event_batch_size=4, prefetch_count=5))
    assert len(await batch(reader)) == 4
    await asyncio.sleep(0)  # the fifth waits in memory, the sixth is read ahead
    await events.publish("orders", bodies(1))
    assert [event.sequence for event in await batch(reader)] == [4, 5, 6]
    await reader.close()


async def test_nothing_is_read_ahead_where_nothing_is_behind() -> None:
    """A reader that has all there was asks again only when its function does."""
    events = Memory()
    await events.publish("orders", bodies(3))
    reader = Reader(events, "orders", 0, 0, EventHubs())
    assert len(await batch(reader)) == 3
    asked = len(events.limits)
    await asyncio.sleep(0.01)
    assert len(events.limits) == asked
    await reader.close()


async def test_a_batch_that_waited_long_enough_for_its_least_size_waits_no_longer() -> None:
    """``maxWaitTime`` counts once, also when its turn comes later."""
    events = Waking()
    await events.publish("orders", bodies(1))
    limits = EventHubs(min_event_batch_size=2, max_wait_time="00:00:00.05")
    reader = Reader(events, "orders", 0, 0, limits)
    await reader.come()
    waits = events.waits
    assert [event.sequence for event in await reader.batch()] == [0]
    assert events.waits == waits + 1
    await reader.close()
