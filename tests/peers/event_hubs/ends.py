"""Where events come in and go out, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from azure.eventhub._pyamqp.error import AMQPError
from azure.eventhub._pyamqp.outcomes import Accepted, Rejected

from tests.peers.event_hubs import frames
from tests.peers.event_hubs.connection import Dropped, Session
from tests.peers.event_hubs.links import Deliverer, Taker
from tests.peers.event_hubs.log import Event
from tests.peers.event_hubs.nodes import BUSY, FORCED, INTERNAL, INVALID, NOT_FOUND, STOLEN, Place, Refused

CHUNK = 100  # events looked at at once
_RUNTIME_METRIC = b"com.microsoft:enable-receiver-runtime-metric"


class Ingress(Taker):
    """A sender to a hub, or to one partition of it."""

    def __init__(self, session: Session, fields: list[Any]) -> None:
        super().__init__(session, fields)
        self.place: Place = self.connection.hubs.place(self.address)
        partition = "" if self.place.partition is None else self.place.partition
        self._where = f"send/{self.place.hub}/{partition}"

    def arriving(self) -> None:
        """The network may fail in the middle of a message."""
        if self.connection.faults.strikes("dropped", self._where):
            raise Dropped

    async def take(self, message_format: int, payload: bytes) -> Any:
        """Keep a publication, unless something goes wrong."""
        faults, where = self.connection.faults, self._where
        if not self.authorised(self.place.hub):
            return None
        if faults.strikes("slow", where):
            await asyncio.sleep(self.connection.slow_s)
        if faults.strikes("throttled", where):
            description = "The service was unable to process the request; please retry the operation. (server busy)"
            return Rejected(error=AMQPError(BUSY, description, None))
        if faults.strikes("unavailable", where):
            return Rejected(error=AMQPError(INTERNAL, "The service was unable to process the request.", None))
        if faults.strikes("detached", where):
            self.detach(FORCED, "The link was force detached by the broker.")
            return None
        try:
            self.connection.hubs.publish(self.place, message_format, payload)
        except Refused as refused:
            if refused.condition == b"amqp:decode-error":
                return Rejected(error=AMQPError(refused.condition, str(refused), None))
            self.detach(refused.condition, str(refused))
            return None
        if faults.strikes("unacknowledged", where):
            raise Dropped
        return Accepted()


class Egress(Deliverer):
    """A receiver of one partition, for one consumer group."""

    def __init__(self, session: Session, fields: list[Any]) -> None:
        super().__init__(session, fields)
        self.place: Place = self.connection.hubs.place(self.address)
        if self.place.partition is None:
            raise Refused(NOT_FOUND, "A receiver reads one partition.")
        self._where = f"receive/{self.place.hub}/{self.place.partition}"
        properties = fields[13] or {}
        self.epoch: int | None = properties.get(b"com.microsoft:epoch")
        self._metric = _RUNTIME_METRIC in (fields[12] or [])
        partition = self.connection.hubs.partition(self.place.hub, self.place.partition)
        filters = fields[5][7] or {}
        selector = frames.text(filters.get(b"apache.org:selector-filter:string"))
        try:
            self._next = partition.start(selector)
        except ValueError as error:
            raise Refused(INVALID, f"The filter {selector!r} can't be read.") from error
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Attach in place of whom this one's epoch ends, and begin to deliver."""
        taken = self.connection.hubs.admit(self)
        self.attach(max_message_bytes=self.connection.hubs.max_message_bytes)
        for other in taken:
            other.detach(
                STOLEN,
                f"New receiver with epoch of '{self.epoch}' is created hence current receiver with epoch "
                f"'{other.epoch}' is getting disconnected.",
            )
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while not self.closed:
            partition = self.connection.hubs.partition(self.place.hub, self.place.partition or 0)
            more = partition.more
            events = partition.after(self._next, max(0, min(self.credit, CHUNK)))
            for event in events:
                if self.closed or await self._fails():
                    return
                await self.deliver(self._annotated(event))
                self._next = event.sequence + 1
            if not events:
                await self._news(more)

    async def _fails(self) -> bool:
        """Whether something ended this link before an event."""
        faults = self.connection.faults
        if not self.authorised(self.place.hub):
            return True
        if faults.strikes("slow", self._where):
            await asyncio.sleep(self.connection.slow_s)
        if faults.strikes("stolen", self._where):
            self.detach(STOLEN, "New receiver with a higher epoch is created hence this one is disconnected.")
        elif faults.strikes("detached", self._where):
            self.detach(FORCED, "The link was force detached by the broker.")
        return self.closed

    async def _news(self, more: asyncio.Event) -> None:
        """Wait for more events, or for credit."""
        self.wake.clear()
        waits = [asyncio.ensure_future(self.wake.wait())]
        if self.credit > 0:
            waits.append(asyncio.ensure_future(more.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def interrupted(self) -> bool:
        """See ``Deliverer.interrupted``."""
        return self.connection.faults.strikes("dropped", self._where)

    def close(self) -> None:
        """Leave the partition to others."""
        super().close()
        self.connection.hubs.leave(self)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _annotated(self, event: Event) -> bytes:
        said: dict[str, Any] = {
            "x-opt-sequence-number": frames.long(event.sequence),
            "x-opt-offset": str(event.offset),
            "x-opt-enqueued-time": frames.timestamp(event.enqueued_us),
        }
        if event.partition_key is not None:
            said["x-opt-partition-key"] = event.partition_key
        payload = frames.annotations(frames.MESSAGE_ANNOTATIONS, said) + event.message
        if not self._metric:
            return payload
        partition = self.connection.hubs.partition(self.place.hub, self.place.partition or 0)
        metric = {
            "last_enqueued_sequence_number": frames.long(partition.end - 1),
            "last_enqueued_offset": str(partition.last_offset),
            "last_enqueued_time_utc": frames.timestamp(partition.last_us),
            "runtime_info_retrieval_time_utc": frames.timestamp(time.time_ns() // 1000),
        }
        return frames.annotations(frames.DELIVERY_ANNOTATIONS, metric) + payload
