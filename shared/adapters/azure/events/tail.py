"""Reading one partition from a sequence number on, ahead of whoever reads it, within a bound."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from azure.eventhub import CloseReason, EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from flockiq.shared.ports import StoredEvent

PREFETCH = 50  # events asked of the service ahead; each is at most 1 MB
AHEAD_BYTES = 16_000_000  # of bodies read ahead, and in one answer
WAIT_S = 30.0
CLOSE_S = 5.0


def stored(partition: int, event: EventData) -> StoredEvent:
    """An SDK's event as the port gives it; ValueError if the service left out its place."""
    if event.sequence_number is None or event.enqueued_time is None:
        raise ValueError("the event came without a sequence number or an enqueued time")
    body = event.body
    return StoredEvent(
        partition=partition,
        sequence=event.sequence_number,
        offset=event.offset or "",
        enqueued_us=int(event.enqueued_time.timestamp() * 1_000_000),
        body=body if isinstance(body, bytes) else b"".join(body),  # type: ignore[arg-type] # an iterable of bytes, for data bodies
        properties={_text(name): _text(value) for name, value in (event.properties or {}).items()},
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Tail:
    """An open receiver that reads ahead. It belongs to one reader at a time.

    ``end`` is where the partition is known to end: what comes before it is waited for.
    """

    def __init__(self, client: EventHubConsumerClient, partition: int, start: int, end: int) -> None:
        self.end = end
        self._client = client
        self._partition = partition
        self._next = start  # what is read from the service next
        self._held: deque[StoredEvent] = deque()
        self._bytes = 0
        self._changed = asyncio.Condition()
        self._error: Exception | None = None
        self._left = asyncio.Event()
        self._task = asyncio.create_task(self._run(start))

    def continues(self, start: int) -> bool:
        """Whether reading from ``start`` goes on with what this one has or gets next."""
        first = self._held[0].sequence if self._held else self._next
        return self._error is None and not self._task.done() and first <= start <= self._next

    def holds(self, start: int) -> bool:
        """Whether it goes on from ``start``, and there is known to be more."""
        return self.continues(start) and start < max(self.end, self._next)

    async def take(self, start: int, limit: int) -> Sequence[StoredEvent]:
        """Up to ``limit`` events from ``start`` on, waiting until those before ``end`` have come.

        What made the receiver fail is raised if it brought nothing. TimeoutError if nothing comes.
        """
        deadline = time.monotonic() + WAIT_S
        async with self._changed:
            while self._held and self._held[0].sequence < start:
                self._drop()
            while (
                self._next < self.end and len(self._held) < limit and self._bytes < AHEAD_BYTES and self._error is None
            ):
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._changed.wait()
                while self._held and self._held[0].sequence < start:
                    self._drop()
            taken = [self._drop() for _ in range(min(limit, len(self._held)))]
            self._changed.notify_all()
            if not taken and self._error is not None:
                raise self._error
            return taken

    async def close(self) -> None:
        """Stop reading; what was read ahead is dropped."""
        left = asyncio.ensure_future(self._left.wait())
        self._task.cancel()
        await asyncio.wait({self._task, left}, timeout=CLOSE_S, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        self._task.cancel()  # the SDK would now sleep for a second before it looks whether the link is closed: it is
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()

    def _drop(self) -> StoredEvent:
        event = self._held.popleft()
        self._bytes -= len(event.body)
        return event

    async def _run(self, start: int) -> None:
        await self._client.receive_batch(
            self._on_events,
            partition_id=str(self._partition),
            starting_position=start,
            starting_position_inclusive=True,
            prefetch=PREFETCH,
            max_batch_size=PREFETCH,
            on_error=self._on_error,
            on_partition_close=self._on_close,
        )

    async def _on_events(self, _context: PartitionContext, events: Sequence[EventData]) -> None:
        async with self._changed:
            for event in events:
                one = stored(self._partition, event)
                self._held.append(one)
                self._bytes += len(one.body)
                self._next = one.sequence + 1
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._bytes < AHEAD_BYTES)

    async def _on_error(self, _context: PartitionContext | None, error: Exception) -> None:
        async with self._changed:
            self._error = error
            self._changed.notify_all()

    async def _on_close(self, _context: PartitionContext, _reason: CloseReason) -> None:
        self._left.set()
