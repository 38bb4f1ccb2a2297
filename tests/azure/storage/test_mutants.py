"""The storage account's adapters, of state and of blobs, broken on purpose (``tests.azure.mutants``)."""

from __future__ import annotations

import io
from typing import Any

import pytest
import xxhash
from azure.core.exceptions import AzureError, HttpResponseError

from flockiq.shared.adapters.azure.storage import uploads
from flockiq.shared.adapters.azure.storage.account import STATE, Account
from flockiq.shared.adapters.azure.storage.appends import AppendBlobs
from flockiq.shared.adapters.azure.storage.blobs import AccountBlobs
from flockiq.shared.adapters.azure.storage.generations import blob_name
from flockiq.shared.adapters.azure.storage.state import AppendBlobState
from flockiq.shared.errors import Conflict, FenceLost, FlockIQError, StoreUnavailable
from flockiq.shared.ports import StateVersion
from tests.azure.mutants import Behaviour, Kind, Mutant, broken, sound
from tests.peers.storage.peer import Storage

START = StateVersion(0, 0)
type Given = tuple[Account, Account, Storage]


@pytest.fixture
def given(account: Account, other: Account, peer: Storage) -> Given:
    """The account, as two processes have it."""
    return account, other, peer


async def refuses_an_owner_that_was_overtaken(one: Account, other: Account, _peer: Storage) -> None:
    """Another owner has written since it read."""
    old, new = AppendBlobState(one), AppendBlobState(other)
    version = await old.append("log", b"one", START)
    await new.append("log", b"new", (await new.read("log")).version)
    with pytest.raises(FenceLost):
        await old.append("log", b"stale", version)
    assert list((await new.read("log")).entries) == [b"one", b"new"]


async def writes_once_what_was_not_answered(one: Account, _other: Account, peer: Storage) -> None:
    """The first try was done, and its answer lost."""
    store = AppendBlobState(one)
    version = await store.append("log", b"one", START)
    peer.faults.plan("unanswered", where="state/append")
    version = await store.append("log", b"two", version)
    await store.append("log", b"three", version)
    assert list((await store.read("log")).entries) == [b"one", b"two", b"three"]


async def says_what_was_not_written(one: Account, _other: Account, peer: Storage) -> None:
    """The service takes nothing."""
    store = AppendBlobState(one)
    version = await store.append("log", b"one", START)
    peer.faults.plan("throttled", times=1000)
    with pytest.raises(StoreUnavailable):
        await store.append("log", b"two", version)
    peer.faults.clear()


async def says_what_blob_was_not_kept(one: Account, _other: Account, peer: Storage) -> None:
    """The service takes nothing."""
    peer.faults.plan("throttled", times=1000)
    with pytest.raises(StoreUnavailable):
        await AccountBlobs(one).put("a", b"x")
    peer.faults.clear()


async def finds_damage(one: Account, _other: Account, peer: Storage) -> None:
    """A byte of an entry has changed."""
    store = AppendBlobState(one)
    version = await store.append("log", b"one", START)
    peer.damage("state", "log/000000000000.log", version.length - 1)
    with pytest.raises(FlockIQError, match="not what was written"):
        await store.read("log")


async def makes_a_blob_for_one(one: Account, other: Account, peer: Storage) -> None:
    """The second finds it there; the first knows its own though its answer was lost."""
    peer.faults.plan("unanswered", where="blobs/put")
    await AccountBlobs(one).put("a", b"first", create_only=True)
    with pytest.raises(Conflict):
        await AccountBlobs(other).put("a", b"second", create_only=True)
    assert await AccountBlobs(other).get("a") == b"first"


async def follows_a_roll(one: Account, other: Account, _peer: Storage) -> None:
    """An owner of the first generation appends to it after it was rolled twice, and collected."""
    old, new = AppendBlobState(one), AppendBlobState(other)
    version = await new.roll("log", b"s", await new.append("log", b"one", START))
    await new.close()
    with pytest.raises(FenceLost):
        await old.append("log", b"stale", START)
    assert (await old.read("log")).version == version


