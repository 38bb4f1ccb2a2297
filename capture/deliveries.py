"""The run numbers of a webhook's deliveries, and which events were told lately."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from flockiq.shared.errors import Conflict, StoreUnavailable
from flockiq.shared.ports import Registry
from flockiq.shared.positions import hash64

REMEMBERED: Final = 500  # event ids, newest last; older repeats lose to their own position downstream
_TRIES: Final = 20


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the registry keeps of a stream's deliveries."""

    run: int = 0
    run_us: int = 0
    recent: list[int] = []


_decode = msgspec.json.Decoder(Told).decode


class Deliveries:
    """One stream's deliveries. Numbers come from the registry, so they count up across processes.

    Ids told are remembered in this process at once and written along with the next number: one
    write a delivery.
    """

    def __init__(self, registry: Registry, tenant: str, source: str, stream: str) -> None:
        self._registry = registry
        self._key = f"deliveries/{tenant}/{source}/{stream}"
        self._lock = asyncio.Lock()
        self._recent: dict[int, None] = {}

    async def begin(self, now_us: int) -> Told:
        """The next run: its number and start, stored. StoreUnavailable if others keep winning."""
        async with self._lock:
            for _ in range(_TRIES):
                document = await self._registry.get(self._key)
                told = _decode(document.value) if document else Told()
                self._remember(told.recent)
                following = Told(told.run + 1, max(now_us, told.run_us + 1), list(self._recent))
                try:
                    await self._registry.put(
                        self._key, msgspec.json.encode(following), document.etag if document else None
                    )
                except Conflict:
                    continue
                return following
        raise StoreUnavailable(f"{self._key}: {_TRIES} writes in a row met another; the sender will try again")

    def is_new(self, event: str) -> bool:
        """Whether an event was not told lately. Call after ``begin``, which reads what others told."""
        return hash64(event) not in self._recent

    def told(self, events: Iterable[str]) -> None:
        """Remember events whose changes are acknowledged."""
        self._remember(hash64(event) for event in events)

    def _remember(self, hashes: Iterable[int]) -> None:
        for value in hashes:
            self._recent.setdefault(value)
        for value in list(self._recent)[: max(len(self._recent) - REMEMBERED, 0)]:
            del self._recent[value]
