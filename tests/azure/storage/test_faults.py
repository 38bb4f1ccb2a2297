"""What goes wrong at the storage account, one by one and all together: everything comes through, once."""

from __future__ import annotations

import asyncio
import random

import pytest
from azure.storage.blob.aio import BlobServiceClient

from flockiq.shared.adapters.azure.storage.account import Account
from flockiq.shared.adapters.azure.storage.blobs import AccountBlobs
from flockiq.shared.adapters.azure.storage.state import AppendBlobState
from flockiq.shared.errors import ConfigError, FenceLost, StoreUnavailable
from flockiq.shared.ports import StateVersion
from tests.azure.storage.conftest import nobody
from tests.peers.storage.peer import KINDS, Storage

START = StateVersion(0, 0)
LARGE = bytes(range(256)) * 150
OF_ALL = ("throttled", "unavailable", "timed_out", "dropped", "unanswered", "slow", "expired")


@pytest.mark.parametrize("kind", [*OF_ALL, "torn"])
@pytest.mark.parametrize("entry", [b"small", LARGE], ids=["small", "large"])
async def test_an_entry_is_appended_once_whatever_happens_to_it(
    kind: str, entry: bytes, state: AppendBlobState, rival: AppendBlobState, peer: Storage
) -> None:
    """And the log goes on after it."""
    version = await state.append("log", b"first", START)
    times = 1 if kind == "slow" else 2  # what is only slow is not asked again
    peer.faults.plan(kind, where="state/append", times=times)
    version = await state.append("log", entry, version)
    assert peer.faults.injected == {kind: times}
    await state.append("log", b"last", version)
    assert list((await rival.read("log")).entries) == [b"first", entry, b"last"]


@pytest.mark.parametrize("kind", [*OF_ALL, "torn"])
async def test_a_roll_happens_once_whatever_happens_to_it(
    kind: str, state: AppendBlobState, rival: AppendBlobState, peer: Storage
) -> None:
    """At each of its steps."""
    version = await state.append("log", b"first", START)
    for where in ("put", "append", "make", "list", "delete"):
        if kind != "torn" or where == "append":
            peer.faults.plan(kind, where=f"state/{where}")
    version = await state.roll("log", b"snapshot", version)
    await state.close()
    assert sum(peer.faults.injected.values()) == (1 if kind == "torn" else 5)
    await state.append("log", b"last", version)
    found = await rival.read("log")
    assert (found.snapshot, list(found.entries)) == (b"snapshot", [b"last"])


@pytest.mark.parametrize("kind", [*OF_ALL, "cut"])
async def test_a_log_is_read_whole_whatever_happens_to_it(
    kind: str, state: AppendBlobState, rival: AppendBlobState, peer: Storage
) -> None:
    """The list of its blobs, the blob, the snapshot."""
    version = await state.append("log", LARGE, await state.roll("log", LARGE, START))
    await state.close()
    peer.faults.plan(kind, where="state/list")
    peer.faults.plan(kind, where="state/get", times=2)
    assert await rival.read("log") == (version, LARGE, [LARGE])
    assert peer.faults.injected == {kind: 3}


@pytest.mark.parametrize("kind", OF_ALL)
async def test_a_blob_is_written_and_made_once_whatever_happens_to_it(
    kind: str, blobs: AccountBlobs, peer: Storage
) -> None:
    """A blob that is to be new is known to be one's own, though its answer was lost."""
    times = 1 if kind == "slow" else 2  # what is only slow is not asked again
    for number, body in enumerate((b"small", b"x" * 3_000_000)):
        peer.faults.plan(kind, where="blobs/put", times=times)
        await blobs.put(f"a/{number}", body, create_only=True)
        assert await blobs.get(f"a/{number}") == body
    peer.faults.plan(kind, where="blobs/delete")
    await blobs.delete("a/0")
    assert peer.faults.injected == {kind: 2 * times + 1}
    assert await blobs.list("") == ["a/1"]


@pytest.mark.parametrize("kind", [*OF_ALL, "cut"])
async def test_blobs_are_read_and_listed_whatever_happens(kind: str, blobs: AccountBlobs, peer: Storage) -> None:
    """Whole, every one."""
    for number in range(3):
        await blobs.put(f"a/{number}", b"x" * 1000)
    peer.faults.plan(kind, where="blobs/get")
    peer.faults.plan(kind, where="blobs/list", times=2)
    assert await blobs.get("a/1") == b"x" * 1000
    assert await blobs.list("a/", limit=2) == ["a/0", "a/1"]
    assert await blobs.list("a/", after="a/1", limit=2) == ["a/2"]
    assert peer.faults.injected == {kind: 3}


