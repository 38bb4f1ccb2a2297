"""Ports over shared endpoints as if they were a test's own: under names of its own, and nothing there from before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from flockiq.shared.errors import NotFound
from flockiq.shared.ports import Bounds, EventStream, OutgoingEvent, Secrets, StoredEvent

_SECRET: Final = re.compile(r"[0-9A-Za-z-]{1,100}")


class EventsApart:
    """Hubs whose names begin with ``prefix``; what lies before ``began`` (by hub and partition) is passed over."""

    def __init__(self, events: EventStream, prefix: str, began: Mapping[tuple[str, int], int]) -> None:
        self._events, self._prefix, self._began = events, prefix, began

    async def partition_count(self, hub: str) -> int:
        """See ``EventStream.partition_count``."""
        return await self._events.partition_count(self._prefix + hub)

    async def publish(self, hub: str, events: Sequence[OutgoingEvent]) -> None:
        """See ``EventStream.publish``."""
        await self._events.publish(self._prefix + hub, events)

    async def read(self, hub: str, partition: int, start: int, limit: int) -> Sequence[StoredEvent]:
        """See ``EventStream.read``."""
        start = max(start, self._began.get((hub, partition), 0))
        return await self._events.read(self._prefix + hub, partition, start, limit)

    async def bounds(self, hub: str, partition: int) -> Bounds:
        """See ``EventStream.bounds``."""
        first, end = await self._events.bounds(self._prefix + hub, partition)
        began = self._began.get((hub, partition), 0)
        return Bounds(max(first, began), max(end, began))

    async def close(self) -> None:
        """See ``EventStream.close``."""
        await self._events.close()


async def began(events: EventStream, prefix: str, hubs: Mapping[str, int]) -> Mapping[tuple[str, int], int]:
    """Where each partition ends now."""
    found: dict[tuple[str, int], int] = {}
    for hub, count in hubs.items():
        for partition in range(count):
            found[hub, partition] = (await events.bounds(prefix + hub, partition)).end
    return found


class SecretsApart:
    """Secrets whose names begin with ``prefix``."""

    def __init__(self, secrets: Secrets, prefix: str) -> None:
        self._secrets, self._prefix = secrets, prefix

    async def get(self, name: str, *, fresh: bool = False) -> str:
        """See ``Secrets.get``."""
        try:
            return await self._secrets.get(self._of(name), fresh=fresh)
        except NotFound as error:
            raise NotFound(str(error).replace(self._of(name), name)) from error

    async def set(self, name: str, value: str) -> None:
        """See ``Secrets.set``."""
        await self._secrets.set(self._of(name), value)

    async def close(self) -> None:
        """See ``Secrets.close``."""
        await self._secrets.close()

    def _of(self, name: str) -> str:
        return self._prefix + name if _SECRET.fullmatch(name) else name  # what is no name stays none
