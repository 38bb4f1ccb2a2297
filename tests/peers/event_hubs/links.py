"""The four kinds of links, and what goes wrong on them."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from azure.eventhub._pyamqp.endpoints import Source, Target
from azure.eventhub._pyamqp.error import AMQPError
from azure.eventhub._pyamqp.outcomes import Accepted, Rejected
from azure.eventhub._pyamqp.performatives import AttachFrame, DetachFrame, DispositionFrame, TransferFrame

from tests.peers.event_hubs import frames
from tests.peers.event_hubs.connection import Connection, Dropped, Session
from tests.peers.event_hubs.log import Event
from tests.peers.event_hubs.nodes import (
    BUSY,
    FORCED,
    INTERNAL,
    INVALID,
    NOT_FOUND,
    STOLEN,
    UNAUTHORIZED,
    Place,
    Refused,
)

CREDIT = 300  # messages a sender may have under way
CHUNK = 100  # events looked at at once
_RUNTIME_METRIC = b"com.microsoft:enable-receiver-runtime-metric"


class Link:
    """What every link has: a name, a handle that both sides use, and an end."""

    def __init__(self, session: Session, fields: list[Any]) -> None:
        self.session = session
        self.connection: Connection = session.connection
        self.handle: int = fields[1]
        self.name: bytes = fields[0]
        self.client_receives: bool = fields[2]
        self.address = frames.text((fields[5] if self.client_receives else fields[6])[0])
        self.closed = False

    def attach(self, *, max_message_bytes: int | None = None, refused: bool = False) -> None:
        """Answer the client's attach; a refused one has neither source nor target, and a detach follows."""
        self.session.send(
            AttachFrame(
                name=frames.text(self.name),
                handle=self.handle,
                role=not self.client_receives,
                send_settle_mode=0 if self.client_receives else 2,
                rcv_settle_mode=0,
                source=None if refused else Source(address=self.address),
                target=None if refused else Target(address=self.address),
                unsettled=None,
                incomplete_unsettled=False,
                initial_delivery_count=0 if self.client_receives else None,
                max_message_size=max_message_bytes,
                offered_capabilities=None,
                desired_capabilities=None,
                properties=None,
            )
        )

    def detach(self, condition: bytes, description: str) -> None:
        """End this link, and say why."""
        if not self.closed:
            self.close()
            self.session.links.pop(self.handle, None)
            self.session.send(DetachFrame(self.handle, True, AMQPError(condition, description, None)))  # noqa: FBT003

    def authorised(self, hub: str) -> bool:
        """Whether this connection's tokens still cover ``hub``; the link ends if not."""
        if self.connection.may(hub, time.time()):
            return True
        self.detach(UNAUTHORIZED, "Unauthorized access. The token is expired or was never put.")
        return False

    def on_flow(self, fields: list[Any]) -> None:
        """Only links that deliver mind."""

    async def on_transfer(self, fields: list[Any]) -> None:
        """Only links that take messages mind."""

    def close(self) -> None:
        """It is gone."""
        self.closed = True


class Taker(Link):
    """A link that takes messages whole."""

    def __init__(self, session: Session, fields: list[Any]) -> None:
        super().__init__(session, fields)
        self._parts: list[bytes] = []
        self._delivery: tuple[int, int] | None = None
        self._count = 0
        self._credit = CREDIT

    def begin(self, max_message_bytes: int | None = None) -> None:
        """Attach, and give credit."""
        self.attach(max_message_bytes=max_message_bytes)
        self._give()

    async def on_transfer(self, fields: list[Any]) -> None:
        """See ``AnyLink.on_transfer``."""
        if self._delivery is None:
            self._delivery = fields[1], fields[3] or 0
        self._parts.append(bytes(fields[-1]))
        self.arriving()
        if fields[5]:  # more
            return
        (delivery, message_format), payload = self._delivery, b"".join(self._parts)
        self._delivery, self._parts = None, []
        self._count += 1
        self._credit -= 1
        outcome = await self.take(message_format, payload)
        if outcome is not None and not self.closed:
            self.session.send(DispositionFrame(True, delivery, delivery, True, outcome, None))  # noqa: FBT003
        if self._credit <= CREDIT // 2 and not self.closed:
            self._credit = CREDIT
            self._give()

    def arriving(self) -> None:
        """A frame of a message has come."""

    async def take(self, message_format: int, payload: bytes) -> Any:
        """Take a message; its outcome, or None if there is to be none."""
        raise NotImplementedError

    def _give(self) -> None:
        self.session.flow({"handle": self.handle, "delivery_count": self._count, "link_credit": self._credit})


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


