"""From a hub's partition to a function, a batch at a time.

One pump per function and partition: it has one batch in flight, so order holds within the
partition, while the pumps of other partitions go on. As in Azure, the checkpoint moves when the
function has succeeded *or* its retries are exhausted, and stays while they last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from flockiq.local.host.batches import encode
from flockiq.local.host.errors import Stopped
from flockiq.local.host.functions import EventHubTrigger, Function
from flockiq.local.host.invoker import Invoker
from flockiq.local.host.ledger import Ledger, Place
from flockiq.local.host.retries import RetryPolicy, unless_stopped
from flockiq.local.host.settings import EventHubs
from flockiq.local.host.stats import PartitionStats
from flockiq.local.host.turns import LITTLE_BYTES, Load, Turn
from flockiq.shared.ports import EventStream, StoredEvent

log = logging.getLogger("flockiq.host")

_LOOK_S = 5.0  # how long one wait for news lasts at most
_POLL_S = 0.1
_STREAM_RETRY = RetryPolicy(most=-1, first_s=0.5, longest_s=30, grows=True)


@runtime_checkable
class Waitable(Protocol):
    """An event stream on this machine can also say when there is more; another is asked again and again."""

    async def wait(self, hub: str, partition: int, sequence: int, timeout_s: float) -> bool:
        """Return True as soon as the event ``sequence`` exists, False after ``timeout_s``."""
        ...


class Reader:
    """Reads one partition ahead of its function: at most ``prefetchCount`` events."""

    def __init__(self, events: EventStream, hub: str, partition: int, start: int, limits: EventHubs) -> None:
        self._events = events
        self._hub = hub
        self._partition = partition
        self._next = start
        self._limits = limits
        self._room = max(limits.prefetch_count, limits.max_event_batch_size)
        self._buffer: deque[StoredEvent] = deque()
        self._ahead: asyncio.Task[Sequence[StoredEvent]] | None = None
        self._asked = 0  # events, by the reading that is under way or was the last
        self._behind = False  # whether the last reading found as much as it could take

    async def come(self) -> None:
        """Wait for a batch: ``minEventBatchSize`` events, or fewer once ``maxWaitTime`` has passed since the first."""
        if self._ahead is not None:
            await self._read()
        deadline: float | None = None
        while len(self._buffer) < self._limits.min_event_batch_size:
            if self._buffer:
                deadline = deadline or time.monotonic() + self._limits.max_wait_s
                if time.monotonic() >= deadline:
                    break
            if not await self._read():
                left = _LOOK_S if deadline is None else min(_LOOK_S, max(0.0, deadline - time.monotonic()))
                if await self._wait(left) and not await self._read():
                    # What was promised is gone already: retention overtook the reader.
                    bounds = await self._events.bounds(self._hub, self._partition)
                    self._next = max(self._next, bounds.first)

    @property
    def load(self) -> Load:
        """What the next batch is, by what has been read."""
        if len(self._buffer) >= self._limits.max_event_batch_size:
            return Load.FULL
        return Load.LITTLE if sum(len(event.body) for event in self._buffer) <= LITTLE_BYTES else Load.GROWING

    async def batch(self) -> Sequence[StoredEvent]:
        """What has come by now, of which ``come`` waited for the first."""
        most = self._limits.max_event_batch_size
        if len(self._buffer) < most and await self._more():
            await self._read()
        batch = [self._buffer.popleft() for _ in range(min(most, len(self._buffer)))]
        if self._behind and len(self._buffer) < most:
            self._begin()
        return batch

    def _begin(self) -> asyncio.Task[Sequence[StoredEvent]]:
        if self._ahead is None:
            self._asked = self._room - len(self._buffer)
            self._ahead = asyncio.create_task(self._events.read(self._hub, self._partition, self._next, self._asked))
        return self._ahead

    async def _read(self) -> bool:
        task = self._begin()
        try:
            found = await task
        finally:
            self._ahead = None
        self._behind = len(found) >= self._asked
        if found:
            self._next = found[-1].sequence + 1
            self._buffer.extend(found)
        return bool(found)

    async def _more(self) -> bool:
        """Whether there may be more than was read."""
        return not isinstance(self._events, Waitable) or await self._wait(0.0)

    async def _wait(self, seconds: float) -> bool:
        if isinstance(self._events, Waitable):
            return await self._events.wait(self._hub, self._partition, self._next, seconds)
        await asyncio.sleep(min(seconds, _POLL_S))
        return False

    async def close(self) -> None:
        """Drop what was read and not handed out."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)


