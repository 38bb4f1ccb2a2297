"""The keys a stream is known to have, so that a full read can tell what was deleted meanwhile.

A stream that can only be read whole keeps a fingerprint of every record's content with its key, so
that only what changed is told.

A key set is a folder of segments ``capture/keys/<tenant>/<source>/<stream>/<set>/<run>-<part>``, each
the keys that one acknowledged batch added and removed; the union in name order is the set. Writing
a segment again after a crash changes nothing, and many are folded into one now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from itertools import repeat
from typing import Final

from flockiq.shared.ports import Blobs
from flockiq.shared.segments import FOLDER, Segment, packed, unpacked

SEGMENTS: Final = 256  # of a set before they are folded


class KeySets:
    """The key sets of one stream."""

    def __init__(self, blobs: Blobs, tenant: str, source: str, stream: str) -> None:
        self._blobs = blobs
        self._folder = f"{FOLDER}/{tenant}/{source}/{stream}"

    async def note(self, key_set: int, run: int, part: int, added: Mapping[str, int], removed: Collection[str]) -> None:
        """Keep what a batch of ``run`` added (key → fingerprint, 0 for unknown) and removed.

        Call once its events are acknowledged.
        """
        if not added and not removed:
            return
        await self._put(_name(self._folder, key_set, run, part), _segment(added, removed))

    async def read(self, key_set: int) -> dict[str, int]:
        """All keys of a set with their fingerprints (0: unknown); empty if it was never written."""
        keys: dict[str, int] = {}
        async for name in self._segments(key_set):
            segment = await self._get(name)
            if segment.whole:
                keys.clear()
            keys.update(zip(segment.added, segment.fingerprints or repeat(0), strict=False))
            for key in segment.removed:
                keys.pop(key, None)
        return keys

    async def fold(self, key_set: int) -> None:
        """Write a set of many segments as one. A crash in between leaves a set that reads the same."""
        names = [name async for name in self._segments(key_set)]
        if len(names) <= SEGMENTS:
            return
        keys = await self.read(key_set)
        await self._put(names[-1], _segment(dict(sorted(keys.items())), (), whole=True))
        for name in names[:-1]:
            await self._blobs.delete(name)

    async def forget(self, key_set: int) -> None:
        """Remove a set that nothing refers to any more."""
        async for name in self._segments(key_set):
            await self._blobs.delete(name)

    async def _segments(self, key_set: int) -> AsyncIterator[str]:
        after = ""
        while names := await self._blobs.list(f"{self._folder}/{key_set:010d}/", after=after):
            for name in names:
                yield name
            after = names[-1]

    async def _put(self, name: str, segment: Segment) -> None:
        await self._blobs.put(name, await asyncio.to_thread(packed, segment))

    async def _get(self, name: str) -> Segment:
        return await asyncio.to_thread(unpacked, await self._blobs.get(name))


def _segment(added: Mapping[str, int], removed: Collection[str], *, whole: bool = False) -> Segment:
    fingerprints = list(added.values()) if any(added.values()) else []
    return Segment(list(added), fingerprints, list(removed), whole)


def _name(folder: str, key_set: int, run: int, part: int) -> str:
    return f"{folder}/{key_set:010d}/{run:010d}-{part:06d}"
