"""The peers, each started when it is first asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from tests.peers.certificates import Authority
from tests.peers.cosmos.peer import CosmosDB
from tests.peers.event_hubs.peer import HOST as HUBS_HOST
from tests.peers.event_hubs.peer import EventHubs
from tests.peers.key_vault.peer import HOST as VAULT_HOST
from tests.peers.key_vault.peer import KeyVault
from tests.peers.kusto.peer import Eventhouse
from tests.peers.storage.peer import Storage
from tests.peers.tokens import Issuer

HUBS: Mapping[str, int] = {"changes": 4, "resolved": 4, "work": 4, "files": 1, "entities": 4, "deltas": 4}

CONTAINERS = Path(__file__).resolve().parents[2] / "shared" / "adapters" / "azure" / "cosmos.json"
TENANTS = ("t",)
"""What a test's tenant is called."""


class Peers:
    """Azure on 127.0.0.1, from entering to leaving; alerts of ``tenants`` are on both physical partitions.

    With ``hubs_by_identity`` Event Hubs is as in Azure, over TLS and by the identity's tokens; else as the emulator is.
    """

    def __init__(self, tenants: Sequence[str] = TENANTS, *, hubs_by_identity: bool = False) -> None:
        self._tenants = tenants
        self._hubs_by_identity = hubs_by_identity

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @cached_property
    def event_hubs(self) -> EventHubs:
        """Event Hubs, with the app's hubs. By identity: found here under its host's name, and its authority trusted."""
        certificate = self.authority.serving([HUBS_HOST]) if self._hubs_by_identity else None
        return self._stack.enter_context(EventHubs(HUBS, issuer=self.issuer, certificate=certificate))

    @cached_property
    def issuer(self) -> Issuer:
        """Who gives the app's identity its tokens."""
        return Issuer()

    @cached_property
    def cosmos(self) -> CosmosDB:
        """Cosmos DB, with the containers that infra/ makes."""
        containers = json.loads(CONTAINERS.read_text(encoding="utf-8"))
        return self._stack.enter_context(CosmosDB(containers, within={"alerts": self._tenants}))

    @cached_property
    def storage(self) -> Storage:
        """Azure Storage, with the app's containers. ``azurite.Missing`` if it is not installed."""
        return self._stack.enter_context(Storage())

    @cached_property
    def authority(self) -> Authority:
        """Who signed the certificates of the peers that serve TLS."""
        return Authority(Path(self._stack.enter_context(TemporaryDirectory())))

    @cached_property
    def key_vault(self) -> KeyVault:
        """Key Vault, and the app's identity. Whoever asks it must find its host here, and trust the authority."""
        return self._stack.enter_context(KeyVault(self.authority.serving([VAULT_HOST]), issuer=self.issuer))

    @cached_property
    def eventhouse(self) -> Eventhouse:
        """An Eventhouse database, with the tables of eventhouse/."""
        return self._stack.enter_context(Eventhouse())

    def environment(self, ports: Collection[str]) -> Mapping[str, str]:
        """The app settings that name the peers of ``ports``, which are started."""
        settings: dict[str, str] = {}
        if "events" in ports:
            settings |= self.event_hubs.environment
            if self._hubs_by_identity:
                settings |= self.key_vault.identity
        if {"alerts", "registry"} & set(ports):
            settings |= self.cosmos.environment
        if {"state", "blobs"} & set(ports):
            settings |= self.storage.environment
        if "secrets" in ports:
            settings |= self.key_vault.environment
        if "analytics" in ports:
            settings |= self.eventhouse.environment
        return settings
