"""Azure Event Hubs as the event stream.

Events go to partitions by id, over one producer a hub that is kept open; in Azure the Functions host brings them
to the triggers, so reading here serves replays and lag only, in a consumer group of its own: the host holds
``$Default`` alone.
https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from azure.eventhub import EventData
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient

from flockiq.shared import overflow
from flockiq.shared.adapters.azure.events.namespace import Namespace
from flockiq.shared.adapters.azure.events.sender import WITHIN_S, Lane, Producers, Room
from flockiq.shared.adapters.azure.events.tail import Tail
from flockiq.shared.adapters.azure.retries import persist
from flockiq.shared.errors import BadRecord, ConfigError, HubUnavailable, NotFound, Problem
from flockiq.shared.ports import MAX_EVENT_BYTES, Blobs, Bounds, OutgoingEvent, StoredEvent
from flockiq.shared.settings import READ_GROUP

UNDER_WAY_BYTES = 16_000_000  # of bodies this process has given to the hubs and not yet heard of
READ_S = 60.0  # one try of one reading: a new receiver, and what it is to bring
_FRAMING_BYTES = 256  # what AMQP puts around one event of a publication, beside its properties

type Key = tuple[str, int]


class HubEvents:
    """EventStream over an Event Hubs namespace.

    ``partitions`` is each hub's count as the settings have it; a hub with another count is refused (ConfigError).
    What a publication can't hold (1 MB, as the service itself says) is kept in ``blobs``.
    """

    def __init__(self, namespace: Namespace, partitions: Mapping[str, int], blobs: Blobs) -> None:
        self._namespace = namespace
        self._partitions = dict(partitions)
        self._blobs = blobs
        self._counts: dict[str, int] = {}
        self._producers = Producers(namespace)
        self._askers: dict[str, EventHubConsumerClient] = {}
        self._lanes: dict[Key, Lane] = {}
        self._limits: dict[str, int] = {}
        self._tails: dict[Key, Tail] = {}
        self._reading: dict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._first: dict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._room = Room(UNDER_WAY_BYTES)
        self._leaving: set[asyncio.Task[None]] = set()

    async def partition_count(self, hub: str) -> int:
        """See ``EventStream.partition_count``; ConfigError if the settings say another."""
        async with self._first["count", hub]:  # whoever comes meanwhile waits for the answer, and asks no second time
            if hub not in self._counts:
                count = len(await self._ask(hub, lambda asker: asker.get_partition_ids()))
                wanted = self._partitions.get(hub, count)
                if count != wanted:
                    setting = f"FLOCKIQ_PARTITIONS_{hub.upper()}"
                    wrong = f"hub {hub} has {count} partitions, the settings say {wanted}"
                    raise ConfigError([Problem(setting, 0, "", wrong, f"set it to {count}")])
                self._counts[hub] = count
        return self._counts[hub]

    async def publish(self, hub: str, events: Sequence[OutgoingEvent]) -> None:
        """See ``EventStream.publish``; nothing is written if an event is over MAX_EVENT_BYTES (BadRecord)."""
        if not events:
            return
        # Both are asked at once the first time: a cold start waits for one connection less.
        _, limit = await asyncio.gather(self.partition_count(hub), self._limit(hub))
        total = 0
        for event in events:
            await self._check(hub, event.partition)
            size = len(event.body) + len(msgspec.json.encode(event.properties))
            if size > MAX_EVENT_BYTES:
                raise BadRecord(f"an event of {size:,} bytes for hub {hub} is over the limit of {MAX_EVENT_BYTES:,}")
            total += len(event.body)
        async with self._room.of(total):
            outgoing: dict[int, list[EventData]] = defaultdict(list)
            for event in events:
                outgoing[event.partition].append(await self._outgoing(hub, event, limit))
            outcomes = await asyncio.gather(
                *(self._lane(hub, partition).send(some) for partition, some in outgoing.items()),
                return_exceptions=True,
            )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def read(self, hub: str, partition: int, start: int, limit: int) -> Sequence[StoredEvent]:
        """See ``EventStream.read``; stops at AHEAD_BYTES. What lies in the blobs is brought back."""
        await self._check(hub, partition)
        if limit <= 0:
            return []
        key = (hub, partition)
        async with self._reading[key]:
            found = await persist(
                lambda: self._take(key, max(start, 0), limit),
                lambda error: self._namespace.judge(error, hub=hub),
                within_s=WITHIN_S,
                try_s=READ_S,
                what=f"reading hub {hub} partition {partition}",
            )
        return [msgspec.structs.replace(one, body=await overflow.whole(self._blobs, one.body)) for one in found]

    async def bounds(self, hub: str, partition: int) -> Bounds:
        """See ``EventStream.bounds``."""
        await self._check(hub, partition)
        said = await self._ask(hub, lambda asker: asker.get_partition_properties(str(partition)))
        end = said["last_enqueued_sequence_number"] + 1
        return Bounds(end if said["is_empty"] else said["beginning_sequence_number"], end)

    def consumer(
        self, hub: str, group: str, store: CheckpointStore | None = None, **given: Any
    ) -> EventHubConsumerClient:
        """The SDK's own client for a hub, for a host that brings its events to functions."""
        return self._namespace.consumer(hub, group, store, **given)

    async def close(self) -> None:
        """See ``EventStream.close``; what is under way is let end."""
        lanes, self._lanes = self._lanes, {}
        await asyncio.gather(*(lane.close() for lane in lanes.values()))
        tails, self._tails = self._tails, {}
        askers, self._askers = self._askers, {}
        work = [
            *(tail.close() for tail in tails.values()),
            self._producers.close(),
            *(asker.close() for asker in askers.values()),
            *self._leaving,
        ]
        await asyncio.gather(*work, return_exceptions=True)  # what can't be closed in order is gone all the same

    async def _check(self, hub: str, partition: int) -> None:
        count = await self.partition_count(hub)
        if not 0 <= partition < count:
            raise NotFound(f"hub {hub!r} has no partition {partition}; it has 0 to {count - 1}")

    async def _ask[T](self, hub: str, question: Callable[[EventHubConsumerClient], Awaitable[T]]) -> T:
        if hub not in self._askers:
            self._askers[hub] = self._namespace.consumer(hub, READ_GROUP)
        return await persist(
            lambda: question(self._askers[hub]),
            lambda error: self._namespace.judge(error, hub=hub),
            within_s=WITHIN_S,
            what=f"asking hub {hub}",
        )

    def _lane(self, hub: str, partition: int) -> Lane:
        key = (hub, partition)
        if key not in self._lanes:
            self._lanes[key] = Lane(self._namespace, self._producers, hub, partition)
        return self._lanes[key]

    async def _limit(self, hub: str) -> int:
        """How many bytes a publication to ``hub`` may have: the tier's, as the service says."""
        async with self._first["limit", hub]:
            if hub not in self._limits:
                batch = await persist(
                    lambda: self._producers.get(hub).create_batch(),
                    lambda error: self._namespace.judge(error, hub=hub),
                    within_s=WITHIN_S,
                    what=f"asking hub {hub} how much it takes",
                )
                self._limits[hub] = batch.max_size_in_bytes
        return self._limits[hub]

    async def _outgoing(self, hub: str, event: OutgoingEvent, limit: int) -> EventData:
        body = event.body
        if len(body) + len(msgspec.json.encode(event.properties)) + _FRAMING_BYTES > limit:
            body = await overflow.keep(self._blobs, hub, event.partition, body)
        data = EventData(body)
        data.properties.update(event.properties)
        return data

    async def _take(self, key: Key, start: int, limit: int) -> Sequence[StoredEvent]:
        """Read on with the tail there is, or with a new one; [] at the end."""
        hub, partition = key
        tail = self._tails.get(key)
        if tail is None or not tail.holds(start):
            bounds = await self.bounds(hub, partition)
            start = max(start, bounds.first)
            if start >= bounds.end:
                return []
            if tail is not None and tail.continues(start):
                tail.end = bounds.end
            else:
                if tail is not None:
                    self._leave(key, tail)
                tail = self._tails[key] = Tail(self._namespace.consumer(hub, READ_GROUP), partition, start, bounds.end)
        try:
            return await tail.take(start, limit)
        except TimeoutError as error:
            self._leave(key, tail)
            raise HubUnavailable(f"hub {hub} partition {partition} sends nothing of what it says it holds") from error
        except Exception:
            self._leave(key, tail)
            raise

    def _leave(self, key: Key, tail: Tail) -> None:
        """Close a tail that is of no more use, without waiting for it."""
        if self._tails.get(key) is tail:
            del self._tails[key]
        task = asyncio.create_task(tail.close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
