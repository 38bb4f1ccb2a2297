"""Cosmos DB as the app's identity, over TLS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flockiq.shared.adapters.azure.cosmos import CONTAINERS, Cosmos, connect
from flockiq.shared.adapters.azure.registry import CosmosRegistry
from flockiq.shared.errors import ConfigError, StoreUnavailable
from tests.azure.identities import Identity, find_here, trust
from tests.peers.certificates import Authority
from tests.peers.cosmos.peer import CosmosDB
from tests.peers.cosmos.signatures import KEY

HOST = "flockiq.documents.azure.com"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signed the account's certificate."""
    return Authority(tmp_path)


@pytest.fixture
def account(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[CosmosDB]:
    """An account over TLS that lets one identity in, and that this process finds and trusts."""
    find_here(HOST, monkeypatch)
    trust(authority, monkeypatch)
    with CosmosDB(CONTAINERS, tokens=["good"], certificate=authority.serving([HOST]), host=HOST) as peer:
        yield peer


async def test_an_identity_is_let_in(account: CosmosDB) -> None:
    """Its token is asked for once, and for this account."""
    identity = Identity("good")
    cosmos = Cosmos(account.endpoint, identity, within_s=2.0)
    registry = CosmosRegistry(cosmos)
    etag = await registry.put("k", b"1", None)
    assert await registry.get("k") == (b"1", etag)
    assert identity.given == 1
    assert identity.scopes == {f"https://{HOST}/.default"}
    await cosmos.close()


async def test_a_token_that_ends_is_followed_by_another(account: CosmosDB) -> None:
    """The service refuses it, and is asked again with a new one."""
    identity = Identity("good", "late", "good", ends_in_s=1.0)
    cosmos = Cosmos(account.endpoint, identity, within_s=3.0)
    registry = CosmosRegistry(cosmos)
    await registry.put("k", b"1", None)
    assert identity.given >= 3
    await cosmos.close()


async def test_an_identity_without_a_token_is_said_so(account: CosmosDB) -> None:
    """At once, with what to do about it."""
    cosmos = Cosmos(account.endpoint, Identity(), within_s=30.0)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="az login"):
        await CosmosRegistry(cosmos).get("k")
    assert time.monotonic() - began < 5.0
    await cosmos.close()


async def test_a_certificate_of_nobody_known_is_not_trusted(
    account: CosmosDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever serves it is told nothing, and given no token."""
    (tmp_path / "elsewhere").mkdir()
    trust(Authority(tmp_path / "elsewhere"), monkeypatch)
    cosmos = Cosmos(account.endpoint, Identity("good"), within_s=0.3)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await CosmosRegistry(cosmos).get("k")
    assert account.asked == []
    await cosmos.close()


def test_settings_name_the_account_or_an_emulator() -> None:
    """An account is reached as the identity; a key is an emulator's."""

    def never() -> Identity:
        raise AssertionError("an emulator was asked for a token")

    identity = Identity("good")
    account = connect({"CosmosDB__accountEndpoint": "https://a.documents.azure.com:443/"}, lambda: identity)
    assert (account._credential, account._database) == (identity, "flockiq")
    emulator = {"CosmosDB": f"AccountEndpoint=http://127.0.0.1:8081/;AccountKey={KEY};", "CosmosDB__database": "d"}
    assert (connect(emulator, never)._credential, connect(emulator, never)._database) == (KEY, "d")
    stranger = {"CosmosDB": f"AccountEndpoint=https://a.documents.azure.com/;AccountKey={KEY};"}
    for wrong in ({}, {"CosmosDB__accountEndpoint": "http://a.documents.azure.com/"}, stranger):
        with pytest.raises(ConfigError, match="CosmosDB") as raised:
            connect(wrong, lambda: identity)
        assert KEY not in str(raised.value)
