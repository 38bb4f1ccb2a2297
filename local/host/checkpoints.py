"""Who holds which partition and how far it is read, kept where every host sees it: the app's registry.

Azure's host keeps the same in blobs. An ownership is claimed on condition that nobody else has claimed it since
it was looked at; a checkpoint is simply written, by whoever has handled a batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec
from azure.eventhub.aio import CheckpointStore

from flockiq.shared.errors import Conflict
from flockiq.shared.ports import Registry


class Claim(msgspec.Struct, frozen=True):
    """A partition's owner, "" when it was given up; seconds since 1970."""

    owner: str
    at: float


class Checkpoint(msgspec.Struct, frozen=True):
    """The last event that is dealt with."""

    sequence: int
    offset: str


_claim = msgspec.json.Decoder(Claim).decode
_checkpoint = msgspec.json.Decoder(Checkpoint).decode


class RegistryCheckpoints(CheckpointStore):
    """The SDK's checkpoint store over a Registry. StoreUnavailable and Conflict are the SDK's to try again."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def list_ownership(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **_kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        """Who holds what."""
        prefix = _prefix("owners", eventhub_name, consumer_group)
        return [
            {
                "fully_qualified_namespace": fully_qualified_namespace,
                "eventhub_name": eventhub_name,
                "consumer_group": consumer_group,
                "partition_id": key.removeprefix(prefix),
                "owner_id": (claim := _claim(document.value)).owner,
                "last_modified_time": claim.at,
                "etag": document.etag,
            }
            for key, document in (await self._registry.list(prefix)).items()
        ]

    async def claim_ownership(
        self, ownership_list: Iterable[dict[str, Any]], **_kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        """Claim each, unless another did meanwhile; those that were claimed."""
        claimed = []
        for wanted in ownership_list:
            key = _prefix("owners", wanted["eventhub_name"], wanted["consumer_group"]) + wanted["partition_id"]
            claim = Claim(wanted["owner_id"], time.time())
            try:
                etag = await self._registry.put(key, msgspec.json.encode(claim), wanted.get("etag"))
            except Conflict:
                continue
            claimed.append({**wanted, "etag": etag, "last_modified_time": claim.at})
        return claimed

    async def update_checkpoint(self, checkpoint: dict[str, str | int | None], **_kwargs: Any) -> None:
        """Write how far a partition is read; of two writers the last one wins, and events come again at worst."""
        hub, group = str(checkpoint["eventhub_name"]), str(checkpoint["consumer_group"])
        key = _prefix("checkpoints", hub, group) + str(checkpoint["partition_id"])
        value = msgspec.json.encode(Checkpoint(int(checkpoint["sequence_number"] or 0), str(checkpoint["offset"])))
        while True:
            document = await self._registry.get(key)
            try:
                await self._registry.put(key, value, document.etag if document else None)
            except Conflict:
                continue
            return

    async def list_checkpoints(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **_kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        """How far each partition is read."""
        return [
            {
                "fully_qualified_namespace": fully_qualified_namespace,
                "eventhub_name": eventhub_name,
                "consumer_group": consumer_group,
                "partition_id": str(partition),
                "offset": checkpoint.offset,
                "sequence_number": checkpoint.sequence,
            }
            for partition, checkpoint in (await self.read(eventhub_name, consumer_group)).items()
        ]

    async def read(self, hub: str, group: str) -> dict[int, Checkpoint]:
        """{partition: how far}."""
        prefix = _prefix("checkpoints", hub, group)
        documents = await self._registry.list(prefix)
        return {int(key.removeprefix(prefix)): _checkpoint(document.value) for key, document in documents.items()}


def _prefix(what: str, hub: str, group: str) -> str:
    return f"host/{what}/{hub}/{group}/"