async def test_a_list_goes_on_where_it_was(blobs: AccountBlobs, peer: Storage) -> None:
    """Each page is one request, however many came before."""
    for number in range(30):
        await blobs.put(f"a/{number:03}", b"x")
    peer.asked.clear()
    seen: list[str] = []
    while page := await blobs.list("a/", after=seen[-1] if seen else "", limit=5):
        seen += page
        await blobs.delete(page[0])
    assert seen == [f"a/{number:03}" for number in range(30)]
    assert peer.asked["blobs/list"] <= 8


@pytest.mark.parametrize(("kind", "said"), [("throttled", "ServerBusy"), ("dropped", "did not answer")])
async def test_an_outage_is_said_in_time(kind: str, said: str, peer: Storage) -> None:
    """With what to look at, and nothing of a key."""
    account = Account(peer.environment, nobody, within_s=0.3)
    peer.faults.plan(kind, times=1000)
    with pytest.raises(StoreUnavailable, match=said) as raised:
        await AccountBlobs(account).get("a")
    assert "Eby8" not in str(raised.value)
    await account.close()


async def test_an_answer_that_never_comes_is_not_waited_for(peer: Storage) -> None:
    """It is asked again, and what the first one did is known."""
    account = Account(peer.environment, nobody, answer_s=0.05)
    state = AppendBlobState(account)
    version = await state.append("log", b"one", START)
    peer.faults.plan("slow", where="state/append")
    await state.append("log", b"two", version)
    assert list((await state.read("log")).entries) == [b"one", b"two"]
    assert peer.asked["state/append"] > 2
    await account.close()


async def test_a_container_that_is_not_there_is_said_at_once(peer: Storage) -> None:
    """With who makes it."""
    account = Account({**peer.environment, "Storage__containers": "nobodys"}, nobody)
    with pytest.raises(StoreUnavailable, match="deploy infra"):
        await AccountBlobs(account).put("a", b"x")
    blobs, state = AccountBlobs(account), AppendBlobState(account)
    for asked in (
        blobs.get("a"), blobs.delete("a"), blobs.list(""), blobs.put("b", b"x" * 2_000_000, create_only=True),
        state.read("log"), state.append("log", b"x", START), state.roll("log", b"x", START), state.logs(),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable, match="deploy infra"):
            await asked
    await account.close()


async def test_what_is_closed_says_so(account: Account) -> None:
    """Instead of opening connections that nobody closes."""
    await account.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await AccountBlobs(account).get("a")


async def test_two_owners_in_a_storm_lose_and_double_nothing(
    state: AppendBlobState, rival: AppendBlobState, peer: Storage
) -> None:
    """Every entry that was acknowledged is there once, in its owner's order; every kind of fault has struck."""
    peer.faults.storm(7, dict.fromkeys(KINDS, 0.03))
    chance = random.Random(7)
    acknowledged: set[str] = set()

    async def told(store: AppendBlobState) -> list[str]:
        while True:
            try:
                found = await store.read("log")
            except StoreUnavailable:
                continue
            return [*(found.snapshot or b"").decode().split(), *(one.decode().rstrip(".") for one in found.entries)]

    async def own(name: str, store: AppendBlobState) -> None:
        number = 0
        while number < 30 or len(peer.faults.injected) < len(KINDS):
            number = sum(entry.startswith(name) for entry in await told(store))
            try:
                found = await store.read("log")
                version = found.version
                if chance.random() < 0.3:
                    lines = [(found.snapshot or b"").decode(), *(entry.decode().rstrip(".") for entry in found.entries)]
                    version = await store.roll("log", " ".join(lines).strip().encode(), version)
                for _ in range(chance.randrange(1, 6)):
                    body = f"{name}{number}".encode() + b"." * chance.choice([0, 25_000])
                    version = await store.append("log", body, version)
                    acknowledged.add(f"{name}{number}")
                    number += 1
            except (FenceLost, StoreUnavailable):
                continue

    await asyncio.gather(own("a", state), own("b", rival))
    peer.faults.clear()
    entries = await told(state)
    for name in "ab":
        kept = [entry for entry in entries if entry.startswith(name)]
        assert kept == [f"{name}{number}" for number in range(len(kept))]
    assert acknowledged <= set(entries)
    assert await told(rival) == entries
    assert set(peer.faults.injected) == set(KINDS)


def test_settings_name_the_account_or_an_emulator(peer: Storage) -> None:
    """An account is reached as the identity; a key is an emulator's."""
    stranger = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"
    for wrong in ({}, {"Storage__blobServiceUri": "http://a.blob.core.windows.net"}, {"Storage": stranger}):
        with pytest.raises(ConfigError, match="Storage") as raised:
            Account(wrong, nobody)._open()
        assert "c2VjcmV0" not in str(raised.value)
    assert isinstance(Account(peer.environment, nobody)._open(), BlobServiceClient)
