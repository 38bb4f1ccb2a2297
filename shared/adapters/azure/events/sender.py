"""Publishing: one way out a partition, what waits together goes together, and a bound on what is under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from azure.eventhub import EventData, EventDataBatch
from azure.eventhub.aio import EventHubProducerClient

from flockiq.shared.adapters.azure.events.namespace import SEND_S, Namespace
from flockiq.shared.adapters.azure.retries import persist
from flockiq.shared.errors import HubUnavailable

TRY_S = 15.0  # of one try, links opened anew included
CLOSE_S = 5.0
WITHIN_S = 30.0  # how long a publication is tried, before its caller hears that the hub is unavailable


class Room:
    """A bound on the bytes under way; whoever comes first is let in first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Hold ``size`` bytes of it; what is over the whole limit is let in alone."""
        taken = min(size, self._limit)
        if self._queue or self._held + taken > self._limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append((taken, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave(taken)
                raise
        else:
            self._held += taken
        try:
            yield
        finally:
            self._leave(taken)

    def _leave(self, taken: int) -> None:
        self._held -= taken
        while self._queue:
            size, turn = self._queue[0]
            if not turn.done():
                if self._held + size > self._limit:
                    return
                self._held += size
                turn.set_result(None)
            self._queue.popleft()


class Producers:
    """One producer a hub, kept open."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._open: dict[str, EventHubProducerClient] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def get(self, hub: str) -> EventHubProducerClient:
        """The producer of ``hub``."""
        if hub not in self._open:
            self._open[hub] = self._namespace.producer(hub)
        return self._open[hub]

    def give_up(self, hub: str, producer: EventHubProducerClient) -> None:
        """Close a producer that is of no more use, without waiting for it; ``get`` makes another."""
        if self._open.get(hub) is producer:
            del self._open[hub]
            task = asyncio.create_task(_close(producer))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Close them all."""
        producers, self._open = self._open, {}
        await asyncio.gather(*map(_close, producers.values()), *self._leaving)


async def _close(producer: EventHubProducerClient) -> None:
    # What can't be closed in order, or in time, is gone all the same.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_S):
            await producer.close()


@dataclass(slots=True)
class _Call:
    """One caller's events on their way."""

    left: int
    outcome: asyncio.Future[None]


class Lane:
    """One partition's way out: a publication at a time, so order holds; what waits meanwhile goes with the next."""

    def __init__(self, namespace: Namespace, producers: Producers, hub: str, partition: int) -> None:
        self._namespace = namespace
        self._producers = producers
        self._hub = hub
        self._partition = str(partition)
        self._waiting: deque[tuple[EventData, _Call]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def send(self, events: Sequence[EventData]) -> None:
        """Return once every event is acknowledged. HubUnavailable: none is promised."""
        call = _Call(len(events), asyncio.get_running_loop().create_future())
        self._waiting.extend((event, call) for event in events)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        await call.outcome

    async def close(self) -> None:
        """Let what is under way end, and tell who waits that the rest was not sent."""
        if self._task is not None:
            self._fail(HubUnavailable(f"hub {self._hub} was closed before everything was sent"))
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                sent: list[_Call] = []
                try:
                    batch = await self._try(lambda producer: producer.create_batch(partition_id=self._partition))
                    sent = self._fill(batch)
                    await self._send(batch)
                except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
                    self._fail(error, sent)
                    continue
                for call in sent:
                    call.left -= 1
                    if not call.left and not call.outcome.done():
                        call.outcome.set_result(None)
        finally:
            self._task = None

    async def _send(self, batch: EventDataBatch) -> None:
        await self._try(lambda producer: producer.send_batch(batch, timeout=SEND_S))

    async def _try[T](self, work: Callable[[EventHubProducerClient], Awaitable[T]]) -> T:
        """Work with the hub's producer; one that got stuck is given up, and the next try has a new one."""

        async def once() -> T:
            producer = self._producers.get(self._hub)
            try:
                return await work(producer)
            except asyncio.CancelledError:
                self._producers.give_up(self._hub, producer)
                raise

        return await persist(
            once,
            lambda error: self._namespace.judge(error, hub=self._hub),
            within_s=WITHIN_S,
            try_s=TRY_S,
            what=f"publishing to hub {self._hub} partition {self._partition}",
        )

    def _fill(self, batch: EventDataBatch) -> list[_Call]:
        """Move what fits into ``batch``: the call of each event in it."""
        sent: list[_Call] = []
        while self._waiting:
            event, call = self._waiting[0]
            if call.outcome.done():  # its caller has given up: what is left of it is not worth sending
                self._waiting.popleft()
                continue
            try:
                batch.add(event)
            except ValueError:  # the SDK's way to say that it is full
                if not sent:
                    raise
                break
            self._waiting.popleft()
            sent.append(call)
        return sent

    def _fail(self, error: Exception, sent: Sequence[_Call] = ()) -> None:
        """Tell everyone who waits: what comes after a gap would be out of order."""
        calls = [*sent, *(call for _, call in self._waiting)]
        self._waiting.clear()
        for call in calls:
            if not call.outcome.done():
                call.outcome.set_exception(error)
