"""The sqlite log of events beyond its port: counts, retention, waiting."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing as closing_at_once
from pathlib import Path
from typing import Any

import pytest

from flockiq.shared.adapters.embedded import events as module
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.errors import ConfigError, HubUnavailable, NotFound
from flockiq.shared.ports import OutgoingEvent

type Keep = Callable[[Any], SqliteEvents]


def event(body: bytes = b"x", partition: int = 0) -> OutgoingEvent:
    """One event."""
    return OutgoingEvent(partition=partition, body=body)


async def test_another_partition_count_refuses_to_open(tmp_path: Path, closing: Keep) -> None:
    """The error names the setting, both counts and the way out; nothing is written."""
    path = tmp_path / "events.db"
    await closing(SqliteEvents(path, {"changes": 4, "work": 2})).publish("changes", [event()])
    other = closing(SqliteEvents(path, {"changes": 8, "work": 2}))
    with pytest.raises(ConfigError, match=r"FLOCKIQ_PARTITIONS_CHANGES.*4 partitions.*say 8.*set it to 4"):
        await other.publish("work", [event()])
    with pytest.raises(ConfigError):
        await other.read("changes", 0, 0, 1)


async def test_a_hub_added_later_is_made(tmp_path: Path, closing: Keep) -> None:
    """A new version may bring one."""
    path = tmp_path / "events.db"
    await closing(SqliteEvents(path, {"changes": 4})).publish("changes", [event()])
    grown = closing(SqliteEvents(path, {"changes": 4, "deltas": 2}))
    await grown.publish("deltas", [event(partition=1)])
    assert len(await grown.read("deltas", 1, 0, 10)) == 1


async def filled(events: SqliteEvents, bodies: Sequence[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish with no sweep, then once more with one."""
    monkeypatch.setattr(module, "SWEEP_S", 1e9)
    for body in bodies:
        await events.publish("changes", [event(body)])
    monkeypatch.setattr(module, "SWEEP_S", -1.0)


async def test_events_over_age_are_dropped_and_sequences_go_on(
    tmp_path: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading from before the oldest gives what is retained."""
    events = closing(SqliteEvents(tmp_path / "events.db", {"changes": 1}, retention_s=0.2))
    await filled(events, [b"old"] * 5, monkeypatch)
    await asyncio.sleep(0.3)
    await events.publish("changes", [event(b"new")])
    assert await events.bounds("changes", 0) == (5, 6)
    assert [found.body for found in await events.read("changes", 0, 0, 10)] == [b"new"]


async def test_the_oldest_are_dropped_from_a_partition_over_its_size(
    tmp_path: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more than needed."""
    events = closing(SqliteEvents(tmp_path / "events.db", {"changes": 1}, retention_bytes=3_500))
    await filled(events, [b"x" * 1_000] * 9, monkeypatch)
    await events.publish("changes", [event(b"y" * 1_000)])
    assert await events.bounds("changes", 0) == (7, 10)


async def test_an_emptied_partition_s_bounds_meet_at_its_end(
    tmp_path: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sequences are never given twice."""
    events = closing(SqliteEvents(tmp_path / "events.db", {"changes": 2}, retention_s=0.05))
    await filled(events, [b"old"] * 3, monkeypatch)
    await asyncio.sleep(0.1)
    await events.publish("changes", [event(partition=1)])
    assert await events.bounds("changes", 0) == (3, 3)


async def test_an_answer_holds_a_limited_number_of_bytes(
    tmp_path: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least one event, and the next reading goes on after it."""
    monkeypatch.setattr(module, "READ_BYTES", 1_500)
    events = closing(SqliteEvents(tmp_path / "events.db", {"changes": 1}))
    await events.publish("changes", [event(b"x" * size) for size in (2_000, 1_000, 1_000, 1_000)])
    assert [found.sequence for found in await events.read("changes", 0, 0, 10)] == [0]
    assert [found.sequence for found in await events.read("changes", 0, 1, 10)] == [1, 2]


async def test_waiting_for_what_is_there_returns_at_once(tmp_path: Path, closing: Keep) -> None:
    """Also when it was written before this process began."""
    await closing(SqliteEvents(tmp_path / "events.db", {"changes": 1})).publish("changes", [event()])
    again = closing(SqliteEvents(tmp_path / "events.db", {"changes": 1}))
    assert await again.wait("changes", 0, 0, 0.0)
    assert not await again.wait("changes", 0, 1, 0.0)


async def test_a_publication_of_this_process_wakes_at_once(
    tmp_path: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without asking the file: here that happens only once a minute."""
    monkeypatch.setattr(module, "NOTICE_S", 60.0)
    monkeypatch.setattr(module, "SOON_S", 60.0)
    events = closing(SqliteEvents(tmp_path / "events.db", {"changes": 2}))
    await events.bounds("changes", 0)  # the file is there
    waiting = asyncio.ensure_future(events.wait("changes", 1, 1, 30.0))
    other = asyncio.ensure_future(events.wait("changes", 0, 0, 0.3))
    await asyncio.sleep(0.05)
    await events.publish("changes", [event(partition=1)])
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await events.publish("changes", [event(partition=1)])
    assert await asyncio.wait_for(waiting, 5)
    assert not await other


async def test_what_another_owner_publishes_is_noticed_soon(tmp_path: Path, closing: Keep) -> None:
    """Within 100 ms, when the machine is not busy with other things."""
    here, there = (closing(SqliteEvents(tmp_path / "events.db", {"changes": 1})) for _ in range(2))
    taken: list[float] = []
    for sequence in range(5):
        waiting = asyncio.ensure_future(here.wait("changes", 0, sequence, 10.0))
        await asyncio.sleep(0.06)
        await there.publish("changes", [event()])
        begun = time.perf_counter()
        assert await waiting
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.1


async def test_waiting_ends_when_its_time_is_over(tmp_path: Path, closing: Keep) -> None:
    """And leaves nothing behind."""
    events = closing(SqliteEvents(tmp_path / "events.db", {"changes": 1}))
    begun = time.perf_counter()
    assert not await events.wait("changes", 0, 0, 0.2)
    assert 0.15 < time.perf_counter() - begun < 5
    assert not any(events._waiters.values())


async def test_a_file_that_can_t_be_read_ends_the_waiting(tmp_path: Path, closing: Keep) -> None:
    """Everybody who waits hears of it, rather than waiting for what nobody can see."""
    events = closing(SqliteEvents(tmp_path / "events.db", {"changes": 2}))
    await events.bounds("changes", 0)  # the file is there
    waiting = [asyncio.ensure_future(events.wait("changes", number, 0, 30.0)) for number in range(2)]
    await asyncio.sleep(0.05)
    with closing_at_once(sqlite3.connect(tmp_path / "events.db")) as other:
        other.execute("DROP TABLE partitions")
        other.commit()
    found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
    assert [type(error) for error in found] == [HubUnavailable, HubUnavailable]


async def test_waiting_on_an_unknown_hub_is_not_found(tmp_path: Path, closing: Keep) -> None:
    """Rather than waiting for what can't come."""
    with pytest.raises(NotFound, match="chagnes"):
        await closing(SqliteEvents(tmp_path / "events.db", {"changes": 1})).wait("chagnes", 0, 0, 1.0)
