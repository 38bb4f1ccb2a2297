"""State logs in append blobs, beyond what every StateStore promises."""

from __future__ import annotations

import logging

import pytest

from flockiq.shared.adapters.azure.storage.account import Account
from flockiq.shared.adapters.azure.storage.state import AppendBlobState
from flockiq.shared.errors import BadRecord, FenceLost, StateCorrupt, StoreUnavailable
from flockiq.shared.ports import StateVersion
from tests.peers.storage.peer import Storage

START = StateVersion(0, 0)
LARGE = bytes(range(256)) * 150  # four blocks


def held(peer: Storage) -> list[str]:
    """What the container holds."""
    return sorted(str(blob.name) for blob in peer.container("state").list_blobs())


async def test_a_batch_is_one_request(state: AppendBlobState, peer: Storage) -> None:
    """Once its blob is there, an append costs one call."""
    version = await state.append("log", b"one", START)
    peer.asked.clear()
    await state.append("log", b"two", version)
    assert peer.asked == {"state/append": 1}


async def test_an_entry_larger_than_a_block_is_committed_by_its_last(
    state: AppendBlobState, rival: AppendBlobState, peer: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """A writer that dies before it leaves parts, which are said, never folded, and written over by nobody."""
    version = await state.append("log", b"one", START)
    peer.faults.plan("unavailable", where="state/append", after=2, times=1000)
    with pytest.raises(StoreUnavailable):
        await state.append("log", LARGE, version)
    peer.faults.clear()
    with caplog.at_level(logging.WARNING):
        found = await rival.read("log")
    assert list(found.entries) == [b"one"]
    assert found.version.length > version.length
    assert "never finished" in caplog.text
    with pytest.raises(FenceLost):
        await state.append("log", b"stale", version)
    two = await rival.append("log", LARGE[::-1], found.version)
    assert list((await state.read("log")).entries) == [b"one", LARGE[::-1]]
    assert (await state.read("log", version)) == (two, None, [LARGE[::-1]])


async def test_a_writer_whose_parts_are_overtaken_loses_the_fence(
    state: AppendBlobState, rival: AppendBlobState
) -> None:
    """Between two parts of its entry another owner wrote."""
    version = await state.append("log", b"one", START)
    place = state._blobs.place
    placed: list[int] = []

    async def overtaken(name: str, at: int, block: bytes) -> bool:
        placed.append(at)
        if len(placed) == 3:
            found = await rival.read("log")
            await rival.append("log", b"rival", found.version)
        return await place(name, at, block)

    state._blobs.place = overtaken  # type: ignore[method-assign]
    with pytest.raises(FenceLost):
        await state.append("log", LARGE, version)
    assert list((await rival.read("log")).entries) == [b"one", b"rival"]
    assert list((await state.read("log", version)).entries) == [b"rival"]


async def test_after_a_lost_fence_only_the_tail_is_read(
    state: AppendBlobState, rival: AppendBlobState, peer: Storage
) -> None:
    """From where the owner was, in one request."""
    version = await state.append("log", LARGE, START)
    await rival.append("log", b"theirs", (await rival.read("log")).version)
    with pytest.raises(FenceLost):
        await state.append("log", b"stale", version)
    peer.asked.clear()
    tail = await state.read("log", version)
    assert (tail.snapshot, list(tail.entries)) == (None, [b"theirs"])
    assert peer.asked == {"state/get": 1}


async def test_a_blob_is_carried_on_before_it_is_full(account: Account, rival: AppendBlobState, peer: Storage) -> None:
    """Into the next generation, with all it holds, and nobody's entry is lost."""
    state = AppendBlobState(account, roll_blocks=4)
    version = await state.append("log", b"0", await state.roll("log", b"snapshot", START))
    for number in range(1, 10):
        version = await state.append("log", str(number).encode(), version)
    assert version.generation > 2
    await state.close()
    found = await rival.read("log")
    assert (found.version, found.snapshot) == (version, b"snapshot")
    assert list(found.entries) == [str(number).encode() for number in range(10)]
    assert len(held(peer)) == 2


async def test_the_count_of_blocks_is_known_after_a_restart(account: Account, other: Account) -> None:
    """It comes with what is read."""
    first = AppendBlobState(account)
    version = START
    for number in range(4):
        version = await first.append("log", str(number).encode(), version)
    second = AppendBlobState(other, roll_blocks=4)
    version = (await second.read("log")).version
    assert (await second.append("log", b"4", version)).generation == 1
    assert len((await first.read("log")).entries) == 5
    await second.close()


async def test_what_came_before_a_roll_is_removed(state: AppendBlobState, peer: Storage) -> None:
    """Also snapshots of owners who were not first."""
    peer.container("state").upload_blob(f"log/{1:012}.{'a' * 32}.snapshot", b"of a rival that died")
    version = START
    for number in range(3):
        version = await state.roll("log", f"{number}".encode(), await state.append("log", b"x", version))
        await state.close()
    snapshot, log = held(peer)
    assert (snapshot[:17], log) == ("log/000000000003.", "log/000000000003.log") or log.endswith("snapshot")
    assert len(held(peer)) == 2


@pytest.mark.parametrize("after", ["state/make", "state/append"])
async def test_a_roll_that_stops_after_its_seal_is_finished_by_whoever_reads(
    state: AppendBlobState, rival: AppendBlobState, peer: Storage, after: str
) -> None:
    """The seal is the commit: the next generation's blob can be made by anyone."""
    version = await state.append("log", b"one", START)
    peer.faults.plan("unavailable", where=after, after=after == "state/append", times=1000)
    with pytest.raises(StoreUnavailable):
        await state.roll("log", b"snapshot", version)
    peer.faults.clear()
    for reader in (rival, state):
        assert (await reader.read("log", version)).snapshot == b"snapshot"
    found = await rival.read("log")
    await rival.append("log", b"two", found.version)
    with pytest.raises(FenceLost):
        await state.append("log", b"stale", version)
    assert list((await state.read("log")).entries) == [b"two"]


async def test_an_owner_that_slept_through_two_rolls_writes_nothing(
    state: AppendBlobState, rival: AppendBlobState, peer: Storage
) -> None:
    """Its generation is gone, and is not made anew: not even the first."""
    version = await rival.append("log", b"one", START)
    for number in range(2):
        version = await rival.roll("log", str(number).encode(), version)
        await rival.close()
    for stale in (START, StateVersion(0, 77), StateVersion(1, 77)):
        with pytest.raises(FenceLost):
            await state.append("log", b"stale", stale)
        with pytest.raises(FenceLost):
            await state.roll("log", b"stale", stale)
        await state.close()
    assert (await state.read("log", StateVersion(0, 77))).snapshot == b"1"
    assert [name for name in held(peer) if name.endswith(".log")] == ["log/000000000002.log"]


async def test_a_damaged_entry_is_found_and_said(state: AppendBlobState, rival: AppendBlobState, peer: Storage) -> None:
    """Nothing of the log is given, by whoever reads it, and nothing is appended to it."""
    one = await state.append("log", b"one", START)
    two = await state.append("log", b"two", one)
    peer.damage("state", "log/000000000000.log", two.length - 1)
    for reader, after in ((rival, None), (state, one)):
        with pytest.raises(StateCorrupt, match=f"log.*byte {one.length}"):
            await reader.read("log", after)
    with pytest.raises(StateCorrupt):
        await rival.append("log", b"three", two)


async def test_a_damaged_snapshot_is_found_and_said(
    state: AppendBlobState, rival: AppendBlobState, peer: Storage
) -> None:
    """A changed one, and a missing one."""
    await state.roll("log", b"snapshot", START)
    (name,) = [name for name in held(peer) if name.endswith(".snapshot")]
    peer.container("state").upload_blob(name, b"snapshoT", overwrite=True)
    with pytest.raises(StateCorrupt, match="snapshot"):
        await rival.read("log")
    peer.container("state").delete_blob(name)
    with pytest.raises(StateCorrupt, match="missing"):
        await rival.read("log")


async def test_a_torn_tail_is_passed_over_and_said(
    state: AppendBlobState, rival: AppendBlobState, peer: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """The beginning of a block whose writer died; the next owner goes on after it."""
    one = await state.append("log", b"one", START)
    two = await state.append("log", b"two" * 100, one)
    name = "log/000000000000.log"
    body = peer.container("state").download_blob(name).readall()
    peer.replace("state", name, body[: two.length - 10])
    with caplog.at_level(logging.WARNING):
        found = await rival.read("log")
    assert list(found.entries) == [b"one"]
    assert "never finished" in caplog.text
    await rival.append("log", b"three", found.version)
    assert list((await AppendBlobState(state._blobs._account).read("log")).entries) == [b"one", b"three"]


async def test_what_is_too_large_is_refused(state: AppendBlobState, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its size, and nothing of it is written."""
    monkeypatch.setattr("flockiq.shared.adapters.azure.storage.state.MAX_ENTRY_BYTES", 10)
    monkeypatch.setattr("flockiq.shared.adapters.azure.storage.state.MAX_SNAPSHOT_BYTES", 10)
    with pytest.raises(BadRecord, match="11 bytes"):
        await state.append("log", b"x" * 11, START)
    with pytest.raises(BadRecord, match="11 bytes"):
        await state.roll("log", b"x" * 11, START)
    assert await state.logs() == []


@pytest.mark.parametrize("name", ["", "../other", "a//b", "a\\b"])
async def test_what_is_no_log_s_name_is_refused(state: AppendBlobState, name: str) -> None:
    """It would be another log's blob."""
    with pytest.raises(BadRecord):
        await state.read(name)
    with pytest.raises(BadRecord):
        await state.append(name, b"x", START)
    with pytest.raises(BadRecord):
        await state.roll(name, b"x", START)
