"""Whose batch is next, and what it holds."""

from __future__ import annotations

import asyncio

import pytest

from flockiq.local.host.turns import AT_ONCE, Turns
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.ports import OutgoingEvent
from tests.host.apps import Start, eventually

GATED = """
gate = asyncio.Event()

@hub("wide")
async def wide(events: Events) -> None:
    seen.append((events[0].metadata["PartitionContext"]["PartitionId"], [e.get_body().decode() for e in events]))
    await gate.wait()
"""


async def test_turns_come_in_the_order_in_which_they_are_asked_for() -> None:
    """Nobody is passed over."""
    turns, came = Turns(at_once=1), list[int]()
    first = await turns.next()

    async def come(number: int) -> None:
        turn = await turns.next()
        came.append(number)
        turn.over()

    waiting = [asyncio.create_task(come(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert came == []
    first.over()
    await asyncio.gather(*waiting)
    assert came == [0, 1, 2, 3, 4]


async def test_a_turn_that_is_over_twice_lets_one_in() -> None:
    """As when it ends just as it has become late."""
    turns = Turns(at_once=1)
    turn = await turns.next()
    turn.over()
    turn.over()
    await turns.next()
    second = asyncio.create_task(turns.next())
    await asyncio.sleep(0)
    assert not second.done()
    second.cancel()


async def test_a_batch_that_takes_long_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow source's slice goes on, and the next begins."""
    monkeypatch.setattr("flockiq.local.host.turns.LONGEST_S", 0.01)
    turns = Turns(at_once=1)
    await turns.next()
    async with asyncio.timeout(5):
        await turns.next()


async def test_a_batch_holds_what_has_come_by_its_turn(
    start: Start, events: SqliteEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its process is busy with others, it grows instead of waiting there as it was."""
    monkeypatch.setattr("flockiq.local.host.turns.LONGEST_S", 60)
    for partition in range(AT_ONCE + 1):
        await events.publish("wide", [OutgoingEvent(partition, b"1")])
    running = await start(GATED)
    await eventually(lambda: len(running.app.seen) == AT_ONCE)
    (waits,) = set(range(AT_ONCE + 1)) - {int(partition) for partition, _ in running.app.seen}
    await events.publish("wide", [OutgoingEvent(waits, b"2")])
    running.app.gate.set()
    await eventually(lambda: len(running.app.seen) > AT_ONCE)
    assert running.app.seen[AT_ONCE] == (str(waits), ["1", "2"])
