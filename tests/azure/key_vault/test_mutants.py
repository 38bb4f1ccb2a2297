"""Key Vault's adapter broken on purpose (``tests.azure.mutants``)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from azure.core.exceptions import AzureError

from flockiq.shared.adapters.azure import secrets as module
from flockiq.shared.adapters.azure.secrets import VaultSecrets
from flockiq.shared.errors import ConfigError, NotFound, StoreUnavailable
from tests.azure.key_vault.conftest import Opens
from tests.azure.mutants import Behaviour, Kind, Mutant, broken, sound
from tests.peers.key_vault.peer import KeyVault

type Given = tuple[Opens, KeyVault]


@pytest.fixture
def given(opens: Opens, peer: KeyVault) -> Given:
    """The vault."""
    return opens, peer


async def reads_anew_for_who_was_refused(opens: Opens, peer: KeyVault) -> None:
    """A source answered 401: the secret was rotated, and the old one is still kept."""
    peer.set("erp", "old")
    secrets = opens()
    assert await secrets.get("erp") == "old"
    peer.set("erp", "new")
    assert await secrets.get("erp", fresh=True) == "new"
    assert await secrets.get("erp") == "new"


async def says_what_was_not_set(opens: Opens, peer: KeyVault) -> None:
    """The vault takes nothing, or refuses this one: whoever rotates must not go on as if it had."""
    secrets = opens(within_s=0.3)
    peer.faults.plan("unavailable", times=1_000, where="set/")
    with pytest.raises(StoreUnavailable):
        await secrets.set("token", "new")
    peer.faults.clear()
    with pytest.raises(ConfigError):
        await secrets.set("another", "new")
    for name in ("token", "another"):
        with pytest.raises(NotFound):
            await secrets.get(name)


async def gives_nothing_old_to_who_is_shut_out(opens: Opens, peer: KeyVault) -> None:
    """The vault answers that this identity is no longer let in."""
    peer.set("erp", "one")
    secrets = opens(keep_s=0.01)
    await secrets.get("erp")
    await asyncio.sleep(0.02)
    peer.faults.plan("forbidden", times=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await secrets.get("erp")


async def asks_once_for_many(opens: Opens, peer: KeyVault) -> None:
    """Twenty readers whom a source refused at once."""
    peer.set("erp", "one")
    secrets = opens()
    await secrets.get("erp")
    peer.asked.clear()
    await asyncio.gather(*(secrets.get("erp", fresh=True) for _ in range(20)))
    assert peer.asked["get/erp"] == 1


async def is_never_stale_when_fresh_is_wanted(opens: Opens, peer: KeyVault) -> None:
    """A single-use token that was used must not be sent again."""
    peer.set("token", "used")
    secrets = opens(within_s=0.2)
    await secrets.get("token")
    peer.faults.plan("unavailable", times=1000)
    with pytest.raises(StoreUnavailable):
        await secrets.get("token", fresh=True)


def silence_taken_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the vault did not answer is taken for done."""
    ask = VaultSecrets._ask

    async def assume(self: VaultSecrets, what: str, work: Any, within_s: float) -> Any:
        try:
            return await ask(self, what, work, within_s)
        except StoreUnavailable:
            return "assumed"

    monkeypatch.setattr(VaultSecrets, "_ask", assume)


def what_is_kept_is_given_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also to who wants it fresh."""
    get = VaultSecrets.get

    async def kept(self: VaultSecrets, name: str, *, fresh: bool = False) -> str:
        del fresh
        return await get(self, name)

    monkeypatch.setattr(VaultSecrets, "get", kept)


def acknowledgements_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the vault did not answer, or refused, is taken for done."""

    async def assume(work: Callable[[], Awaitable[Any]], *_judge: Any, **_given: Any) -> Any:
        try:
            return await work()
        except AzureError:
            return None

    monkeypatch.setattr(module, "persist", assume)


def refusals_taken_for_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of no is passed over like no answer."""

    class Other(StoreUnavailable):
        """Nothing that is raised."""

    monkeypatch.setattr(module, "_Refused", StoreUnavailable)
    get = VaultSecrets._read

    async def read(self: VaultSecrets, name: str, *, within_s: float) -> str:
        try:
            return await get(self, name, within_s=within_s)
        except StoreUnavailable as error:
            monkeypatch.setattr(module, "_Refused", Other)
            raise StoreUnavailable(str(error)) from error

    monkeypatch.setattr(VaultSecrets, "_read", read)


def each_asks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at what another has just read."""

    class Open:
        """A lock that locks nobody out."""

        async def __aenter__(self) -> None:
            """Enter at once."""

        async def __aexit__(self, *_: object) -> None:
            """Leave."""

    begin = VaultSecrets.__init__

    def made(self: VaultSecrets, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self._asking.default_factory = Open  # type: ignore[assignment]

    monkeypatch.setattr(VaultSecrets, "__init__", made)


MUTANTS = [
    Mutant("secrets", Kind.NOT_READ_AGAIN, what_is_kept_is_given_to_all, reads_anew_for_who_was_refused),
    Mutant("secrets", Kind.NOT_READ_AGAIN, what_is_kept_is_given_to_all, is_never_stale_when_fresh_is_wanted),
    Mutant("secrets", Kind.ANSWER_ASSUMED, acknowledgements_assumed, says_what_was_not_set),
    Mutant("secrets", Kind.ANSWER_ASSUMED, silence_taken_for_an_answer, says_what_was_not_set),
    Mutant("secrets", Kind.ANSWER_ASSUMED, silence_taken_for_an_answer, is_never_stale_when_fresh_is_wanted),
    Mutant("secrets", Kind.OTHER, refusals_taken_for_silence, gives_nothing_old_to_who_is_shut_out),
    Mutant("secrets", Kind.OTHER, each_asks_for_itself, asks_once_for_many),
]


@sound(MUTANTS)
async def test_it_holds_of_the_adapter(behaviour: Behaviour, given: Given) -> None:
    """As it is."""
    await behaviour(*given)


@broken(MUTANTS)
async def test_a_broken_adapter_is_found(mutant: Mutant, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what holds of a sound one."""
    await mutant.is_found(monkeypatch, *given)
