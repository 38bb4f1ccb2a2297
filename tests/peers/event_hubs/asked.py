"""$cbs and $management: what the client asks, and is answered on the other half of its session."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from azure.eventhub._pyamqp.outcomes import Accepted
from azure.eventhub._pyamqp.performatives import DispositionFrame

from tests.peers.event_hubs import frames
from tests.peers.event_hubs.connection import Dropped
from tests.peers.event_hubs.links import Deliverer, Taker
from tests.peers.event_hubs.nodes import NOT_FOUND, Refused


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
