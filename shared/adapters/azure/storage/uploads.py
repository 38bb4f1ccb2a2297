"""Writing a block blob whole: nothing of it is seen before all of it is there, and no two writers are mixed."""

from __future__ import annotations

import asyncio
import base64
import io
import uuid
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import BlobClient, ContainerClient

from flockiq.shared.adapters.azure.storage.account import no_blob

AT_ONCE_BYTES: Final = 1 << 20  # in one request; more of it would hold up this process's other work
PIECE_BYTES: Final = 8 << 20
PIECES_AT_ONCE: Final = 4
WRITER: Final = "writer"
"""Metadata: which upload wrote a blob, so that it knows its own after an answer was lost."""


class Upload:
    """One body on its way to one blob; ``write`` may be called again until it succeeds, and goes on where it was."""

    def __init__(self, name: str, body: bytes, *, create_only: bool = False) -> None:
        self._name, self._body = name, body
        self._create_only = create_only
        self._writer = uuid.uuid4().hex
        self._staged: dict[int, str] = {}  # by where they begin

    async def write(self, container: ContainerClient) -> bool:
        """Write it; False if another's blob is there, with ``create_only``."""
        blob = container.get_blob_client(self._name)
        metadata = {WRITER: self._writer}
        missing: dict[str, Any] = {"match_condition": MatchConditions.IfMissing} if self._create_only else {}
        try:
            if len(self._body) <= AT_ONCE_BYTES:
                await blob.upload_blob(self._body, overwrite=True, metadata=metadata, **missing)
            else:
                await self._stage(blob)
                pieces = [BlobBlock(self._staged[at]) for at in sorted(self._staged)]
                await blob.commit_block_list(pieces, metadata=metadata, **missing)
        except (ResourceExistsError, ResourceModifiedError):
            return await self._wrote(blob)
        return True

    async def _stage(self, blob: BlobClient) -> None:
        """Bring the pieces there, under names that no other upload gives its own."""
        room = asyncio.Semaphore(PIECES_AT_ONCE)

        async def stage(at: int) -> None:
            name = base64.b64encode(uuid.uuid4().bytes).decode()
            piece = memoryview(self._body)[at : at + PIECE_BYTES]
            async with room:
                await blob.stage_block(name, io.BytesIO(piece), len(piece))
            self._staged[at] = name

        starts = [at for at in range(0, len(self._body), PIECE_BYTES) if at not in self._staged]
        for outcome in await asyncio.gather(*map(stage, starts), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _wrote(self, blob: BlobClient) -> bool:
        try:
            kept = await blob.get_blob_properties()
        except ResourceNotFoundError as error:
            no_blob(error)
            return False
        return (kept.metadata or {}).get(WRITER) == self._writer
