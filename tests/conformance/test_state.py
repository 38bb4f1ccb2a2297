"""What every StateStore promises."""

from __future__ import annotations

import asyncio
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flockiq.shared.errors import FenceLost
from flockiq.shared.ports import StateStore, StateVersion
from flockiq.shared.services import Services

entry = runpy.run_path(str(Path(__file__).parent / "processes" / "append.py"))["entry"]
type Start = Callable[..., subprocess.Popen[str]]


async def test_a_log_nobody_wrote_is_empty(state: StateStore) -> None:
    """It is read from the start: an empty snapshot and no entries."""
    read = await state.read("never")
    assert (read.snapshot, list(read.entries)) == (b"", [])


async def test_entries_are_read_in_the_order_they_were_appended(state: StateStore) -> None:
    """From the start when nothing has been read yet; empty and binary ones too."""
    version = (await state.read("log")).version
    written = [b"one", b"", bytes(range(256)), b"x" * 1_000_000]
    for body in written:
        version = await state.append("log", body, version)
    read = await state.read("log")
    assert (read.version, read.snapshot, list(read.entries)) == (version, b"", written)


async def test_only_what_came_after_a_version_is_read(state: StateStore) -> None:
    """The snapshot is None: what was read goes on."""
    start = (await state.read("log")).version
    one = await state.append("log", b"one", start)
    two = await state.append("log", b"two", one)
    read = await state.read("log", one)
    assert (read.version, read.snapshot, list(read.entries)) == (two, None, [b"two"])
    assert await state.read("log", two) == (two, None, [])
    read = await state.read("log", start)
    assert (read.version, read.snapshot, list(read.entries)) == (two, None, [b"one", b"two"])


async def test_appending_at_an_old_version_loses_the_fence(state: StateStore) -> None:
    """And writes nothing."""
    start = (await state.read("log")).version
    version = await state.append("log", b"mine", start)
    with pytest.raises(FenceLost, match="log"):
        await state.append("log", b"stale", start)
    assert list((await state.read("log")).entries) == [b"mine"]
    assert (await state.read("log")).version == version


async def test_appending_ahead_of_the_log_loses_the_fence(state: StateStore) -> None:
    """A version this log never reached is another log's, or another day's."""
    version = await state.append("log", b"one", (await state.read("log")).version)
    with pytest.raises(FenceLost):
        await state.append("log", b"two", StateVersion(version.generation, version.length + 1000))
    with pytest.raises(FenceLost):
        await state.append("log", b"two", StateVersion(version.generation + 1, version.length))


async def test_an_owner_that_lost_the_fence_goes_on_from_the_tail(another: Callable[[], Services]) -> None:
    """After a rebalance the old owner reads what the new one wrote, and can write again."""
    old, new = another().state, another().state
    seen = await old.append("log", b"old", (await old.read("log")).version)
    await new.append("log", b"new", (await new.read("log")).version)
    with pytest.raises(FenceLost):
        await old.append("log", b"stale", seen)
    tail = await old.read("log", seen)
    assert (tail.snapshot, list(tail.entries)) == (None, [b"new"])
    await old.append("log", b"again", tail.version)
    assert list((await new.read("log")).entries) == [b"old", b"new", b"again"]


async def test_of_two_owners_at_one_version_one_writes(another: Callable[[], Services]) -> None:
    """Whoever is first, in each of many rounds."""
    owners = [another().state, another().state]
    for round_ in range(10):
        version = (await owners[0].read("log")).version
        outcomes = await asyncio.gather(
            *(owner.append("log", f"{round_}".encode(), version) for owner in owners), return_exceptions=True
        )
        assert sorted(isinstance(outcome, FenceLost) for outcome in outcomes) == [False, True]
    assert list((await owners[1].read("log")).entries) == [f"{n}".encode() for n in range(10)]


async def test_a_roll_begins_the_next_generation_with_its_snapshot(state: StateStore) -> None:
    """The old generation's entries are gone; appends go on in the new one."""
    old = await state.append("log", b"one", (await state.read("log")).version)
    rolled = await state.roll("log", b"snapshot", old)
    assert rolled.generation > old.generation
    assert await state.read("log", rolled) == (rolled, None, [])
    version = await state.append("log", b"two", rolled)
    read = await state.read("log")
    assert (read.version, read.snapshot, list(read.entries)) == (version, b"snapshot", [b"two"])


async def test_a_reader_of_an_older_generation_starts_over(state: StateStore) -> None:
    """It is given the snapshot, so that it forgets what it had."""
    start = (await state.read("log")).version
    old = await state.append("log", b"one", start)
    version = await state.append("log", b"two", await state.roll("log", b"snapshot", old))
    for before in (start, old):
        read = await state.read("log", before)
        assert (read.version, read.snapshot, list(read.entries)) == (version, b"snapshot", [b"two"])


