"""The secrets in Key Vault, over the peer, as the identity that App Service gives the app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from azure.keyvault.secrets._shared import http_challenge_cache as ChallengeCache  # noqa: N812 - the SDK's name for it

from flockiq.shared.adapters.azure.identity import credential
from flockiq.shared.adapters.azure.secrets import VaultSecrets
from tests.azure.identities import find_here, trust
from tests.peers.certificates import Authority
from tests.peers.key_vault.peer import HOST, KeyVault

type Opens = Callable[..., VaultSecrets]


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVault]:
    """A vault that this process finds and trusts, in which only ``token`` may be set."""
    ChallengeCache.clear()  # the SDK remembers, for the whole process, what a vault asked for
    authority = Authority(tmp_path)
    trust(authority, monkeypatch)
    with KeyVault(authority.serving([HOST]), writable=["token"], slow_s=0.3) as peer:
        find_here(HOST, monkeypatch, port=peer.port)
        for name, value in peer.environment.items():
            monkeypatch.setenv(name, value)
        yield peer


@pytest.fixture
async def opens(peer: KeyVault) -> AsyncIterator[Opens]:
    """Opens the vault once more, with times of a test's size; all are closed at the end."""
    opened: list[VaultSecrets] = []
    identity = credential(peer.environment)

    def over(**times: float) -> VaultSecrets:
        opened.append(VaultSecrets(peer.environment, lambda: identity, **{"within_s": 2.0, **times}))
        return opened[-1]

    yield over
    for secrets in opened:
        await secrets.close()
    await identity.close()
