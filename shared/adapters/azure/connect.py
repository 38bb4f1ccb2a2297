"""The Azure adapters of the ports, and the identity they share; nothing is reached before its first use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property

from azure.core.credentials_async import AsyncTokenCredential

from flockiq.shared.adapters.azure.alerts import CosmosAlerts
from flockiq.shared.adapters.azure.cosmos import Cosmos, connect
from flockiq.shared.adapters.azure.events.namespace import Namespace
from flockiq.shared.adapters.azure.events.stream import HubEvents
from flockiq.shared.adapters.azure.identity import credential
from flockiq.shared.adapters.azure.kusto.analytics import KustoAnalytics
from flockiq.shared.adapters.azure.kusto.cluster import Cluster
from flockiq.shared.adapters.azure.registry import CosmosRegistry
from flockiq.shared.adapters.azure.secrets import VaultSecrets
from flockiq.shared.adapters.azure.storage.account import Account
from flockiq.shared.adapters.azure.storage.blobs import AccountBlobs
from flockiq.shared.adapters.azure.storage.state import AppendBlobState
from flockiq.shared.ports import AlertStore, Analytics, Blobs, EventStream, Registry, Secrets, StateStore
from flockiq.shared.settings import Settings


class Azure:
    """The adapters over Azure's services; see ``shared.services.Family``.

    ``environment`` is where the resources are named, in the words of the Functions host and the SDKs.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._environment = environment

    @cached_property
    def credential(self) -> AsyncTokenCredential:
        """The identity of every client of this process."""
        return credential(self._environment)

    @cached_property
    def cosmos(self) -> Cosmos:
        """The one database of alerts, cursors and leases."""
        return connect(self._environment, lambda: self.credential)

    @cached_property
    def storage(self) -> Account:
        """The one storage account of state and blobs."""
        return Account(self._environment, lambda: self.credential)

    def events(self, blobs: Blobs) -> EventStream:
        """Event Hubs; what is too large for an event is kept in the blobs."""
        namespace = Namespace(self._environment, lambda: self.credential)
        return HubEvents(namespace, self._settings.partitions, blobs)

    def state(self) -> StateStore:
        """State logs in append blobs."""
        return AppendBlobState(self.storage)

    def alerts(self) -> AlertStore:
        """Alerts in Cosmos DB."""
        return CosmosAlerts(self.cosmos)

    def registry(self) -> Registry:
        """Cursors and leases in Cosmos DB."""
        return CosmosRegistry(self.cosmos)

    def analytics(self, blobs: Blobs) -> Analytics:
        """History in the Eventhouse; what could not be ingested waits in the blobs."""
        return KustoAnalytics(Cluster(self._environment, lambda: self.credential), blobs)

    def secrets(self) -> Secrets:
        """Secrets from Key Vault."""
        return VaultSecrets(self._environment, lambda: self.credential)

    def blobs(self) -> Blobs:
        """Blobs in Azure Storage."""
        return AccountBlobs(self.storage)

    async def close(self) -> None:
        """End the storage account's connections, then the identity's own."""
        if "storage" in self.__dict__:
            await self.storage.close()
        if "credential" in self.__dict__:
            await self.credential.close()
