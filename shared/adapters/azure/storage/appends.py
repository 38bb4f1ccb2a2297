"""Append blobs of the container ``state``: a block is placed where it belongs, once, or not at all."""

from __future__ import annotations

import io
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient, ContainerClient, StorageStreamDownloader

from flockiq.shared.adapters.azure.storage.account import STATE, Account, no_blob
from flockiq.shared.adapters.azure.storage.uploads import Upload

READ_BYTES: Final = 32 << 20  # in one answer: as much as the SDK asks for at once
_BEYOND_END: Final = 416
_CONDITION: Final = 412


class AppendBlobs:
    """Reads and appends; remembers how many blocks each blob that was read or appended to has."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._counts: dict[str, int] = {}

    def count(self, name: str) -> int:
        """How many blocks the blob has, as far as this process knows."""
        return self._counts.get(name, 0)

    async def make(self, name: str) -> bool:
        """Make an empty append blob; False if there was one."""

        async def make(container: ContainerClient) -> bool:
            try:
                # Not the SDK's default, which would replace what is there by an empty blob.
                await container.get_blob_client(name).create_append_blob(match_condition=MatchConditions.IfMissing)
            except (ResourceExistsError, ResourceModifiedError):
                return False
            return True

        return await self._account.do("state.make", STATE, make)

    async def place(self, name: str, at: int, block: bytes) -> bool:
        """Append ``block`` if the blob ends at ``at``. False if something else is there, or the blob ends before.

        True also if it lies there from a try whose answer was lost; what is missing of a torn one is appended.
        ``block`` must hold something that no other writer's does. ResourceNotFoundError if there is no such blob.
        """

        async def place(container: ContainerClient) -> bool:
            blob = container.get_blob_client(name)
            there = 0
            while True:
                try:
                    said = await blob.append_block(io.BytesIO(block[there:]), appendpos_condition=at + there)
                except HttpResponseError as error:
                    if error.status_code != _CONDITION:
                        raise
                    kept = await self._kept(blob, at, len(block))
                    if not kept or len(kept) <= there or not block.startswith(kept):
                        return False
                    if len(kept) == len(block):
                        return True
                    there = len(kept)
                else:
                    self._counts[name] = int(str(said["blob_committed_block_count"]))
                    return True

        return await self._account.do("state.append", STATE, place)

    async def read(self, name: str, start: int) -> bytes | None:
        """What lies from ``start`` to the end; None if there is no such blob, or it ends before ``start``."""

        async def read(container: ContainerClient) -> bytes | None:
            blob = container.get_blob_client(name)
            pieces: list[bytes] = []
            at = start
            try:
                while True:
                    # A piece at a time: the SDK's own pieces must all be of one version, and appends make new ones.
                    answer = await self._piece(blob, at)
                    if answer is None:
                        size = (await blob.get_blob_properties()).size
                        return None if size < at else b"".join(pieces)
                    pieces.append(await answer.readall())
                    self._counts[name] = answer.properties.append_blob_committed_block_count or 0
                    at += len(pieces[-1])
                    if at >= _whole(answer.properties):
                        return b"".join(pieces)
            except ResourceNotFoundError as error:
                no_blob(error)
                return None

        return await self._account.do("state.read", STATE, read)

    async def write(self, name: str, body: bytes) -> None:
        """Write a blob that nobody else writes."""
        await self._account.do("state.snapshot", STATE, Upload(name, body).write)

    async def get(self, name: str) -> bytes | None:
        """A blob that ``write`` wrote; None if it is gone."""

        async def get(container: ContainerClient) -> bytes | None:
            try:
                return await (await container.download_blob(name)).readall()
            except ResourceNotFoundError as error:
                no_blob(error)
                return None

        return await self._account.do("state.load", STATE, get)

    async def remove(self, name: str) -> None:
        """Remove a blob if it exists."""

        async def remove(container: ContainerClient) -> None:
            try:
                await container.delete_blob(name)
            except ResourceNotFoundError as error:
                no_blob(error)
                return

        await self._account.do("state.remove", STATE, remove)
        self._counts.pop(name, None)

    async def named(self, prefix: str) -> list[tuple[str, int]]:
        """Every blob whose name begins so, with its size in bytes."""
        given: dict[str, Any] = {"name_starts_with": prefix} if prefix else {}

        async def ask(container: ContainerClient) -> list[tuple[str, int]]:
            return [(str(blob.name), int(blob.size)) async for blob in container.list_blobs(**given)]

        return await self._account.do("state.list", STATE, ask)

    async def within(self, folder: str) -> list[tuple[str, int]]:
        """Every blob right in ``folder/``, with its size in bytes."""

        async def ask(container: ContainerClient) -> list[tuple[str, int]]:
            found = container.walk_blobs(name_starts_with=f"{folder}/", delimiter="/")
            return [(str(blob.name), int(blob.size)) async for blob in found if isinstance(blob, BlobProperties)]

        return await self._account.do("state.list", STATE, ask)

    async def _piece(self, blob: BlobClient, at: int) -> StorageStreamDownloader[bytes] | None:
        """The next piece; None if the blob ends at or before ``at``."""
        try:
            return await blob.download_blob(offset=at, length=READ_BYTES)
        except HttpResponseError as error:
            if error.status_code == _BEYOND_END:
                return None
            raise

    async def _kept(self, blob: BlobClient, at: int, length: int) -> bytes:
        try:
            return await (await blob.download_blob(offset=at, length=length)).readall()
        except HttpResponseError as error:
            if error.status_code == _BEYOND_END:
                return b""
            raise


def _whole(properties: BlobProperties) -> int:
    """The blob's size, of which an answer holds a part: ``bytes 0-9/100`` is of 100."""
    return int(str(properties.content_range).rpartition("/")[2])
