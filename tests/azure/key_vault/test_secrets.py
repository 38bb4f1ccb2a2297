"""Secrets in Key Vault, beyond what every Secrets promises; each fault of the vault, and mistakes planted."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from flockiq.shared.adapters.azure.secrets import VaultSecrets
from flockiq.shared.errors import ConfigError, NotFound, StoreUnavailable
from tests.azure.identities import Identity, trust
from tests.azure.key_vault.conftest import Opens
from tests.peers.certificates import Authority
from tests.peers.key_vault.peer import KINDS, KeyVault

MEND = ("throttled", "unavailable", "dropped", "unanswered", "slow", "expired")


async def test_a_secret_is_asked_for_once_in_a_while(opens: Opens, peer: KeyVault) -> None:
    """However many ask for it at once, and again; the first asks without a token, and is told where to get one."""
    peer.set("erp", "one")
    secrets = opens()
    assert await asyncio.gather(*(secrets.get("erp") for _ in range(20))) == ["one"] * 20
    assert (peer.asked["get/erp"], peer.asked["identity"]) == (2, 1)
    peer.set("erp", "two")
    assert await secrets.get("erp") == "one"
    assert peer.asked["get/erp"] == 2


async def test_a_rotated_secret_is_seen_without_a_restart(opens: Opens, peer: KeyVault) -> None:
    """Once it has been kept for its time."""
    peer.set("erp", "one")
    secrets = opens(keep_s=0.05)
    assert await secrets.get("erp") == "one"
    peer.set("erp", "two")
    await asyncio.sleep(0.06)
    assert await secrets.get("erp") == "two"


async def test_those_who_want_it_fresh_share_one_answer(opens: Opens, peer: KeyVault) -> None:
    """Of twenty readers that a source refused, not each asks the vault for itself."""
    peer.set("erp", "one")
    secrets = opens()
    await secrets.get("erp")
    peer.set("erp", "two")
    peer.asked.clear()
    peer.faults.plan("slow")
    assert await asyncio.gather(*(secrets.get("erp", fresh=True) for _ in range(20))) == ["two"] * 20
    assert peer.asked["get/erp"] == 1


async def test_an_old_value_is_given_while_the_vault_is_down(
    opens: Opens, peer: KeyVault, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, and said; never to who wants it fresh."""
    peer.set("erp", "s3cret")
    secrets = opens(keep_s=0.01, within_s=0.5)
    await secrets.get("erp")
    await asyncio.sleep(0.02)
    peer.faults.plan("unavailable", times=1000)
    peer.asked.clear()
    with caplog.at_level(logging.INFO):
        assert [await secrets.get("erp") for _ in range(5)] == ["s3cret"] * 5
    assert peer.asked["get/erp"] == 1
    assert "secret erp is given as it was" in caplog.text
    with pytest.raises(StoreUnavailable, match="503"):
        await secrets.get("erp", fresh=True)
    with pytest.raises(StoreUnavailable):
        await secrets.get("other")


async def test_an_old_value_is_not_given_for_ever(opens: Opens, peer: KeyVault) -> None:
    """Only for so long as ``stale_s`` says."""
    peer.set("erp", "one")
    secrets = opens(keep_s=0.01, stale_s=0.05, within_s=0.2)
    await secrets.get("erp")
    await asyncio.sleep(0.06)
    peer.faults.plan("unavailable", times=1000)
    with pytest.raises(StoreUnavailable):
        await secrets.get("erp")


