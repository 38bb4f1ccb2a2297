"""A source that fails again and again is left alone for a while, by all instances, instead of asked in vain.

After ``limits.circuit.failures`` requests in a row, each tried ``limits.attempts`` times, the circuit opens for
``limits.circuit.pause``. Then one request of all instances is let through: answered, it closes the circuit;
failed, it opens it for twice as long, up to ``limits.back_off``. What another instance found out is
known here within LOOK_US, at the next request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from flockiq.capture.http.patience import backoff
from flockiq.shared.circuits import WAY_OUT, Circuit, decode, key
from flockiq.shared.config.connection import Limits
from flockiq.shared.errors import Conflict, SourceUnavailable
from flockiq.shared.ports import Registry

log = logging.getLogger("flockiq.capture")

LOOK_US: Final = 5_000_000
_MICRO: Final = 1_000_000
_SHOWN: Final = 300


class CircuitOpen(SourceUnavailable):
    """The source was not asked: it failed too often, and its time has not come."""


def clock_us() -> int:
    """Now, in µs since the epoch."""
    return time.time_ns() // 1_000


class Breaker:
    """This instance's view of a source's circuit."""

    def __init__(
        self, limits: Limits, registry: Registry, tenant: str, source: str, now_us: Callable[[], int] = clock_us
    ) -> None:
        self._failures_allowed = limits.circuit.failures
        self._pause_s = limits.circuit.pause / _MICRO
        self._longest_s = max(limits.back_off, limits.circuit.pause) / _MICRO
        self._registry = registry
        self._key = key(tenant, source)
        self._source = source
        self._now_us = now_us
        self._failures = 0  # in a row
        self._held = Circuit()
        self._etag: str | None = None
        self._looked_us = 0

    async def admit(self) -> None:
        """Let a request through; its end is to be told. CircuitOpen: it may not go now."""
        if self._now_us() - self._looked_us >= LOOK_US:
            await self._look()
        held, now_us = self._held, self._now_us()
        if not held.opened_us:
            return
        if now_us < held.until_us:
            raise self._open((held.until_us - now_us) / _MICRO)
        if now_us < held.free_us:  # one is being tried, and soon tells how it went
            raise self._open(min(held.free_us - now_us, LOOK_US) / _MICRO)
        try:
            await self._keep(msgspec.structs.replace(held, probe_us=now_us))
        except Conflict:
            await self._look()
            if self._held.opened_us:  # another lets its own request through
                raise self._open(LOOK_US / _MICRO) from None

    async def answered(self) -> None:
        """A request was answered: whatever was wrong is over."""
        self._failures = 0
        if self._held.opened_us:
            self._held, self._etag = Circuit(), None
            await self._registry.delete(self._key)
            log.warning("%s answers again: it is read as before", self._source)

    async def failed(self, error: str) -> None:
        """A request was not answered, however often it was tried."""
        self._failures += 1
        held, now_us = self._held, self._now_us()
        if not held.probe_us and (held.opened_us or self._failures < self._failures_allowed):
            return  # one that was under way when the circuit opened says nothing new
        pause_s = backoff(held.opened + 1, self._longest_s, first_s=self._pause_s)
        opened = Circuit(held.opened_us or now_us, now_us + int(pause_s * _MICRO), held.opened + 1, 0, error[:_SHOWN])
        try:
            await self._keep(opened)
        except Conflict:
            await self._look()  # another opened it, or closed it
            return
        log.warning("%s is left alone for %.0f s: %s", self._source, pause_s, error)

    async def not_asked(self) -> None:
        """A request that was let through was not sent after all, or came to no end that says anything."""
        if self._held.probe_us:
            with suppress(Conflict):
                await self._keep(msgspec.structs.replace(self._held, probe_us=0))

    def _open(self, left_s: float) -> CircuitOpen:
        return CircuitOpen(
            f"{self._source} is not asked for {left_s:,.0f} s more, because request after request failed, the last: "
            f"{self._held.error}. {WAY_OUT}",
            retry_after_s=left_s,
        )

    async def _look(self) -> None:
        document = await self._registry.get(self._key)
        self._looked_us = self._now_us()
        self._held, self._etag = (decode(document.value), document.etag) if document else (Circuit(), None)

    async def _keep(self, circuit: Circuit) -> None:
        self._etag = await self._registry.put(self._key, msgspec.json.encode(circuit), self._etag)
        self._held, self._looked_us = circuit, self._now_us()
