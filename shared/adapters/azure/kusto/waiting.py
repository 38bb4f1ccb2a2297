"""Rows that the Eventhouse did not take: kept in the blobs until it does."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
import zstandard

from flockiq.shared.adapters.azure.kusto.verdicts import Refused
from flockiq.shared.errors import NotFound, StoreUnavailable
from flockiq.shared.ports import Blobs
from flockiq.shared.sweeps import Left

logger = logging.getLogger("flockiq.azure.kusto")

PREFIX: Final = "analytics/"
SWEPT: Final = 500  # blobs in one sweep
_NAME: Final = re.compile(rf"{PREFIX}(?P<table>\w+)/(?P<us>\d{{20}})-[0-9a-f]{{32}}\.ndjson\.zst")
_MAX_BYTES: Final = 1 << 30  # decompressed; our own writing, so only a guard


class Waiting:
    """The rows that wait, one blob for each batch, named by table and by when."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def keep(self, table: str, rows: bytes) -> None:
        """Keep a batch; durable when it returns."""
        name = f"{PREFIX}{table}/{time.time_ns() // 1000:020}-{uuid.uuid4().hex}.ndjson.zst"
        await self._blobs.put(name, zstandard.ZstdCompressor(level=3).compress(rows))

    async def left(self) -> Left:
        """How much waits, of the first SWEPT blobs."""
        names = await self._blobs.list(PREFIX, limit=SWEPT)
        since_us = [int(found["us"]) for found in map(_NAME.fullmatch, names) if found]
        return Left(len(since_us), min(since_us, default=0), all_seen=len(names) < SWEPT)

    async def remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:
        """Remove rows that have all the values of one of ``like``; how many. StoreUnavailable: a blob is damaged."""
        removed, after = 0, ""
        while names := await self._blobs.list(f"{PREFIX}{table}/", after=after):
            for name in names:
                try:
                    body = await self._blobs.get(name)
                    rows = zstandard.ZstdDecompressor().decompress(body, max_output_size=_MAX_BYTES).splitlines()
                except NotFound:
                    continue
                except zstandard.ZstdError as error:
                    raise StoreUnavailable(f"blob {name} can't be read ({error}): look at it, and remove it") from error
                left = [row for row in rows if not _is_like(row, like)]
                if left and len(left) < len(rows):
                    await self._blobs.put(name, zstandard.ZstdCompressor(level=3).compress(b"\n".join(left)))
                elif not left:
                    await self._blobs.delete(name)
                removed += len(rows) - len(left)
            after = names[-1]
        return removed

    async def sweep(self, send: Callable[[str, bytes], Awaitable[None]]) -> int:
        """Send what waits, oldest first, and forget what was sent; how many batches.

        What is refused, or can't be read, stays and is said; StoreUnavailable ends the sweep.
        """
        sent = 0
        for name in await self._blobs.list(PREFIX, limit=SWEPT):
            found = _NAME.fullmatch(name)
            if found is None:
                continue
            try:
                body = await self._blobs.get(name)
                rows = zstandard.ZstdDecompressor().decompress(body, max_output_size=_MAX_BYTES)
                await send(found["table"], rows)
            except NotFound:  # another process has sent it
                continue
            except zstandard.ZstdError as error:
                logger.error("rows of table %s in blob %s can't be read: %s", found["table"], name, error)  # noqa: TRY400 - what it says is all there is
                continue
            except Refused as error:
                logger.error("rows of table %s in blob %s still wait: %s", found["table"], name, error)  # noqa: TRY400 - so it is with a refusal
                continue
            await self._blobs.delete(name)
            sent += 1
        return sent


def _is_like(row: bytes, like: Sequence[Mapping[str, str]]) -> bool:
    values = msgspec.json.decode(row)
    return any(all(values.get(name) == value for name, value in one.items()) for one in like)
