"""What keeps the erased from coming back: keyed hashes of what it was, and the time up to which nothing of it counts.

An erasure stands at a moment. What is from before it (by its source's time, or by when it was captured) is refused for
as long as the tombstone stands, which is longer than any hub keeps events: a repetition or a replay brings nothing
back. What happens to the same key after that moment is new, and is taken as such.

The hash can't be turned back, nor looked up in a table made for another FlockIQ: its key is random and of this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

KEPT_US: Final = 90 * 86_400_000_000
"""How long a tombstone stands, µs: no tier of Event Hubs keeps events for longer."""

DIGEST_BYTES: Final = 16
NEVER: Final = -(1 << 62)


class Tombstone(msgspec.Struct, frozen=True, array_like=True):
    """Up to when nothing counts, and until when that is remembered, µs since the epoch."""

    at_us: int
    until_us: int


Stored = dict[bytes, dict[bytes, Tombstone]]
"""Tombstones as state logs have them: by the key of their hashes, then by hash."""


def digest(salt: bytes, text: str) -> bytes:
    """The keyed hash of a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), key=salt, digest_size=DIGEST_BYTES).digest()


class Tombstones:
    """The tombstones of one partition."""

    def __init__(self) -> None:
        self._stones: Stored = {}
        self.latest_us = NEVER  # what is after it is refused by none

    def __bool__(self) -> bool:
        return bool(self._stones)

    def put(self, salt: bytes, text: str, at_us: int) -> None:
        """Refuse ``text`` up to ``at_us``; of two tombstones of one text the later stands."""
        self.put_digest(salt, digest(salt, text), at_us)

    def put_digest(self, salt: bytes, name: bytes, at_us: int) -> None:
        """Likewise, of a text whose hash is known."""
        self._put(salt, name, Tombstone(at_us, at_us + KEPT_US))

    def until_us(self, text: str) -> int:
        """Up to when nothing of ``text`` counts; NEVER if nothing is refused."""
        found = (stones.get(digest(salt, text)) for salt, stones in self._stones.items())
        return max((stone.at_us for stone in found if stone is not None), default=NEVER)

    def expire(self, now_us: int) -> None:
        """Forget those whose time is over."""
        stored, self._stones, self.latest_us = self._stones, {}, NEVER
        self.restore(
            {
                salt: {name: stone for name, stone in stones.items() if stone.until_us > now_us}
                for salt, stones in stored.items()
            }
        )

    def stored(self) -> Stored:
        """All of them, to be written."""
        return {salt: dict(stones) for salt, stones in self._stones.items()}

    def restore(self, stored: Mapping[bytes, Mapping[bytes, Tombstone]]) -> None:
        """Add what was written."""
        for salt, stones in stored.items():
            for name, stone in stones.items():
                self._put(salt, name, stone)

    def _put(self, salt: bytes, name: bytes, stone: Tombstone) -> None:
        stones = self._stones.setdefault(salt, {})
        known = stones.get(name)
        if known is None or stone.at_us > known.at_us:
            stones[name] = stone
        self.latest_us = max(self.latest_us, stone.at_us)
