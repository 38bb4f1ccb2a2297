"""Queued ingestion: clients leave blobs in a container and messages in a queue, and they are taken from there."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gzip
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from azure.core.exceptions import AzureError
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from azure.storage.blob.aio import BlobClient, BlobServiceClient
from azure.storage.queue import QueueSasPermissions, TextBase64DecodePolicy, generate_queue_sas
from azure.storage.queue.aio import QueueServiceClient

from flockiq.shared.errors import FlockIQError
from tests.peers.storage.azurite import ACCOUNT, KEY, azurite

_LOOK_S: Final = 0.05
_DAY: Final = dt.timedelta(days=1)

type Take = Callable[[Mapping[str, Any], bytes], Awaitable[None]]


class Queued:
    """A container and a queue in Azurite; what is queued goes to ``take`` after ``batching_s``. Missing without it."""

    def __init__(self, take: Take, batching_s: float) -> None:
        self._at = azurite()
        self._take = take
        self._batching_s = batching_s
        self._name = f"k{uuid.uuid4().hex[:12]}"
        blob = f"http://127.0.0.1:{self._at.blob}/{ACCOUNT}"
        queue = f"http://127.0.0.1:{self._at.queue}/{ACCOUNT}"
        self._blobs = BlobServiceClient(blob, credential={"account_name": ACCOUNT, "account_key": KEY})
        self._queues = QueueServiceClient(queue, credential={"account_name": ACCOUNT, "account_key": KEY})
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make them, and begin to take what comes."""
        await self._blobs.create_container(self._name)
        await self._queues.create_queue(self._name)
        self._task = asyncio.create_task(self._run())

    def resources(self) -> list[list[str]]:
        """What ``.get ingestion resources`` says: where to leave things, with a signature to do so."""
        ends = dt.datetime.now(dt.UTC) + _DAY
        blob = generate_account_sas(
            ACCOUNT, KEY, ResourceTypes(container=True, object=True),
            AccountSasPermissions(read=True, write=True, create=True), ends,
        )  # fmt: skip
        queue = generate_queue_sas(ACCOUNT, self._name, KEY, QueueSasPermissions(add=True), expiry=ends)
        container = f"{self._blobs.url}{self._name}?{blob}"
        queued = f"{self._queues.url}{self._name}?{queue}"
        status = f"{self._queues.url}status?{queue}"
        return [
            ["TempStorage", container],
            ["SecuredReadyForAggregationQueue", queued],
            ["FailedIngestionsQueue", queued],
            ["SuccessfulIngestionsQueue", queued],
            ["IngestionsStatusTable", status],
        ]

    async def close(self) -> None:
        """Stop, and remove them."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._blobs.delete_container(self._name)
            await self._queues.delete_queue(self._name)
        await self._blobs.close()
        await self._queues.close()

    async def _run(self) -> None:
        queue = self._queues.get_queue_client(self._name, message_decode_policy=TextBase64DecodePolicy())
        while True:
            await asyncio.sleep(_LOOK_S)
            with contextlib.suppress(AzureError):
                async for message in queue.receive_messages(visibility_timeout=1):
                    await asyncio.sleep(self._batching_s)
                    told = json.loads(message.content)
                    async with BlobClient.from_blob_url(told["BlobPath"]) as blob:
                        rows = await (await blob.download_blob()).readall()
                    with contextlib.suppress(
                        ConnectionError, FlockIQError
                    ):  # it stays queued; one that is refused, too
                        await self._take(told, gzip.decompress(rows) if rows.startswith(b"\x1f\x8b") else rows)
                        await queue.delete_message(message)
