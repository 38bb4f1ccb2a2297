"""The peers, each started when it is first asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Self

from tests.peers.cosmos.peer import CosmosDB
from tests.peers.event_hubs.peer import EventHubs
from tests.peers.storage.peer import Storage

HUBS: Mapping[str, int] = {"changes": 4, "resolved": 4, "work": 4, "files": 1, "entities": 4, "deltas": 4}

CONTAINERS = Path(__file__).resolve().parents[2] / "shared" / "adapters" / "azure" / "cosmos.json"
TENANTS = ("t",)
"""What a test's tenant is called whose alerts are on both physical partitions."""


class Peers:
    """Azure on 127.0.0.1, from entering to leaving."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @cached_property
    def event_hubs(self) -> EventHubs:
        """Event Hubs, with the app's hubs."""
        return self._stack.enter_context(EventHubs(HUBS))

    @cached_property
    def cosmos(self) -> CosmosDB:
        """Cosmos DB, with the containers that infra/ makes."""
        containers = json.loads(CONTAINERS.read_text(encoding="utf-8"))
        return self._stack.enter_context(CosmosDB(containers, within={"alerts": TENANTS}))

    @cached_property
    def storage(self) -> Storage:
        """Azure Storage, with the app's containers. ``azurite.Missing`` if it is not installed."""
        return self._stack.enter_context(Storage())

    def environment(self, ports: Collection[str]) -> Mapping[str, str]:
        """The app settings that name the peers of ``ports``, which are started."""
        settings: dict[str, str] = {}
        if "events" in ports:
            settings |= self.event_hubs.environment
        if {"alerts", "registry"} & set(ports):
            settings |= self.cosmos.environment
        if {"state", "blobs"} & set(ports):
            settings |= self.storage.environment
        return settings
