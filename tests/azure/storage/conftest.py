"""The adapters over a storage account, against Azurite behind a proxy that makes things go wrong."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from azure.core.credentials_async import AsyncTokenCredential

from flockiq.shared.adapters.azure.storage.account import Account
from flockiq.shared.adapters.azure.storage.blobs import AccountBlobs
from flockiq.shared.adapters.azure.storage.state import AppendBlobState
from tests.peers.storage.azurite import Missing
from tests.peers.storage.peer import Storage


def nobody() -> AsyncTokenCredential:
    """No identity: an emulator is asked with its key."""
    raise AssertionError("an emulator was asked for a token")


@pytest.fixture
def peer() -> Iterator[Storage]:
    """An account with the app's containers."""
    try:
        with Storage(slow_s=0.1) as peer:
            yield peer
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture
async def opens(peer: Storage) -> AsyncIterator[Callable[[], Account]]:
    """Opens the account once more, with waits of a test's size; all are closed at the end."""
    opened: list[Account] = []

    def over() -> Account:
        opened.append(Account(peer.environment, nobody, within_s=2.0, answer_s=2.0))
        return opened[-1]

    yield over
    for account in opened:
        await account.close()


@pytest.fixture
def account(opens: Callable[[], Account]) -> Account:
    """The account."""
    return opens()


@pytest.fixture
def other(opens: Callable[[], Account]) -> Account:
    """The account, as another process has it."""
    return opens()


@pytest.fixture
def blobs(account: Account) -> AccountBlobs:
    """The blobs over it."""
    return AccountBlobs(account)


@pytest.fixture
async def state(account: Account) -> AsyncIterator[AppendBlobState]:
    """The state store over it; blocks are small, so that entries have several."""
    state = AppendBlobState(account, block_bytes=10_000)
    yield state
    await state.close()


@pytest.fixture
async def rival(other: Account) -> AsyncIterator[AppendBlobState]:
    """The state store of another process."""
    state = AppendBlobState(other, block_bytes=10_000)
    yield state
    await state.close()
