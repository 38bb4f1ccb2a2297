"""Taking rows into the DuckDB file, which this process holds: those that worker processes left, and its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from flockiq.shared.adapters.embedded.analytics import DuckdbAnalytics
from flockiq.shared.errors import TransientError
from flockiq.shared.services import Services

log = logging.getLogger("flockiq.history")

OF_WORKERS: Mapping[str, str] = {"FLOCKIQ_ANALYTICS_SPOOL": "true"}
"""Settings of worker processes beside the one that holds DuckDB."""

CALM_S = 0.5  # rows are taken in when no more have come for so long
OLD_S = 2.0  # and wait no longer: the more come in together, the less each costs; a query takes them in itself
_LOOK_S = 0.2


class Taking:
    """Takes in what is left, from ``start`` until ``stop``; then all of it."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, services: Services) -> None:
        """Begin, if the analytics are DuckDB's."""
        if isinstance(services.analytics, DuckdbAnalytics):
            self._task = asyncio.create_task(self._run(services.analytics))

    async def stop(self) -> None:
        """Take in what the workers left, and end."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self, analytics: DuckdbAnalytics) -> None:
        while True:
            last = self._stopping.is_set()
            if last or analytics.due(CALM_S, OLD_S):
                try:
                    await analytics.flush()
                except TransientError as error:
                    log.warning("rows wait to be taken into the history: %s", error)
            if last:
                return
            await _unless(self._stopping, _LOOK_S)


async def _unless(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
