"""One client's connection: the handshake, sessions, and frames handed to the links they are for."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Protocol

from azure.eventhub._pyamqp.error import AMQPError
from azure.eventhub._pyamqp.performatives import (
    BeginFrame,
    CloseFrame,
    DetachFrame,
    EndFrame,
    FlowFrame,
    OpenFrame,
    SASLMechanism,
    SASLOutcome,
)

from tests.peers.event_hubs import frames
from tests.peers.event_hubs.nodes import Hubs
from tests.peers.faults import Faults

WINDOW = 5_000  # transfer frames a session takes before it hears of more
IDLE_MS = 240_000  # what the service asks for: a client must be heard of as often


class Dropped(Exception):
    """The connection is to be cut off here and now."""


class AnyLink(Protocol):
    """What a session hands frames to."""

    def on_flow(self, fields: list[Any]) -> None:
        """The client gives credit."""
        ...

    async def on_transfer(self, fields: list[Any]) -> None:
        """The client sends a frame of a message."""
        ...

    def close(self) -> None:
        """The link, its session or its connection is gone."""
        ...


class Session:
    """One session of a connection: windows, and links by the client's handle."""

    def __init__(self, connection: Connection, channel: int, fields: list[Any]) -> None:
        self.connection = connection
        self.channel = channel  # both sides use the client's number
        self.links: dict[int, AnyLink] = {}
        self.next_incoming_id = fields[1]
        self.incoming_window = WINDOW
        self.next_outgoing_id = 0
        self.remote_window = fields[2]
        self.room = asyncio.Event()

    def send(self, performative: Any) -> None:
        """Write a frame on this session's channel."""
        self.connection.send(self.channel, performative)

    def flow(self, link: dict[str, Any] | None = None) -> None:
        """Say how much this side takes; of a link too, if given."""
        self.send(
            FlowFrame(
                next_incoming_id=self.next_incoming_id,
                incoming_window=self.incoming_window,
                next_outgoing_id=self.next_outgoing_id,
                outgoing_window=WINDOW,
                **(link or {}),
            )
        )

    def took(self) -> None:
        """A transfer frame came in."""
        self.next_incoming_id += 1
        self.incoming_window -= 1
        if self.incoming_window <= WINDOW // 2:
            self.incoming_window = WINDOW
            self.flow()

    def on_flow(self, fields: list[Any]) -> None:
        """The client says how much it takes."""
        base = fields[0] if fields[0] is not None else 0
        self.remote_window = base + fields[1] - self.next_outgoing_id
        if self.remote_window > 0:
            self.room.set()
        if fields[4] is not None and fields[4] in self.links:
            self.links[fields[4]].on_flow(fields)

    async def has_room(self) -> None:
        """Wait until the client takes another transfer frame."""
        while self.remote_window <= 0:
            self.room.clear()
            await self.room.wait()

    def close(self) -> None:
        """Close every link."""
        for link in list(self.links.values()):
            link.close()
        self.links.clear()