class Deliverer(Link):
    """A link that gives messages to the client, as its credit and window allow."""

    def __init__(self, session: Session, fields: list[Any]) -> None:
        super().__init__(session, fields)
        self.credit = 0
        self._sent = 0
        self.wake = asyncio.Event()

    def on_flow(self, fields: list[Any]) -> None:
        """See ``AnyLink.on_flow``."""
        self.credit = (fields[5] or 0) + (fields[6] or 0) - self._sent
        self.wake.set()

    async def deliver(self, payload: bytes) -> None:
        """Send a message in as many frames as it takes, settled."""
        room = self.connection.max_frame - 64  # of a frame's own fields
        pieces = [payload[at : at + room] for at in range(0, len(payload), room)] or [b""]
        delivery = self.session.next_outgoing_id
        for number, piece in enumerate(pieces):
            await self.session.has_room()
            if self.closed:
                return
            first = number == 0
            frame = TransferFrame(
                handle=self.handle,
                delivery_id=delivery if first else None,
                delivery_tag=self._sent.to_bytes(4, "big") if first else None,
                message_format=0 if first else None,
                settled=True,
                more=number < len(pieces) - 1,
                payload=piece,
            )
            if self.interrupted():
                self.connection.send_part(self.session.channel, frame)
                await self.connection.drained()
                self.connection.abort()
                return
            self.session.send(frame)
            self.session.next_outgoing_id += 1
            self.session.remote_window -= 1
        self._sent += 1
        self.credit -= 1
        await self.connection.drained()

    def interrupted(self) -> bool:
        """Whether the network fails in the middle of this frame."""
        return False


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


class Node(Taker):
    """The request half of $cbs or $management; it answers on the response half of its session."""

    _numbers = itertools.count()

    async def take(self, message_format: int, payload: bytes) -> Any:
        """Answer a request."""
        del message_format
        said = {part.code: part.value for part in frames.sections(payload)}
        application = {frames.text(k): v for k, v in (said.get(frames.APPLICATION_PROPERTIES) or {}).items()}
        status, description, value = await self.answer(application, said.get(0x77))
        answer = frames.message(
            correlation_id=said[frames.PROPERTIES][0],
            application={"status-code": status, "status-description": description},
            value=value,
        )
        for link in self.session.links.values():
            if isinstance(link, Deliverer) and link.address == self.address:
                self.session.send(DispositionFrame(True, self._count - 1, self._count - 1, True, Accepted(), None))  # noqa: FBT003
                await link.deliver(answer)
        return None

    async def answer(self, application: dict[str, Any], value: Any) -> tuple[int, str, Any]:
        """The status, a description of it, and the answer's value."""
        raise NotImplementedError


class Cbs(Node):
    """$cbs: takes tokens. https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide."""

    async def answer(self, application: dict[str, Any], value: Any) -> tuple[int, str, Any]:
        """put-token."""
        audience = str(frames.text(application.get("name")))
        if self.connection.faults.strikes("expired", f"token/{audience.rpartition('/')[2]}"):
            return 401, "ExpiredToken: The token is expired.", None
        try:
            until = self.connection.hubs.authorise(str(frames.text(value)), audience, time.time())
        except PermissionError as error:
            return 401, str(error), None
        self.connection.grant(audience, until)
        return 202, "Accepted", None


class Management(Node):
    """$management: READ of a hub's and of a partition's properties."""

    async def answer(self, application: dict[str, Any], value: Any) -> tuple[int, str, Any]:
        """READ."""
        del value
        hub = str(frames.text(application.get("name")))
        hubs, where = self.connection.hubs, f"manage/{hub}"
        if self.connection.faults.strikes("slow", where):
            await asyncio.sleep(self.connection.slow_s)
        if self.connection.faults.strikes("dropped", where):
            raise Dropped
        if self.connection.faults.strikes("throttled", where):
            return 503, "The service is busy; please retry the operation.", None
        if self.connection.faults.strikes("unavailable", where):
            return 500, "The service was unable to process the request.", None
        if not self.connection.may(hub, time.time()):
            return 401, "Unauthorized access.", None
        try:
            if frames.text(application.get("type")) == "com.microsoft:partition":
                number = int(frames.text(application.get("partition")) or -1)
                return 200, "OK", hubs.partition_properties(hub, number)
            return 200, "OK", hubs.properties(hub)
        except Refused as refused:
            return (404 if refused.condition == NOT_FOUND else 400), str(refused), None


def attach(session: Session, fields: list[Any]) -> Link | None:
    """The link that an attach asks for; None if it was refused."""
    plain = Link(session, fields)
    try:
        return _made(plain.address, plain.client_receives, session, fields)
    except Refused as refused:
        plain.attach(refused=True)
        plain.detach(refused.condition, str(refused))
        return None


def _made(address: str, client_receives: bool, session: Session, fields: list[Any]) -> Link:  # noqa: FBT001 - as AMQP's role is
    if address in {"$cbs", "$management"}:
        if client_receives:
            answers = Deliverer(session, fields)
            answers.attach()
            return answers
        node = (Cbs if address == "$cbs" else Management)(session, fields)
        node.begin()
        return node
    hub = session.connection.hubs.place(address).hub
    if not session.connection.may(hub, time.time()):
        raise Refused(UNAUTHORIZED, "Unauthorized access. 'Send' or 'Listen' claim(s) are required.")
    if client_receives:
        receiver = Egress(session, fields)
        receiver.begin()
        return receiver
    sender = Ingress(session, fields)
    sender.begin(session.connection.hubs.max_message_bytes)
    return sender
