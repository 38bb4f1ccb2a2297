"""What every EventStream promises."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from flockiq.shared.errors import BadRecord, NotFound
from flockiq.shared.ports import Bounds, EventStream, OutgoingEvent
from flockiq.shared.services import Services


def numbered(count: int, partition: int = 0, owner: str = "") -> list[OutgoingEvent]:
    """Events whose bodies count up."""
    return [OutgoingEvent(partition=partition, body=f"{owner}{n}".encode()) for n in range(count)]


async def test_a_hub_has_the_partitions_the_settings_say(events: EventStream) -> None:
    """partition_count is the hub's own."""
    assert await events.partition_count("changes") == 4
    assert await events.partition_count("files") == 1


async def test_an_unknown_hub_is_not_found_by_any_call(events: EventStream) -> None:
    """The error names the hub."""
    with pytest.raises(NotFound, match="chagnes"):
        await events.partition_count("chagnes")
    with pytest.raises(NotFound, match="chagnes"):
        await events.publish("chagnes", numbered(1))
    with pytest.raises(NotFound, match="chagnes"):
        await events.read("chagnes", 0, 0, 1)
    with pytest.raises(NotFound, match="chagnes"):
        await events.bounds("chagnes", 0)


async def test_a_partition_beyond_the_count_is_not_found(events: EventStream) -> None:
    """Neither written to nor read from."""
    with pytest.raises(NotFound, match="4"):
        await events.publish("changes", [OutgoingEvent(partition=4, body=b"x")])
    with pytest.raises(NotFound, match="4"):
        await events.read("changes", 4, 0, 1)
    with pytest.raises(NotFound, match="-1"):
        await events.bounds("changes", -1)


async def test_what_is_published_is_read_as_it_was(events: EventStream) -> None:
    """Body, properties, place and time come back."""
    before = time.time_ns() // 1000
    body = bytes(range(256))
    await events.publish("changes", [OutgoingEvent(partition=2, body=body, properties={"kind": "ü", "n": ""})])
    (event,) = await events.read("changes", 2, 0, 10)
    assert (event.partition, event.body, event.properties) == (2, body, {"kind": "ü", "n": ""})
    assert event.offset
    assert before - 1_000_000 <= event.enqueued_us <= time.time_ns() // 1000 + 1_000_000


async def test_order_holds_within_each_partition_and_sequences_count_up_by_one(events: EventStream) -> None:
    """A publication over several partitions keeps each one's order."""
    mixed = [OutgoingEvent(partition=n % 3, body=str(n).encode()) for n in range(30)]
    await events.publish("changes", mixed[:15])
    await events.publish("changes", mixed[15:])
    *each, empty = await asyncio.gather(*(events.read("changes", partition, 0, 100) for partition in range(4)))
    for partition, read in enumerate(each):
        assert [int(event.body) for event in read] == list(range(partition, 30, 3))
        assert [event.sequence for event in read] == list(range(read[0].sequence, read[0].sequence + 10))
        assert [event.enqueued_us for event in read] == sorted(event.enqueued_us for event in read)
    assert empty == []


async def test_hubs_are_kept_apart(events: EventStream) -> None:
    """What is published to one is not read from another."""
    await events.publish("changes", numbered(3))
    assert await events.read("files", 0, 0, 10) == []


async def test_reading_begins_at_start_and_stops_at_limit(events: EventStream) -> None:
    """And gives [] at the end and beyond it."""
    await events.publish("changes", numbered(10))
    first, end = await events.bounds("changes", 0)
    assert [event.body for event in await events.read("changes", 0, first + 4, 3)] == [b"4", b"5", b"6"]
    assert [event.body for event in await events.read("changes", 0, first + 8, 100)] == [b"8", b"9"]
    assert await events.read("changes", 0, end, 100) == []
    assert await events.read("changes", 0, end + 1000, 100) == []


async def test_bounds_tell_the_retained_range(events: EventStream) -> None:
    """Equal while nothing is retained; end is one past the newest."""
    empty = await events.bounds("changes", 1)
    assert empty.first == empty.end
    await events.publish("changes", numbered(5, partition=1))
    assert await events.bounds("changes", 1) == Bounds(empty.end, empty.end + 5)


async def test_publishing_nothing_changes_nothing(events: EventStream) -> None:
    """An empty publication is acknowledged."""
    await events.publish("changes", [])
    first, end = await events.bounds("changes", 0)
    assert first == end


async def test_an_event_of_nearly_four_megabytes_is_taken(events: EventStream) -> None:
    """In its place among the others, whatever the hub itself takes."""
    bodies = [b"before", os.urandom(4_100_000), b"after"]
    await events.publish("changes", [OutgoingEvent(partition=0, body=body) for body in bodies])
    assert [one.body for one in await events.read("changes", 0, 0, 10)] == bodies


async def test_an_event_over_the_limit_is_refused_with_its_size(events: EventStream) -> None:
    """And nothing of its publication is written."""
    with pytest.raises(BadRecord, match=r"5,000,0\d\d"):
        await events.publish("changes", [*numbered(1), OutgoingEvent(partition=0, body=b"x" * 5_000_000)])
    assert await events.read("changes", 0, 0, 10) == []


async def test_acknowledged_events_survive_a_restart(another: Callable[[], Services]) -> None:
    """Sequences go on where they were."""
    before = another()
    await before.events.publish("changes", numbered(3))
    first, end = await before.events.bounds("changes", 0)
    await before.close()
    after = another().events
    assert await after.bounds("changes", 0) == Bounds(first, end)
    await after.publish("changes", [OutgoingEvent(partition=0, body=b"3")])
    assert [event.body for event in await after.read("changes", 0, 0, 10)] == [b"0", b"1", b"2", b"3"]


async def test_owners_publishing_at_once_lose_and_mix_up_nothing(another: Callable[[], Services]) -> None:
    """Each owner's order holds, every event is there once, sequences have no holes."""
    owners = [another().events, another().events]

    async def publish(name: str, events: EventStream) -> None:
        for event in numbered(20, owner=name):
            await events.publish("changes", [event])

    await asyncio.gather(publish("a", owners[0]), publish("b", owners[1]))
    read = await owners[0].read("changes", 0, 0, 100)
    bodies = [event.body.decode() for event in read]
    for name in "ab":
        assert [body for body in bodies if body[0] == name] == [f"{name}{n}" for n in range(20)]
    assert [event.sequence for event in read] == list(range(read[0].sequence, read[0].sequence + 40))


async def test_many_publications_at_once_are_each_acknowledged(events: EventStream) -> None:
    """What one task waits for does not depend on another's."""
    refused = events.publish("changes", [OutgoingEvent(partition=0, body=b"x" * 5_000_000)])
    taken = (events.publish("changes", numbered(1, partition=n % 4)) for n in range(50))
    outcomes = await asyncio.gather(refused, *taken, return_exceptions=True)
    assert isinstance(outcomes[0], BadRecord)
    assert outcomes[1:] == [None] * 50
    bounds = await asyncio.gather(*(events.bounds("changes", n) for n in range(4)))
    assert sum(end - first for first, end in bounds) == 50


async def test_closing_twice_is_harmless(events: EventStream) -> None:
    """Shutdown paths may meet."""
    await events.publish("changes", numbered(1))
    await events.close()
    await events.close()
