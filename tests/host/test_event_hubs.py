"""Event Hub triggers: batches, order, concurrency, checkpoints."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from flockiq.local.host.ledger import Ledger, Place
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.ports import OutgoingEvent
from tests.host.apps import Start, eventually

ORDERS = Place("orders", "$Default", "orders", 0)


def numbered(count: int, partition: int = 0, first: int = 0) -> list[OutgoingEvent]:
    """``count`` events whose bodies are numbers."""
    return [OutgoingEvent(partition, str(first + n).encode(), {"n": str(first + n)}) for n in range(count)]


def limits(**event_hubs: Any) -> dict[str, Any]:
    """A host.json with these extensions.eventHubs."""
    return {"extensions": {"http": {"routePrefix": ""}, "eventHubs": event_hubs}}


COLLECT = """
@hub()
async def orders(events: Events) -> None:
    seen.append([event.get_body().decode() for event in events])
"""


async def test_events_reach_the_function_in_order_and_are_checkpointed(
    start: Start, events: SqliteEvents, data: Path
) -> None:
    """Every event arrives once and in order, and the checkpoint stands one past the last."""
    await events.publish("orders", numbered(250))
    running = await start(COLLECT)
    await events.publish("orders", numbered(50, first=250))
    await eventually(lambda: sum(map(len, running.app.seen)) == 300)
    assert [body for batch in running.app.seen for body in batch] == [str(n) for n in range(300)]
    await eventually(lambda: running.host.functions["orders"].running == 0)
    await running.host.stop()
    ledger = Ledger(data)
    assert ledger.checkpoint(ORDERS) == 300
    ledger.close()


async def test_a_new_event_reaches_the_function_at_once(start: Start, events: SqliteEvents) -> None:
    """A pump that waits is woken by a publication, not by a poll."""
    running = await start(COLLECT)
    await asyncio.sleep(0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await events.publish("orders", numbered(1))
    await eventually(lambda: len(running.app.seen) == 1)
    assert loop.time() - began < 0.5


async def test_batches_keep_to_host_jsons_size(start: Start, events: SqliteEvents) -> None:
    """No batch is over maxEventBatchSize, even when fewer are prefetched at a time."""
    await events.publish("orders", numbered(70))
    running = await start(COLLECT, host=limits(maxEventBatchSize=16, prefetchCount=10))
    await eventually(lambda: sum(map(len, running.app.seen)) == 70)
    assert max(map(len, running.app.seen)) == 16


async def test_a_batch_waits_for_its_least_size_but_no_longer_than_allowed(start: Start, events: SqliteEvents) -> None:
    """Two events wait for a third until maxWaitTime; three do not wait."""
    running = await start(COLLECT, host=limits(minEventBatchSize=3, maxWaitTime="00:00:01"))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await events.publish("orders", numbered(2))
    await eventually(lambda: running.app.seen == [["0", "1"]])
    assert 0.9 < loop.time() - began < 3
    began = loop.time()
    await events.publish("orders", numbered(2, first=2))
    await events.publish("orders", numbered(1, first=4))
    await eventually(lambda: running.app.seen[1:] == [["2", "3", "4"]])
    assert loop.time() - began < 0.9


async def test_an_event_arrives_as_azures_host_sends_it(start: Start, events: SqliteEvents) -> None:
    """Sequence, offset, a naive time, properties and the partition reach the function."""
    await events.publish("wide", [OutgoingEvent(2, b"\xff\x00raw", {"kind": "x"}), OutgoingEvent(2, b"b")])
    running = await start(
        """
        @hub("wide", consumer_group="readers")
        async def wide(events: Events, context: func.Context) -> None:
            seen.append((events, context.trace_context.trace_parent, context.retry_context.retry_count))
        """
    )
    await eventually(lambda: len(running.app.seen) == 1)
    (first, second), traceparent, retry = running.app.seen[0]
    stored = await events.read("wide", 2, 0, 1)
    assert (first.get_body(), second.get_body()) == (b"\xff\x00raw", b"b")
    assert (first.sequence_number, second.sequence_number, first.offset) == (0, 1, 0)
    assert first.enqueued_time.tzinfo is None
    assert abs((first.enqueued_time.timestamp() * 1e6) - stored[0].enqueued_us) < 1e6 * 3600 * 24
    assert first.partition_key is None
    metadata = first.metadata
    assert metadata["PropertiesArray"] == [{"kind": "x"}, {}]
    assert metadata["SequenceNumberArray"] == [0, 1]
    assert metadata["PartitionContext"]["PartitionId"] == "2"
    assert metadata["PartitionContext"]["ConsumerGroup"] == "readers"
    assert len(metadata["SystemPropertiesArray"]) == len(metadata["EnqueuedTimeUtcArray"]) == 2
    assert (len(traceparent.split("-")), retry) == (4, 0)


async def test_events_without_a_data_type_arrive_as_text(start: Start, events: SqliteEvents) -> None:
    """Bodies that are not UTF-8 then suffer what .NET's decoder does to them."""
    await events.publish("orders", [OutgoingEvent(0, "für".encode()), OutgoingEvent(0, b"\xff!")])
    running = await start(
        """
        @hub(data_type="string")
        async def orders(events: Events) -> None:
            seen.extend(event.get_body().decode() for event in events)
        """
    )
    await eventually(lambda: running.app.seen == ["für", "\ufffd!"])


