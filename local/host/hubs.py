"""From a hub in Event Hubs to a function: partitions shared with other hosts, a batch at a time.

As Azure's host does, on Microsoft's client: partitions are claimed and balanced over the hosts that run, a batch is
tried again while the function's policy says so, and then the checkpoint moves. A partition lost meanwhile goes on
elsewhere from the last checkpoint; what is in hand here is let end, and moves no checkpoint. So for a moment two
hosts may have the same events, as in Azure. ``minEventBatchSize`` is not acted on: a batch is what has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from azure.eventhub import CloseReason, EventData
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, PartitionContext

from flockiq.local.host.batches import encode
from flockiq.local.host.checkpoints import RegistryCheckpoints
from flockiq.local.host.errors import HostError, Stopped
from flockiq.local.host.functions import EventHubTrigger, Function
from flockiq.local.host.invoker import Invoker
from flockiq.local.host.ledger import Ledger
from flockiq.local.host.pumps import Pump
from flockiq.local.host.retries import RetryPolicy, unless_stopped
from flockiq.local.host.settings import EventHubs
from flockiq.local.host.stats import PartitionStats
from flockiq.shared.adapters.azure.events.tail import stored
from flockiq.shared.ports import Bounds, EventStream, Registry

log = logging.getLogger("flockiq.host")

BALANCE_S = 2.0  # between looks at who holds what
EXPIRES_S = 12.0  # an ownership that was not renewed for so long is anybody's
BOUNDS_S = 5.0  # how long a partition's end, which costs a connection to ask for, is believed
_RETRY = RetryPolicy(most=-1, first_s=0.5, longest_s=30, grows=True)


@runtime_checkable
class Consumable(Protocol):
    """An event stream whose hubs are read through Microsoft's client."""

    def consumer(
        self, hub: str, group: str, store: CheckpointStore | None = None, **given: Any
    ) -> EventHubConsumerClient:
        """A client that reads ``hub`` for a consumer group."""
        ...


async def feeding(
    function: Function,
    trigger: EventHubTrigger,
    *,
    events: EventStream,
    ledger: Ledger,
    registry: Callable[[], Registry] | None,
    invoker: Invoker,
    limits: EventHubs,
    stopping: asyncio.Event,
) -> list[Pump | Feed]:
    """What brings the events of one hub to its function: a feed, or a pump for each partition.

    NotFound if there is no such hub; HostError without a ``registry`` to share partitions by.
    """
    partitions = await events.partition_count(trigger.hub)
    if not isinstance(events, Consumable):
        return [
            Pump(
                function,
                trigger,
                partition,
                events=events,
                ledger=ledger,
                invoker=invoker,
                limits=limits,
                stopping=stopping,
            )
            for partition in range(partitions)
        ]
    if registry is None:
        raise HostError("hubs in Event Hubs are shared with other hosts; give this one a registry for checkpoints.")
    store = RegistryCheckpoints(registry())
    return [
        Feed(
            function,
            trigger,
            events=events,
            consumable=events,
            store=store,
            invoker=invoker,
            limits=limits,
            stopping=stopping,
        )
    ]