def fences_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block is appended wherever the blob ends."""

    async def anyway(self: AppendBlobs, name: str, _at: int, block: bytes) -> bool:
        async def append(container: Any) -> bool:
            await container.get_blob_client(name).append_block(io.BytesIO(block))
            return True

        return await self._account.do("state.append", STATE, append)

    monkeypatch.setattr(AppendBlobs, "place", anyway)


def what_lies_there_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refused append the fence is taken for lost, without reading what is there."""

    async def nothing(*_: Any) -> bytes:
        return b""

    monkeypatch.setattr(AppendBlobs, "_kept", nothing)


def appended_again_at_the_new_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refused append the same is appended where the blob ends now."""
    place = AppendBlobs.place

    async def again(self: AppendBlobs, name: str, at: int, block: bytes) -> bool:
        if await place(self, name, at, block):
            return True
        found = await self.read(name, 0)
        return await place(self, name, len(found or b""), block)

    monkeypatch.setattr(AppendBlobs, "place", again)


def acknowledgements_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service did not answer is taken for done."""

    async def do(self: Account, _operation: str, container: str, work: Any) -> Any:
        client = self._open().get_container_client(f"{self._prefix}-{container}")
        try:
            return await work(client)
        except HttpResponseError as error:
            if error.status_code == 503:
                return True
            raise
        except AzureError:
            return True

    monkeypatch.setattr(Account, "do", do)


def checksums_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame's body is whatever lies there."""

    class Agreeing(int):
        def __eq__(self, _other: object) -> bool:
            return True

        def __ne__(self, _other: object) -> bool:
            return False

        __hash__ = int.__hash__

    summed = xxhash.xxh3_64_intdigest
    monkeypatch.setattr(xxhash, "xxh3_64_intdigest", lambda body, seed=0: Agreeing(summed(body, seed)))


def what_exists_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that is to be new is written over what is there."""
    init = uploads.Upload.__init__

    def over(self: uploads.Upload, name: str, body: bytes, **_: Any) -> None:
        init(self, name, body, create_only=False)

    monkeypatch.setattr(uploads.Upload, "__init__", over)


def own_blobs_not_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is there is taken for another's."""

    async def never(*_: Any) -> bool:
        return False

    monkeypatch.setattr(uploads.Upload, "_wrote", never)


def generations_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation's blob that is gone is made, without looking for a newer one."""

    async def make(self: AppendBlobState, log: str, generation: int) -> bool:
        await self._blobs.make(blob_name(log, generation))
        return True

    monkeypatch.setattr(AppendBlobState, "_make", make)


MUTANTS = [
    Mutant("state", Kind.FENCE_IGNORED, fences_ignored, refuses_an_owner_that_was_overtaken),
    Mutant("state", Kind.FENCE_IGNORED, fences_ignored, writes_once_what_was_not_answered),
    Mutant("state", Kind.ANSWER_ASSUMED, acknowledgements_assumed, says_what_was_not_written),
    Mutant("state", Kind.NOT_READ_AGAIN, appended_again_at_the_new_end, refuses_an_owner_that_was_overtaken),
    Mutant("state", Kind.NOT_READ_AGAIN, what_lies_there_not_looked_at, writes_once_what_was_not_answered),
    Mutant("state", Kind.OTHER, checksums_not_compared, finds_damage),
    Mutant("state", Kind.OTHER, generations_made_anew, follows_a_roll),
    Mutant("blobs", Kind.FENCE_IGNORED, what_exists_replaced, makes_a_blob_for_one),
    Mutant("blobs", Kind.ANSWER_ASSUMED, acknowledgements_assumed, says_what_blob_was_not_kept),
    Mutant("blobs", Kind.NOT_READ_AGAIN, own_blobs_not_known_again, makes_a_blob_for_one),
]


@sound(MUTANTS)
async def test_it_holds_of_the_adapters(behaviour: Behaviour, given: Given) -> None:
    """As they are."""
    await behaviour(*given)


@broken(MUTANTS)
async def test_a_broken_adapter_is_found(mutant: Mutant, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what holds of a sound one."""
    await mutant.is_found(monkeypatch, *given)
