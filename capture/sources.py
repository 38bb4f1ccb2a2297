"""What capture holds in a process: services, configured sources, one client a source, slices in hand."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping

from flockiq.capture.deliveries import Deliveries
from flockiq.capture.http.client import SourceClient
from flockiq.capture.keys import KeySets
from flockiq.capture.unchanged import Lately
from flockiq.shared.config.load import config
from flockiq.shared.config.sources import Source
from flockiq.shared.services import Services, services


def clock_us() -> int:
    """Now, in µs since the epoch."""
    return time.time_ns() // 1_000


class Capture:
    """Everything the triggers of capture share."""

    def __init__(
        self,
        services: Services,
        sources: Mapping[str, Source],
        environment: Mapping[str, str],
        now_us: Callable[[], int] = clock_us,
    ) -> None:
        self.services = services
        self.sources = sources
        self.environment = environment
        self.now_us = now_us
        self.running: dict[tuple[str, str], asyncio.Task[None]] = {}  # slices in hand, by stream
        self.slices: dict[str, asyncio.Task[None]] = {}  # slices of backfills in hand, by their work
        self.renewals_us = 0  # when subscriptions are looked at again
        self.errands: set[asyncio.Task[None]] = set()  # errands in hand
        self._clients: dict[str, SourceClient] = {}
        self._deliveries: dict[tuple[str, str], Deliveries] = {}
        self._lately: dict[tuple[str, str], Lately] = {}

    @property
    def tenant(self) -> str:
        """Whose data this is."""
        return self.services.settings.tenant

    def client(self, source: Source) -> SourceClient:
        """The source's client. ConfigError if its connection can't be made of what is set."""
        client = self._clients.get(source.source)
        if client is None:
            client = self._clients[source.source] = SourceClient(source, self.services, self.environment, self.now_us)
        return client

    def deliveries(self, source: str, stream: str) -> Deliveries:
        """The deliveries of a webhook's stream."""
        found = self._deliveries.get((source, stream))
        if found is None:
            named = self.sources.get(source)
            polled = named is not None and named.polled
            found = Deliveries(self.services.registry, self.tenant, source, stream, polled=polled)
            self._deliveries[source, stream] = found
        return found

    def lately(self, source: str, stream: str) -> Lately:
        """What was told of a stream in this process."""
        return self._lately.setdefault((source, stream), Lately())

    def key_sets(self, source: str, stream: str) -> KeySets:
        """The keys that a stream is known to have."""
        return KeySets(self.services.blobs, self.tenant, source, stream)

    async def close(self) -> None:
        """Stop the slices in hand (others go on where they are) and close the connections."""
        tasks = [*self.running.values(), *self.slices.values(), *self.errands]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self._clients.values():
            await client.close()
        self._clients.clear()


_capture: Capture | None = None


def capture() -> Capture:
    """This process's capture, made at the first call."""
    global _capture  # noqa: PLW0603 - one process, one set of connections to a source
    opened = services()
    if _capture is None or _capture.services is not opened:
        _capture = Capture(opened, config().sources, os.environ)
    return _capture


async def close() -> None:
    """Let go of this process's connections and slices, if any; before the services close."""
    global _capture
    if _capture is not None:
        held, _capture = _capture, None
        await held.close()
