"""Answers that many watchers share: worked out at most once every so often, however many ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class Fresh[T]:
    """The answer of ``work``, at most ``seconds`` old; those who ask meanwhile wait for one answer.

    An error is given to everyone who waited for it and is not kept: the next to ask tries again.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0

    async def get(self) -> T:
        """The answer."""
        task = self._task
        if task is None or (task.done() and (time.monotonic() >= self._until or task.exception() is not None)):
            task = self._task = asyncio.create_task(self._run())
        # A watcher who leaves must not take the answer away from the others.
        return await asyncio.shield(task)

    async def _run(self) -> T:
        try:
            return await self._work()
        finally:
            self._until = time.monotonic() + self._seconds