async def test_rolling_at_an_old_version_loses_the_fence(state: StateStore) -> None:
    """And neither drops nor replaces anything."""
    start = (await state.read("log")).version
    version = await state.append("log", b"one", start)
    with pytest.raises(FenceLost):
        await state.roll("log", b"stale", start)
    await state.roll("log", b"first", version)
    with pytest.raises(FenceLost):
        await state.roll("log", b"second", version)
    assert (await state.read("log")).snapshot == b"first"


async def test_an_append_to_the_old_generation_loses_the_fence(state: StateStore) -> None:
    """An owner that missed a roll can't write into the new generation."""
    old = await state.append("log", b"one", (await state.read("log")).version)
    await state.roll("log", b"snapshot", old)
    with pytest.raises(FenceLost):
        await state.append("log", b"stale", old)
    assert list((await state.read("log")).entries) == []


async def test_a_log_can_begin_with_a_roll(state: StateStore) -> None:
    """As a replay does."""
    rolled = await state.roll("log", b"snapshot", (await state.read("log")).version)
    read = await state.read("log")
    assert (read.version, read.snapshot, list(read.entries)) == (rolled, b"snapshot", [])


async def test_logs_are_listed_by_prefix_sorted(state: StateStore) -> None:
    """Names with any characters, and no log that only shares some of the prefix."""
    for name in ("resolved/10", "resolved/2", "resolve", "changes/0", "résolu/ü 'x\"%_"):
        await state.append(name, b"x", (await state.read(name)).version)
    assert await state.logs("resolved/") == ["resolved/10", "resolved/2"]
    assert await state.logs() == sorted(("resolved/10", "resolved/2", "resolve", "changes/0", "résolu/ü 'x\"%_"))
    assert await state.logs("nothing") == []


async def test_logs_are_kept_apart(state: StateStore) -> None:
    """Each has its own version and entries, even when they are written at once."""
    names = [f"log/{n}" for n in range(20)]
    starts = [(await state.read(name)).version for name in names]
    await asyncio.gather(*(state.append(name, name.encode(), start) for name, start in zip(names, starts, strict=True)))
    for name in names:
        assert list((await state.read(name)).entries) == [name.encode()]


async def test_one_lost_fence_does_not_undo_another_log_s_append(state: StateStore) -> None:
    """Writes that happen at once succeed or fail each for themselves."""
    start = (await state.read("a")).version
    await state.append("a", b"a", start)
    outcomes = await asyncio.gather(
        state.append("b", b"b", (await state.read("b")).version),
        state.append("a", b"stale", start),
        state.append("c", b"c", (await state.read("c")).version),
        return_exceptions=True,
    )
    assert [isinstance(outcome, FenceLost) for outcome in outcomes] == [False, True, False]
    assert [list((await state.read(log)).entries) for log in "abc"] == [[b"a"], [b"b"], [b"c"]]


async def test_state_survives_a_restart(another: Callable[[], Services]) -> None:
    """Snapshot, entries and version are what they were."""
    before = another()
    rolled = await before.state.roll("log", b"snapshot", (await before.state.read("log")).version)
    version = await before.state.append("log", b"one", rolled)
    await before.close()
    read = await another().state.read("log")
    assert (read.version, read.snapshot, list(read.entries)) == (version, b"snapshot", [b"one"])


async def test_processes_sharing_a_log_write_every_entry_once(another: Callable[[], Services], process: Start) -> None:
    """Three owners fence one another; none of their entries is lost or doubled, each one's order holds."""
    owners = [process("contend.py", "log", "shared", "30") for _ in range(3)]
    for owner in owners:
        owner.communicate(timeout=60)
    assert [owner.returncode for owner in owners] == [0, 0, 0]
    entries = [body.decode() for body in (await another().state.read("shared")).entries]
    for owner in owners:
        assert [body for body in entries if body.startswith(f"{owner.pid}:")] == [f"{owner.pid}:{n}" for n in range(30)]
    assert len(entries) == 90


async def test_what_was_acknowledged_survives_kill_9(another: Callable[[], Services], process: Start) -> None:
    """Killed in the middle of its writes again and again, a log holds every acknowledged entry, whole, and no other."""
    for wanted in (1, 25, 60, 90):
        with process("append.py") as writer:
            if writer.stdout is None:
                raise AssertionError("no pipe")
            acknowledged = [writer.stdout.readline() for _ in range(wanted)]
            writer.kill()
            acknowledged += writer.stdout.readlines()
        last = int(acknowledged[-1])
        services = another()
        _, snapshot, entries = await services.state.read("crash")
        first = int(snapshot or b"0")
        assert last <= first + len(entries) <= last + 1
        assert list(entries) == [entry(number) for number in range(first, first + len(entries))]
        await services.close()