async def test_partitions_run_side_by_side_with_one_batch_each(start: Start, events: SqliteEvents) -> None:
    """A partition that is held up holds up no other, and never runs two batches at once."""
    for partition in range(3):
        await events.publish("wide", numbered(4, partition))
    running = await start(
        """
        inside, most, gate = {}, {}, asyncio.Event()

        @hub("wide")
        async def wide(events: Events) -> None:
            partition = events[0].metadata["PartitionContext"]["PartitionId"]
            inside[partition] = inside.get(partition, 0) + 1
            most[partition] = max(most.get(partition, 0), inside[partition])
            if partition == "0":
                await gate.wait()
            inside[partition] -= 1
            seen.extend((partition, event.get_body()) for event in events)
        """,
        host=limits(maxEventBatchSize=2),
    )
    await eventually(lambda: len(running.app.seen) == 8)
    assert {partition for partition, _ in running.app.seen} == {"1", "2"}
    assert await running.host.lag() == {"wide": 4}
    running.app.gate.set()
    await eventually(lambda: len(running.app.seen) == 12)
    assert running.app.most == {"0": 1, "1": 1, "2": 1}


async def test_a_restart_goes_on_at_the_checkpoint(start: Start, events: SqliteEvents) -> None:
    """What was done is not done again, and what came meanwhile is not missed."""
    await events.publish("orders", numbered(5))
    first = await start(COLLECT)
    await eventually(lambda: sum(map(len, first.app.seen)) == 5)
    await first.host.stop()
    await events.publish("orders", numbered(2, first=5))
    second = await start(COLLECT)
    await eventually(lambda: sum(map(len, second.app.seen)) == 2)
    assert second.app.seen == [["5", "6"]]


async def test_a_failed_batch_without_retries_is_passed_over(
    start: Start, events: SqliteEvents, caplog: pytest.LogCaptureFixture
) -> None:
    """As in Azure, the checkpoint moves past a batch that failed; the host says what was passed over."""
    await events.publish("orders", numbered(3))
    running = await start(
        """
        @hub()
        async def orders(events: Events) -> None:
            for event in events:
                if event.get_body() == b"1":
                    raise RuntimeError("no")
                seen.append(event.get_body())
        """,
        host=limits(maxEventBatchSize=1),
    )
    await eventually(lambda: running.app.seen == [b"0", b"2"])
    assert running.host.functions["orders"].failures == 1
    assert "orders: 1 events of hub orders partition 0 (from 1) are passed over" in caplog.text


async def test_two_functions_of_a_hub_each_see_every_event(start: Start, events: SqliteEvents) -> None:
    """Each consumer group has checkpoints of its own."""
    await events.publish("orders", numbered(3))
    running = await start(
        """
        @hub(consumer_group="a")
        async def one(events: Events) -> None:
            seen.extend(("one", event.get_body()) for event in events)

        @hub(consumer_group="b")
        async def two(events: Events) -> None:
            seen.extend(("two", event.get_body()) for event in events)
        """
    )
    await eventually(lambda: len(running.app.seen) == 6)
    assert sorted(running.app.seen) == [(name, body) for name in ("one", "two") for body in (b"0", b"1", b"2")]


async def test_lag_and_handled_tell_how_far_a_function_is(start: Start, events: SqliteEvents) -> None:
    """Lag counts what is not checkpointed, also while a batch is in hand."""
    await events.publish("orders", numbered(7))
    running = await start(
        """
        gate = asyncio.Event()

        @hub()
        async def orders(events: Events) -> None:
            await gate.wait()
        """
    )
    await eventually(lambda: running.host.functions["orders"].running == 1)
    assert await running.host.lag() == {"orders": 7}
    running.app.gate.set()

    async def caught_up() -> bool:
        return await running.host.lag() == {"orders": 0}

    await eventually(caught_up)
    (partition,) = await running.host.partitions()
    assert partition == ("orders", 0, "orders", 0, 7)


async def test_a_stream_that_fails_is_tried_again(
    start: Start, events: SqliteEvents, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that fails costs a moment and a line, not the pump."""
    caplog.set_level(logging.WARNING, "flockiq.host")
    read, failures = events.read, [OSError("disk went away")]

    async def flaky(*place: Any) -> Any:
        if failures:
            raise failures.pop()
        return await read(*place)

    monkeypatch.setattr(events, "read", flaky)
    await events.publish("orders", numbered(2))
    running = await start(COLLECT)
    await eventually(lambda: running.app.seen == [["0", "1"]])
    assert "orders stands still at hub orders partition 0" in caplog.text
    assert "disk went away" in caplog.text


async def test_a_checkpoint_beyond_a_hub_made_anew_starts_at_its_beginning(
    start: Start, events: SqliteEvents, data: Path
) -> None:
    """Deleting events.db must not leave the function waiting for numbers that take days to come."""
    ledger = Ledger(data)
    ledger.move(ORDERS, 1000)
    ledger.close()
    await events.publish("orders", numbered(2))
    running = await start(COLLECT)
    await eventually(lambda: running.app.seen == [["0", "1"]])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (COLLECT + COLLECT.replace("def orders", "def more"), "same consumer group"),
        (COLLECT.replace("@hub()", '@hub("nowhere")'), "nowhere"),
    ],
)
async def test_a_hub_that_cant_be_read_as_asked_stops_the_start(start: Start, source: str, message: str) -> None:
    """Two functions of one consumer group would share its events in Azure; an unknown hub has none."""
    with pytest.raises(Exception, match=message):
        await start(source)
