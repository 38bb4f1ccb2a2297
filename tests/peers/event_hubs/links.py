"""What links are: those that take messages from the client, and those that give it some."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from azure.eventhub._pyamqp.endpoints import Source, Target
from azure.eventhub._pyamqp.error import AMQPError
from azure.eventhub._pyamqp.performatives import AttachFrame, DetachFrame, DispositionFrame, TransferFrame

from tests.peers.event_hubs import frames
from tests.peers.event_hubs.connection import Connection, Session
from tests.peers.event_hubs.nodes import UNAUTHORIZED

CREDIT = 300  # messages a sender may have under way


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
