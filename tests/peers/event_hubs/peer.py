"""Azure Event Hubs on 127.0.0.1: what Microsoft's SDK needs of it, over AMQP 1.0.

Models, for ``azure-eventhub`` unmodified:

- the connection: SASL, AMQP 1.0 over TLS as the service serves it, and without as the emulator does
  (``UseDevelopmentEmulator=true``); frames of at most 64 KB, sessions with windows, links with credit;
- ``$cbs`` put-token: shared access signatures are verified (key, audience, expiry), an identity's tokens by signature,
  resource and expiry (``tests.peers.tokens``); over TLS only those are taken, as where local auth is off; without
  a token for its hub a link is refused, and one whose token has run out is detached;
- ``$management`` READ of ``com.microsoft:eventhub`` and ``com.microsoft:partition``;
- senders to a hub (round robin, or by partition key) and to ``hub/Partitions/N``; publications of one event or of a
  batch (message-format 0x80013700), each kept whole or not at all, of at most 1 MB
  (``amqp:link:message-size-exceeded``); what is acknowledged is kept, in order, until retention drops it;
- receivers of ``hub/ConsumerGroups/G/Partitions/N`` from an offset, sequence number, time or @latest; annotations of
  offset, sequence number, enqueued time and partition key; the last enqueued event when asked for;
- epochs: a receiver with the same or a higher epoch takes over (``amqp:link:stolen``), a lower one and one
  without are refused, and at most five without read a partition of a group.

From: OASIS AMQP 1.0; the Service Bus AMQP protocol guide
(https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide); the Event Hubs pages on
quotas, epochs and exceptions (https://learn.microsoft.com/azure/event-hubs/); and what the SDK's own code expects.

Does not model: AMQP over WebSockets; billing units and the pace of throughput units (throttling is a fault
here, never load); consumer groups that must be made first (any name will do); capture, schema registry, Kafka,
geo-replication; partition keys hashed as the service does; rights of Send and Listen apart; idle links being
closed. An offset here is a number of bytes, as the service's were until they became opaque texts.

Faults (``faults``; at ``send/HUB/PARTITION``, ``receive/HUB/PARTITION``, ``manage/HUB`` or ``token/HUB``):

========================= =====================================================================================
throttled                 a publication is rejected with ``com.microsoft:server-busy``; management answers 503
unavailable               a publication is rejected with ``amqp:internal-error``; management answers 500
detached                  a link is detached with ``amqp:link:detach-forced``
dropped                   the connection is cut off in the middle of a message
unacknowledged            a publication is kept, and the connection cut off before it is acknowledged
slow                      an answer or an event comes ``slow_s`` later
stolen                    a receiver's link is detached with ``amqp:link:stolen``: its partition was lost
expired                   a token is refused as expired
========================= =====================================================================================
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Self

from tests.peers.event_hubs.attaching import attach
from tests.peers.event_hubs.connection import Connection
from tests.peers.event_hubs.log import Event, Partition
from tests.peers.event_hubs.nodes import MAX_MESSAGE_BYTES, Hubs
from tests.peers.faults import Faults
from tests.peers.loop import Loop
from tests.peers.tokens import Issuer

KINDS = ("throttled", "unavailable", "detached", "dropped", "unacknowledged", "slow", "stolen", "expired")
KEY_NAME, KEY = "RootManageSharedAccessKey", "a-key-of-the-peer"
HOST = "flockiq.servicebus.windows.net"
"""What a namespace over TLS is called: whoever asks it must find it here at ``port``, and trust its certificate."""


class EventHubs:
    """A namespace with these hubs and their partition counts; serves from entering to leaving.

    With a ``certificate`` it serves TLS, and lets in only whoever has a token: of ``issuer``, or one of ``tokens``.
    """

    def __init__(
        self,
        partitions: Mapping[str, int],
        *,
        retention_s: float = 86_400.0,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        tokens: Sequence[str] = (),
        issuer: Issuer | None = None,
        certificate: ssl.SSLContext | None = None,
        slow_s: float = 0.5,
    ) -> None:
        self.faults = Faults(KINDS)
        self._hubs = Hubs(
            partitions={hub: [Partition() for _ in range(count)] for hub, count in partitions.items()},
            key_name=KEY_NAME,
            key=KEY,
            tokens=frozenset(tokens),
            issuer=issuer,
            keys=certificate is None,
            retention_s=retention_s,
            max_message_bytes=max_message_bytes,
        )
        self._slow_s = slow_s
        self._certificate = certificate
        self._connections: set[Connection] = set()
        self._port = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._loop = stack.enter_context(Loop())
            self._loop.run(self._listen())
            stack.callback(lambda: self._loop.run(self._close()))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    @property
    def connection_string(self) -> str:
        """As an emulator's."""
        return (
            f"Endpoint=sb://127.0.0.1:{self._port};SharedAccessKeyName={KEY_NAME};SharedAccessKey={KEY};"
            "UseDevelopmentEmulator=true"
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """The app settings that name it."""
        if self._certificate is not None:
            return {"EventHub__fullyQualifiedNamespace": HOST}
        return {"EventHub": self.connection_string}

    @property
    def port(self) -> int:
        """Where on 127.0.0.1 it listens."""
        return self._port

    def events(self, hub: str, partition: int) -> Sequence[Event]:
        """What a partition holds now."""
        return list(self._hubs.partitions[hub][partition].events)

    def publications(self, hub: str, partition: int) -> Sequence[int]:
        """How many events each publication to a partition held, in the order they came."""
        return [count for *place, count in list(self._hubs.publications) if place == [hub, partition]]

    def drop(self, hub: str, partition: int, before: int) -> None:
        """Let retention drop what was enqueued before sequence number ``before``."""

        async def drop() -> None:
            self._hubs.partitions[hub][partition].drop(before)

        self._loop.run(drop())

    def receivers(self, hub: str, partition: int, group: str = "$Default") -> int:
        """How many receivers read a partition for a consumer group."""
        return len(self._hubs.receivers.get((hub, partition, group), []))

    def cut(self) -> None:
        """Cut every connection off, as a network would."""

        async def cut() -> None:
            for connection in self._connections:
                connection.abort()

        self._loop.run(cut())

    def revoke(self) -> None:
        """Let every token that was put end now: links end at their next message, and new ones need a new token."""

        async def revoke() -> None:
            for connection in self._connections:
                connection.revoke()

        self._loop.run(revoke())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._certificate)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, hubs=self._hubs, faults=self.faults, slow_s=self._slow_s, attach=attach)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()
