"""Whose batch is next, and what it holds."""

from __future__ import annotations

import asyncio

import pytest

from flockiq.local.host.turns import LITTLE_BYTES, Load, Turn, Turns
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


async def _asks(turns: Turns, load: Load) -> asyncio.Task[Turn]:
    """Somebody who has asked for a turn."""
    asking = asyncio.create_task(turns.next(load))
    await asyncio.sleep(0)
    return asking


async def test_turns_come_in_the_order_in_which_they_are_asked_for() -> None:
    """Nobody is passed over, whatever the batches are."""
    turns, came = Turns(), list[int]()
    first = await turns.next(Load.GROWING)

    async def come(number: int) -> None:
        turn = await turns.next(Load.FULL if number % 2 else Load.GROWING)
        came.append(number)
        turn.over()

    waiting = [asyncio.create_task(come(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert came == []
    first.over()
    await asyncio.gather(*waiting)
    assert came == [0, 1, 2, 3, 4]


async def test_a_batch_that_can_grow_waits_until_it_is_alone() -> None:
    """What comes meanwhile is part of it."""
    turns = Turns()
    first = await turns.next(Load.FULL)
    second = await _asks(turns, Load.GROWING)
    assert not second.done()
    first.over()
    (await second).over()


async def test_a_full_batch_is_begun_beside_another_and_no_third() -> None:
    """Of a backlog one batch is folded while another is committed and told."""
    turns = Turns()
    first = await turns.next(Load.GROWING)
    await turns.next(Load.FULL)
    third = await _asks(turns, Load.FULL)
    assert not third.done()
    first.over()
    await third


async def test_little_is_begun_at_once() -> None:
    """A message to a source is held up by no batch, and holds up none."""
    turns = Turns()
    await turns.next(Load.GROWING)
    await turns.next(Load.FULL)
    little = await turns.next(Load.LITTLE)
    waits = await _asks(turns, Load.GROWING)
    little.over()
    await asyncio.sleep(0)
    assert not waits.done()
    waits.cancel()


async def test_a_turn_that_is_over_twice_lets_one_in() -> None:
    """As when it ends just as it has become late."""
    turns = Turns()
    turn = await turns.next(Load.GROWING)
    turn.over()
    turn.over()
    await turns.next(Load.GROWING)
    second = await _asks(turns, Load.GROWING)
    assert not second.done()
    second.cancel()


async def test_whoever_no_longer_waits_holds_up_nobody() -> None:
    """A pump that is stopped while it waits, or just as its turn comes, leaves the turn to the next."""
    turns = Turns()
    first = await turns.next(Load.GROWING)
    gone, just, last = [await _asks(turns, Load.GROWING) for _ in range(3)]
    gone.cancel()
    await asyncio.sleep(0)
    first.over()
    just.cancel()
    async with asyncio.timeout(5):
        await last


async def test_a_batch_that_takes_long_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow source's slice goes on, and the next begins."""
    monkeypatch.setattr("flockiq.local.host.turns.LONGEST_S", 0.01)
    turns = Turns()
    await turns.next(Load.GROWING)
    async with asyncio.timeout(5):
        await turns.next(Load.GROWING)


async def test_a_batch_holds_what_has_come_by_its_turn(
    start: Start, events: SqliteEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its process is busy with another, it grows instead of waiting there as it was."""
    monkeypatch.setattr("flockiq.local.host.turns.LONGEST_S", 60)
    large = "1" * (LITTLE_BYTES + 1)
    for partition in range(2):
        await events.publish("wide", [OutgoingEvent(partition, large.encode())])
    running = await start(GATED)
    await eventually(lambda: len(running.app.seen) == 1)
    (waits,) = {0, 1} - {int(partition) for partition, _ in running.app.seen}
    await events.publish("wide", [OutgoingEvent(waits, b"2")])
    running.app.gate.set()
    await eventually(lambda: len(running.app.seen) > 1)
    assert running.app.seen[1] == (str(waits), [large, "2"])
