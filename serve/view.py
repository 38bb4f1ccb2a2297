"""What one process shows: its services, and the answers that all its watchers share."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from functools import cached_property

from flockiq.serve.deadletters import DeadLetterPage, Filter, listed
from flockiq.serve.fresh import Fresh
from flockiq.serve.health import Health, health
from flockiq.serve.sources import Stream, streams
from flockiq.serve.summary import LATENCY_WINDOW, Summary, summary
from flockiq.shared.services import Services
from flockiq.shared.settings import Settings

SHARED_FOR_S = 1.0  # how old a shared answer may be; the page polls every 2 s
LETTERS_SHOWN = 20  # on the page, of the records set aside


class View:
    """Services and shared answers. ``open_services`` is called by the first request that needs one, not before.

    ``read_settings`` gives the settings without opening anything; else the services' own count.
    """

    def __init__(
        self, open_services: Callable[[], Services], read_settings: Callable[[], Settings] | None = None
    ) -> None:
        self._open = open_services
        self._read = read_settings
        self.summary: Fresh[Summary] = Fresh(self._summary, SHARED_FOR_S)
        self.health: Fresh[Health] = Fresh(self._health, SHARED_FOR_S)
        self.streams: Fresh[list[Stream]] = Fresh(self._streams, SHARED_FOR_S)
        self.dead_letters: Fresh[DeadLetterPage] = Fresh(self._dead_letters, SHARED_FOR_S)

    @property
    def services(self) -> Services:
        """This process's services."""
        return self._open()

    @cached_property
    def settings(self) -> Settings:
        """What decides who may ask, and how much."""
        return self._read() if self._read else self.services.settings

    @property
    def tenant(self) -> str:
        """The tenant whose data this process shows."""
        return self.services.settings.tenant

    async def _summary(self) -> Summary:
        return await summary(self.services, dt.datetime.now(dt.UTC) - LATENCY_WINDOW)

    async def _health(self) -> Health:
        return await health(self.services)

    async def _streams(self) -> list[Stream]:
        return await streams(self.services, now_us())

    async def _dead_letters(self) -> DeadLetterPage:
        return await listed(self.services, Filter(), LETTERS_SHOWN)


def now_us() -> int:
    """The time, µs since the epoch."""
    return time.time_ns() // 1000