class Pump:
    """Feeds one partition to one function until the host stops."""

    def __init__(
        self,
        function: Function,
        trigger: EventHubTrigger,
        partition: int,
        *,
        events: EventStream,
        ledger: Ledger,
        invoker: Invoker,
        limits: EventHubs,
        stopping: asyncio.Event,
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._events = events
        self._ledger = ledger
        self._invoker = invoker
        self._limits = limits
        self._stopping = stopping
        self._place = Place(trigger.hub, trigger.consumer_group, function.name, partition)
        self._handled = 0

    async def run(self) -> None:
        """Batch after batch; returns when the host stops. A stream that fails is tried again."""
        failures = 0
        while not self._stopping.is_set():
            handled = self._handled
            try:
                await self._drain()
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001 - whatever a stream raises, its partition is tried again
                failures = 1 if self._handled > handled else failures + 1
                delay = _STREAM_RETRY.delay_s(failures)
                log.warning("%s stands still at hub %s partition %d, next try in %.1f s: %s: %s", self._function.name,
                            self._place.hub, self._place.partition, delay, type(error).__name__, error)  # fmt: skip
                with contextlib.suppress(Stopped):
                    await unless_stopped(self._stopping, asyncio.sleep(delay))

    async def stats(self) -> Sequence[PartitionStats]:
        """Its one partition: lag (the end less the checkpoint) and events handled since the start."""
        bounds = await self._events.bounds(self._place.hub, self._place.partition)
        checkpoint = self._ledger.checkpoint(self._place)
        done = bounds.first if checkpoint is None else max(bounds.first, checkpoint)
        lag = max(0, bounds.end - done)
        return [PartitionStats(self._place.hub, self._place.partition, self._function.name, lag, self._handled)]

    async def _drain(self) -> None:
        start = await self._start()
        reader = Reader(self._events, self._place.hub, self._place.partition, start, self._limits)
        try:
            while True:
                turn, batch = await unless_stopped(self._stopping, self._next(reader))
                if batch[0].sequence > start:
                    log.error("hub %s partition %d: %d events before %d were dropped by retention before %s read them",
                              self._place.hub, self._place.partition, batch[0].sequence - start,
                              batch[0].sequence, self._function.name)  # fmt: skip
                try:
                    succeeded = await self._invoker.with_retries(self._function, encode(self._trigger, batch))
                finally:
                    turn.over()
                start = batch[-1].sequence + 1
                self._ledger.move(self._place, start)
                self._handled += len(batch)
                if not succeeded:
                    log.error("%s: %d events of hub %s partition %d (from %d) are passed over: the function failed",
                              self._function.name, len(batch), self._place.hub,
                              self._place.partition, batch[0].sequence)  # fmt: skip
        finally:
            await reader.close()

    async def _next(self, reader: Reader) -> tuple[Turn, Sequence[StoredEvent]]:
        """The next batch, put together when its turn has come."""
        await reader.come()
        turn = await self._invoker.turns(self._place.partition).next(reader.load)
        try:
            return turn, await reader.batch()
        except BaseException:
            turn.over()
            raise

    async def _start(self) -> int:
        bounds = await self._events.bounds(self._place.hub, self._place.partition)
        checkpoint = self._ledger.checkpoint(self._place)
        if checkpoint is None:
            return bounds.first
        if checkpoint > bounds.end:
            log.warning(
                "hub %s partition %d ends at %d, before the checkpoint %d: it was made anew",
                self._place.hub,
                self._place.partition,
                bounds.end,
                checkpoint,
            )
            return bounds.first
        return checkpoint
