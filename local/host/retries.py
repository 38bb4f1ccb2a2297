"""Retry policies, and the waits between attempts.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-error-pages#retry-policies
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Self

from flockiq.local.host.errors import Stopped
from flockiq.local.host.messages import RpcRetryOptions

FOR_EVER = -1
_SHORTEST_S = 0.1  # a policy without intervals must not spin


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after how long, a failed invocation is tried again."""

    most: int  # retries after the first attempt; FOR_EVER
    first_s: float
    longest_s: float
    grows: bool  # exponential_backoff; else fixed_delay

    @classmethod
    def of(cls, options: RpcRetryOptions) -> Self:
        """The policy a function declares."""
        if options.retry_strategy == "fixed_delay":
            delay = options.delay_interval.total_seconds()
            return cls(options.max_retry_count, delay, delay, grows=False)
        return cls(
            options.max_retry_count,
            options.minimum_interval.total_seconds(),
            options.maximum_interval.total_seconds(),
            grows=True,
        )

    def allows(self, retry: int) -> bool:
        """Whether there is a ``retry``-th one (from 1)."""
        return self.most == FOR_EVER or retry <= self.most

    def delay_s(self, retry: int) -> float:
        """How long to wait before the ``retry``-th retry (from 1); growing delays jitter by a fifth."""
        first = max(self.first_s, _SHORTEST_S)
        if not self.grows:
            return first
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret
        return float(max(first, min(self.longest_s, first * 2.0 ** min(retry - 1, 60) * jitter)))


async def unless_stopped[T](stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives. Stopped, and ``work`` cancelled, if the host stops first."""
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Stopped
        return task.result()
    finally:
        for future in (task, stop):
            future.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)