class Feed:
    """Feeds the partitions of one hub that this host holds to one function, until the host stops."""

    def __init__(
        self,
        function: Function,
        trigger: EventHubTrigger,
        *,
        events: EventStream,
        consumable: Consumable,
        store: RegistryCheckpoints,
        invoker: Invoker,
        limits: EventHubs,
        stopping: asyncio.Event,
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._events = events
        self._consumable = consumable
        self._store = store
        self._invoker = invoker
        self._limits = limits
        self._stopping = stopping
        self._held: dict[int, object] = {}  # partition: a token of this holding of it
        self._turn: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._in_hand: set[asyncio.Task[None]] = set()
        self._handled: dict[int, int] = defaultdict(int)
        self._bounds: dict[int, tuple[float, Bounds]] = {}

    @property
    def held(self) -> Sequence[int]:
        """The partitions that this host holds now."""
        return sorted(self._held)

    async def run(self) -> None:
        """Hold partitions and feed their batches; returns when the host stops and what is in hand has ended."""
        failures = 0
        while not self._stopping.is_set():
            try:
                await self._receive()
            except Stopped:
                break
            except Exception as error:  # noqa: BLE001 - whatever the client raises, the hub is tried again
                failures += 1
                self._say(None, error)
                with contextlib.suppress(Stopped):
                    await unless_stopped(self._stopping, asyncio.sleep(_RETRY.delay_s(failures)))

    async def stats(self) -> Sequence[PartitionStats]:
        """Lag (the end less the checkpoint) of every partition, and events handled here since the start."""
        count = await self._events.partition_count(self._trigger.hub)
        done = await self._store.read(self._trigger.hub, self._trigger.consumer_group)
        bounds = await asyncio.gather(*(self._known_bounds(partition) for partition in range(count)))
        found = []
        for partition, (first, end) in enumerate(bounds):
            checkpoint = done.get(partition)
            begin = max(first, checkpoint.sequence + 1) if checkpoint else first
            lag = max(0, end - begin)
            found.append(
                PartitionStats(self._trigger.hub, partition, self._function.name, lag, self._handled[partition])
            )
        return found

    async def _known_bounds(self, partition: int) -> Bounds:
        asked, bounds = self._bounds.get(partition, (-BOUNDS_S, Bounds(0, 0)))
        if time.monotonic() - asked >= BOUNDS_S:
            bounds = await self._events.bounds(self._trigger.hub, partition)
            self._bounds[partition] = (time.monotonic(), bounds)
        return bounds

    async def _receive(self) -> None:
        client = self._consumable.consumer(
            self._trigger.hub,
            self._trigger.consumer_group,
            self._store,
            retry_total=3,
            retry_backoff_factor=0.2,
            load_balancing_interval=BALANCE_S,
            partition_ownership_expiration_interval=EXPIRES_S,
        )
        try:
            await unless_stopped(
                self._stopping,
                client.receive_batch(
                    self._on_batch,
                    max_batch_size=self._limits.max_event_batch_size,
                    prefetch=self._limits.prefetch_count,
                    starting_position="-1",
                    on_error=self._on_error,
                    on_partition_initialize=self._on_hold,
                    on_partition_close=self._on_lose,
                ),
            )
        finally:
            await asyncio.gather(*self._in_hand, return_exceptions=True)
            await client.close()

    async def _on_hold(self, context: PartitionContext) -> None:
        self._held[int(context.partition_id)] = object()

    async def _on_lose(self, context: PartitionContext, reason: CloseReason) -> None:
        self._held.pop(int(context.partition_id), None)
        if reason is CloseReason.OWNERSHIP_LOST:
            log.info("%s: hub %s partition %s has passed on", self._function.name, self._trigger.hub,
                     context.partition_id)  # fmt: skip

    async def _on_error(self, context: PartitionContext | None, error: Exception) -> None:
        self._say(context, error)

    async def _on_batch(self, context: PartitionContext, events: Sequence[EventData]) -> None:
        """Handle a batch to its end, also if the partition is lost or the host stops meanwhile."""
        work = asyncio.create_task(self._handle(context, events))
        self._in_hand.add(work)
        work.add_done_callback(self._in_hand.discard)
        await asyncio.shield(work)

    async def _handle(self, context: PartitionContext, events: Sequence[EventData]) -> None:
        partition = int(context.partition_id)
        holding = self._held.get(partition)
        async with self._turn[partition]:  # a partition lost and held again runs no two batches at once
            if holding is None or self._held.get(partition) is not holding:
                return
            batch = [stored(partition, event) for event in events]
            try:
                succeeded = await self._invoker.with_retries(self._function, encode(self._trigger, batch))
            except Stopped:
                self._held.pop(partition, None)  # what comes after this batch must not be handled before it
                return
            if not succeeded:
                log.error("%s: %d events of hub %s partition %d (from %d) are passed over: the function failed",
                          self._function.name, len(batch), self._trigger.hub, partition, batch[0].sequence)  # fmt: skip
            if self._held.get(partition) is holding:
                await context.update_checkpoint(events[-1])
                self._handled[partition] += len(batch)

    def _say(self, context: PartitionContext | None, error: Exception) -> None:
        partition = f" partition {context.partition_id}" if context else ""
        log.warning("%s stands still at hub %s%s and tries again: %s: %s", self._function.name, self._trigger.hub,
                    partition, type(error).__name__, str(error))  # fmt: skip
