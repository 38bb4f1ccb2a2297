"""Segments of key sets: which keys a batch added to those that a stream is known to have, and which it removed.

capture/keys.py says how they make up a set; an erasure takes a key out of all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
import zstandard

FOLDER: Final = "capture/keys"
MAX_SEGMENT_BYTES: Final = 2_000_000_000  # decompressed; our own writing, so only a guard


class Segment(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keys that a batch added and removed; ``whole`` when it holds all there were until then."""

    added: list[str] = []
    fingerprints: list[int] = []  # of the added, in their order; none are kept if it is empty
    removed: list[str] = []
    whole: bool = False

    def without(self, keys: Collection[str]) -> Segment:
        """The segment as if it had never told of these keys."""
        stay = [key not in keys for key in self.added]
        return Segment(
            [key for key, stays in zip(self.added, stay, strict=True) if stays],
            [one for one, stays in zip(self.fingerprints, stay, strict=False) if stays],
            [key for key in self.removed if key not in keys],
            self.whole,
        )


_decode = msgspec.msgpack.Decoder(Segment).decode


def packed(segment: Segment) -> bytes:
    """A segment as a blob's bytes."""
    return zstandard.compress(msgspec.msgpack.encode(segment), 1)


def unpacked(body: bytes) -> Segment:
    """The segment that a blob holds."""
    return _decode(zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_SEGMENT_BYTES))
