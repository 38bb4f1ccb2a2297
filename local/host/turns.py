"""Whose batch is next, where several partitions are worked on by one process.

A process folds one batch after another, so a batch that is handed to it early only waits there, as it is, while more
comes for its partition. So a pump waits for its turn first, and takes what has come by then: larger batches, and none
of what they hold older than need be. One that takes long, as a slow source may make it, gives its turn up meanwhile:
it is not what the process is busy with.
"""

from __future__ import annotations

import asyncio

AT_ONCE = 2  # batches: one is folded while another is committed and told
LONGEST_S = 0.25  # that a batch counts among them


class Turn:
    """The right to be worked on; over when it is said to be, or after LONGEST_S."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free: asyncio.Semaphore | None = free
        self._late = asyncio.get_running_loop().call_later(LONGEST_S, self.over)

    def over(self) -> None:
        """Let the next one in. Saying so twice is harmless."""
        self._late.cancel()
        free, self._free = self._free, None
        if free is not None:
            free.release()


class Turns:
    """The turns at one process, in the order in which they are asked for."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def next(self) -> Turn:
        """Wait for a turn."""
        await self._free.acquire()
        return Turn(self._free)
