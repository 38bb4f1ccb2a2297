"""The storage account as the app's identity, over TLS."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flockiq.shared.adapters.azure.storage.account import Account
from flockiq.shared.adapters.azure.storage.blobs import AccountBlobs
from flockiq.shared.adapters.azure.storage.state import AppendBlobState
from flockiq.shared.errors import StoreUnavailable
from flockiq.shared.ports import StateVersion
from tests.azure.identities import Identity, find_here, trust
from tests.peers.certificates import Authority
from tests.peers.storage.azurite import Missing
from tests.peers.storage.peer import Storage

HOST = "flockiq.blob.core.windows.net"


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """An account over TLS that lets one identity in, and that this process finds and trusts."""
    authority = Authority(tmp_path)
    find_here(HOST, monkeypatch)
    trust(authority, monkeypatch)
    try:
        with Storage(tokens=["good"], certificate=authority.serving([HOST]), host=HOST) as peer:
            yield peer
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


async def test_an_identity_is_let_in(peer: Storage) -> None:
    """Its token is asked for once, and for storage."""
    identity = Identity("good")
    account = Account(peer.environment, lambda: identity)
    blobs, state = AccountBlobs(account), AppendBlobState(account)
    await blobs.put("a/b ü", b"x" * 2_000_000)
    assert await blobs.list("a/") == ["a/b ü"]
    version = await state.append("log", b"one", StateVersion(0, 0))
    assert (await state.read("log")).version == version
    assert (identity.given, identity.scopes) == (1, {"https://storage.azure.com/.default"})
    await account.close()


async def test_a_token_that_ends_is_followed_by_another(peer: Storage) -> None:
    """The service refuses it, and is asked again with a new one."""
    identity = Identity("late", "good", ends_in_s=1.0)
    account = Account(peer.environment, lambda: identity, within_s=3.0)
    await AccountBlobs(account).put("a", b"x")
    assert await AccountBlobs(account).get("a") == b"x"
    await account.close()


async def test_an_identity_without_a_token_is_said_so(peer: Storage) -> None:
    """At once, with what to do about it."""
    account = Account(peer.environment, Identity, within_s=30.0)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="az login"):
        await AccountBlobs(account).get("a")
    assert time.monotonic() - began < 5.0
    await account.close()


async def test_a_certificate_of_nobody_known_is_not_trusted(
    peer: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever serves it is told nothing."""
    (tmp_path / "elsewhere").mkdir()
    trust(Authority(tmp_path / "elsewhere"), monkeypatch)
    account = Account(peer.environment, lambda: Identity("good"), within_s=0.3)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await AccountBlobs(account).get("a")
    assert not peer.asked
    await account.close()
