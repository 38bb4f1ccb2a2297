"""At most so many requests in a time, by all instances together.

The registry holds the moment of the next free request (the generic cell rate algorithm, ITU-T I.371).
An instance reserves about a second's worth of moments in one write, so that the cost is bounded
whatever the rate; moments it lets pass are lost to all, a second at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from flockiq.shared.config.connection import Rate
from flockiq.shared.errors import Conflict, SourceUnavailable, StoreUnavailable
from flockiq.shared.ports import Registry

_MICRO: Final = 1_000_000
_MOST: Final = 100  # moments reserved at a time
_TRIES: Final = 20


class Booked(msgspec.Struct, frozen=True):
    """What the registry keeps of a source's pace."""

    free_us: int = 0  # the first moment that is nobody's


_decode = msgspec.json.Decoder(Booked).decode


def _clock_us() -> int:
    return time.time_ns() // 1_000


class Pace:
    """This instance's share of a source's rate."""

    def __init__(
        self, rate: Rate, registry: Registry, tenant: str, source: str, now_us: Callable[[], int] = _clock_us
    ) -> None:
        self._step_us = max(rate.per // rate.requests, 1)
        self._block = min(max(_MICRO // self._step_us, 1), _MOST)
        self._registry = registry
        self._key = f"pace/{tenant}/{source}"
        self._now_us = now_us
        self._lock = asyncio.Lock()
        self._next_us = 0  # the first reserved moment not used yet
        self._left = 0

    async def wait(self, longest_s: float) -> None:
        """Wait for the next moment. SourceUnavailable if that is over ``longest_s`` away: it is not used up."""
        async with self._lock:
            late_us = self._now_us() - self._next_us
            if not self._left or late_us > self._block * self._step_us:
                await self._reserve()
            rest_s = (self._next_us - self._now_us()) / _MICRO
            if rest_s > longest_s:
                raise SourceUnavailable(
                    f"its limits.rate is used up for {rest_s:,.0f} s more", retry_after_s=max(rest_s, 0.0)
                )
            self._next_us += self._step_us
            self._left -= 1
        if rest_s > 0:
            await asyncio.sleep(rest_s)

    async def _reserve(self) -> None:
        for _ in range(_TRIES):
            document = await self._registry.get(self._key)
            booked = _decode(document.value) if document else Booked()
            start_us = max(booked.free_us, self._now_us())
            after = Booked(start_us + self._block * self._step_us)
            try:
                await self._registry.put(self._key, msgspec.json.encode(after), document.etag if document else None)
            except Conflict:
                continue
            self._next_us, self._left = start_us, self._block
            return
        raise StoreUnavailable(f"{self._key}: {_TRIES} writes in a row met another; it will be tried again")