class Connection:
    """Serves one socket until either side ends it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        hubs: Hubs,
        faults: Faults,
        slow_s: float,
        attach: Callable[[Session, list[Any]], AnyLink | None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.hubs = hubs
        self.faults = faults
        self.slow_s = slow_s
        self._attach = attach
        self._sessions: dict[int, Session] = {}
        self.max_frame = frames.MAX_FRAME_BYTES
        self._granted: dict[str, float] = {}  # audience: until when

    async def serve(self) -> None:
        """Until the client closes, breaks the protocol, or a fault cuts it off."""
        try:
            while True:
                head = await self._reader.readexactly(8)
                if head[:4] == b"AMQP":
                    self._on_header(head)
                    continue
                size, kind, channel = struct.unpack(">I", head[:4])[0], head[5], struct.unpack(">H", head[6:])[0]
                if not 8 <= size <= frames.MAX_FRAME_BYTES:
                    self._end(AMQPError(b"amqp:connection:framing-error", f"a frame of {size} bytes", None))
                    break
                body = await self._reader.readexactly(size - 8)
                if body and not await self._on_frame(kind, channel, *frames.decode(body)):
                    break
                await self._writer.drain()
        except Dropped:
            self.abort()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for session in self._sessions.values():
                session.close()
            self._writer.close()

    def send(self, channel: int, performative: Any) -> None:
        """Write a frame; it is lost if the client is gone."""
        if not self._writer.is_closing():
            self._writer.write(frames.encode(channel, performative))

    def send_part(self, channel: int, performative: Any) -> None:
        """Write half of a frame."""
        frame = frames.encode(channel, performative)
        self._writer.write(frame[: len(frame) // 2])

    async def drained(self) -> None:
        """Wait until the client keeps up."""
        await self._writer.drain()

    def abort(self) -> None:
        """Cut off, as a network would."""
        self._writer.transport.abort()

    def grant(self, audience: str, until: float) -> None:
        """A token for ``audience`` was put."""
        self._granted[audience.rstrip("/")] = until

    def revoke(self) -> None:
        """No token of this connection is good any more."""
        self._granted.clear()

    def may(self, hub: str, now: float) -> bool:
        """Whether a token of this connection covers ``hub`` now."""
        return any(
            until > now and audience.partition("://")[2].partition("/")[2].split("/")[0] in {"", hub}
            for audience, until in self._granted.items()
        )

    def _on_header(self, head: bytes) -> None:
        self._writer.write(head)
        if head == frames.SASL_HEADER:
            mechanisms = SASLMechanism(sasl_server_mechanisms=[b"MSSBCBS", b"PLAIN", b"ANONYMOUS", b"EXTERNAL"])
            self._writer.write(frames.encode(0, mechanisms, sasl=True))

    async def _on_frame(self, kind: int, channel: int, code: int, fields: list[Any]) -> bool:
        """Deal with a frame; False ends the connection."""
        if kind == 1:
            if code == frames.SASL_INIT:
                self._writer.write(frames.encode(0, SASLOutcome(code=0, additional_data=None), sasl=True))
            return True
        if code == frames.OPEN:
            self._on_open(fields)
        elif code == frames.BEGIN:
            self._on_begin(channel, fields)
        elif code == frames.CLOSE:
            self._end(None)
            return False
        elif channel in self._sessions:
            await self._in_session(self._sessions[channel], code, fields)
        return True

    def _on_open(self, fields: list[Any]) -> None:
        self.max_frame = min(fields[2] or frames.MAX_FRAME_BYTES, frames.MAX_FRAME_BYTES)
        self.send(
            0,
            OpenFrame(
                container_id=f"peer-{id(self):x}",
                hostname=None,
                max_frame_size=frames.MAX_FRAME_BYTES,
                channel_max=255,
                idle_timeout=IDLE_MS,
                outgoing_locales=None,
                incoming_locales=None,
                offered_capabilities=None,
                desired_capabilities=None,
                properties=None,
            ),
        )

    def _on_begin(self, channel: int, fields: list[Any]) -> None:
        self._sessions[channel] = Session(self, channel, fields)
        self.send(
            channel,
            BeginFrame(
                remote_channel=channel,
                next_outgoing_id=0,
                incoming_window=WINDOW,
                outgoing_window=WINDOW,
                handle_max=255,
                offered_capabilities=None,
                desired_capabilities=None,
                properties=None,
            ),
        )

    async def _in_session(self, session: Session, code: int, fields: list[Any]) -> None:
        if code == frames.ATTACH:
            link = self._attach(session, fields)
            if link is not None:
                session.links[fields[1]] = link
        elif code == frames.FLOW:
            session.on_flow(fields)
        elif code == frames.TRANSFER:
            session.took()
            if fields[0] in session.links:
                await session.links[fields[0]].on_transfer(fields)
        elif code == frames.DETACH:
            link = session.links.pop(fields[0], None)
            if link is not None:
                link.close()
                detach(session, fields[0], None)
        elif code == frames.END:
            session.close()
            session.send(EndFrame(error=None))

    def _end(self, error: AMQPError | None) -> None:
        self.send(0, CloseFrame(error=error))


def detach(session: Session, handle: int, error: AMQPError | None) -> None:
    """End a link for good."""
    session.send(DetachFrame(handle=handle, closed=True, error=error))