async def test_an_identity_that_is_no_longer_let_in_is_given_nothing_old(opens: Opens, peer: KeyVault) -> None:
    """The vault answered: it said no."""
    peer.set("erp", "one")
    secrets = opens(keep_s=0.01)
    await secrets.get("erp")
    await asyncio.sleep(0.02)
    peer.faults.plan("forbidden", times=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Key Vault Secrets User"):
            await secrets.get("erp")
    assert await secrets.get("erp") == "one"


async def test_a_secret_that_is_gone_is_not_found(opens: Opens, peer: KeyVault) -> None:
    """Deleted or disabled, whatever was read before."""
    peer.set("erp", "one")
    peer.set("crm", "one")
    secrets = opens()
    await secrets.get("erp")
    peer.delete("erp")
    peer.disable("crm")
    with pytest.raises(NotFound, match="not set"):
        await secrets.get("erp", fresh=True)
    with pytest.raises(NotFound, match="disabled"):
        await secrets.get("crm")
    with pytest.raises(NotFound):
        await secrets.get("erp")


async def test_a_secret_that_can_not_be_set_says_why(opens: Opens, peer: KeyVault) -> None:
    """And never what it was to be."""
    secrets = opens()
    peer.set("token", "x")
    peer.delete("token")
    for name, value, why in (
        ("erp", "hidden", "Secrets Officer"),
        ("token", "hidden", "recover it"),
        ("token-2", "hidden", "Secrets Officer"),
    ):
        with pytest.raises(ConfigError, match=why) as raised:
            await secrets.set(name, value)
        assert "hidden" not in str(raised.value)
    peer.faults.plan("forbidden")
    with pytest.raises(ConfigError, match="Secrets Officer"):
        await secrets.set("token", "hidden")


async def test_a_value_too_large_is_refused(opens: Opens) -> None:
    """Before it is taken for kept."""
    secrets = opens()
    with pytest.raises(ConfigError, match="25 kB"):
        await secrets.set("token", "x" * 25_001)
    with pytest.raises(NotFound):
        await secrets.get("token")


@pytest.mark.parametrize("kind", MEND)
async def test_a_secret_is_read_and_set_whatever_happens(kind: str, opens: Opens, peer: KeyVault) -> None:
    """At the vault, and where its token comes from."""
    secrets = opens(answer_s=0.2)
    peer.faults.plan(kind, where="set/token")
    peer.faults.plan(kind, where="get/token")
    if kind not in ("expired", "slow"):  # of a token that nobody has yet; what is slow there is waited for
        peer.faults.plan(kind, where="identity")
    await secrets.set("token", "one")
    assert await secrets.get("token", fresh=True) == "one"
    assert set(peer.versions("token")) == {"one"}
    assert peer.faults.injected[kind] >= 2


async def test_a_vault_away_is_said_in_time(opens: Opens, peer: KeyVault) -> None:
    """With what to look at."""
    secrets = opens(within_s=0.3)
    await secrets.set("token", "x")
    peer.faults.plan("dropped", times=1000, where="get/")
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await secrets.get("erp")


async def test_an_identity_without_a_token_is_said_at_once(peer: KeyVault) -> None:
    """With what to do about it."""
    secrets = VaultSecrets(peer.environment, Identity, within_s=30.0)
    with pytest.raises(StoreUnavailable, match="az login"):
        await asyncio.wait_for(secrets.get("erp"), 5.0)
    await secrets.close()


async def test_a_token_goes_to_nobody_who_is_not_known(
    opens: Opens, peer: KeyVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of an authority that nobody trusts ends it."""
    (tmp_path / "elsewhere").mkdir()
    trust(Authority(tmp_path / "elsewhere"), monkeypatch)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await opens(within_s=0.3).get("erp")
    assert not peer.asked


async def test_a_token_goes_to_no_vault_that_asks_for_another_s(
    opens: Opens, peer: KeyVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A challenge that names another resource is refused."""
    monkeypatch.setattr("tests.peers.key_vault.peer.RESOURCE", "https://management.azure.com")
    with pytest.raises(StoreUnavailable, match="KeyVault__vaultUri"):
        await opens().get("erp")
    assert peer.asked["identity"] == 0


async def test_no_value_is_logged_or_shown(opens: Opens, peer: KeyVault, caplog: pytest.LogCaptureFixture) -> None:
    """At any level, of any logger; nor by what keeps it."""
    peer.set("erp", "s3cret-value")
    secrets = opens(keep_s=0.01)
    with caplog.at_level(logging.DEBUG):
        await secrets.get("erp")
        await asyncio.sleep(0.02)
        peer.faults.plan("unavailable")
        await secrets.get("erp")
        await secrets.set("token", "s3cret-token")
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(secrets._kept)


async def test_what_is_closed_says_so_and_has_forgotten(opens: Opens, peer: KeyVault) -> None:
    """Instead of opening connections that nobody closes."""
    peer.set("erp", "one")
    secrets = opens()
    await secrets.get("erp")
    await secrets.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await secrets.get("erp")


@pytest.mark.parametrize("uri", ["", "http://flockiq.vault.azure.net/", "flockiq"])
async def test_settings_name_a_vault_over_https(uri: str) -> None:
    """Anything else is refused before anyone is asked."""
    with pytest.raises(ConfigError, match="KeyVault__vaultUri"):
        await VaultSecrets({"KeyVault__vaultUri": uri}, Identity).get("erp")


def test_every_kind_of_fault_is_struck_here() -> None:
    """The vault knows no other."""
    assert {*MEND, "forbidden"} == set(KINDS)
