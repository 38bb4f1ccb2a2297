"""The rows of one table on their way: those that wait together go together, within a size and an age."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

LINGER_S: Final = 0.05  # how long the first of a batch waits for others
BATCH_BYTES: Final = 16 << 20  # in one batch, unless one ingestion alone is larger
WINDOW_S: Final = 60.0  # over which a table's rate is measured
SENDING: Final = 2  # batches of a table on their way at once

type Send = Callable[[bytes], Awaitable[None]]


class Rate:
    """Bytes a second, over the last WINDOW_S."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, size: int) -> float:
        """Count ``size`` bytes more; the rate now."""
        now = time.monotonic()
        self._seen.append((now, size))
        self._total += size
        while self._seen[0][0] < now - WINDOW_S:
            self._total -= self._seen.popleft()[1]
        return self._total / WINDOW_S


class Lane:
    """Gathers what is put into it, and gives it to ``send`` in batches of whole ingestions."""

    def __init__(self, send: Send, *, linger_s: float = LINGER_S, batch_bytes: int = BATCH_BYTES) -> None:
        self._send = send
        self._linger_s, self._batch_bytes = linger_s, batch_bytes
        self._waiting: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self._size = 0
        self._full = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(SENDING)

    async def put(self, rows: bytes) -> None:
        """Returns once the batch that holds ``rows`` (whole lines) was sent; raises what sending it raised."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, sent))
        self._size += len(rows)
        if self._size >= self._batch_bytes:
            self._full.set()
        if len(self._waiting) == 1:
            task = asyncio.create_task(self._gather())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.shield(sent)

    async def empty(self) -> None:
        """Wait until nothing that was put into it is still on its way."""
        while self._tasks:
            self._full.set()  # nobody waits for others any more
            await asyncio.wait(self._tasks)

    async def _gather(self) -> None:
        async with self._room:
            try:
                async with asyncio.timeout(self._linger_s):
                    await self._full.wait()
            except TimeoutError:
                pass
            self._full.clear()
            while self._waiting:
                await self._deliver(self._take())

    def _take(self) -> Sequence[tuple[bytes, asyncio.Future[None]]]:
        batch = [self._waiting.popleft()]
        size = len(batch[0][0])
        while self._waiting and size + len(self._waiting[0][0]) <= self._batch_bytes:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0])
        self._size -= size
        return batch

    async def _deliver(self, batch: Sequence[tuple[bytes, asyncio.Future[None]]]) -> None:
        try:
            await self._send(b"\n".join(rows for rows, _ in batch))
        except BaseException as error:
            for _, sent in batch:
                if not sent.done():
                    sent.set_exception(error)
                    sent.exception()  # whoever put it may be gone, which is no fault
            if not isinstance(error, Exception):
                raise
            return
        for _, sent in batch:
            if not sent.done():
                sent.set_result(None)
