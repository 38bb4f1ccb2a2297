"""Taking the worker processes' rows into the DuckDB file, which this process holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from flockiq.shared.adapters.embedded.analytics import DuckdbAnalytics
from flockiq.shared.adapters.embedded.connect import SPOOL
from flockiq.shared.adapters.embedded.spool import TAKEN_BYTES, Spool, Spooled
from flockiq.shared.errors import BadRecord, NotFound, TransientError
from flockiq.shared.services import Services

log = logging.getLogger("flockiq.history")

OF_WORKERS: Mapping[str, str] = {"FLOCKIQ_ANALYTICS_SPOOL": "true"}
"""Settings of worker processes beside the one that holds DuckDB."""

_LOOK_S = 0.2  # between two takings: the larger they are, the less they cost; what is more than one takes is taken on


class Taking:
    """Takes in what is spooled, from ``start`` until ``stop``; then what is left."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, services: Services) -> None:
        """Begin, if the analytics are DuckDB's."""
        if isinstance(services.analytics, DuckdbAnalytics):
            self._task = asyncio.create_task(self._run(services.analytics, Spool(services.settings.data / SPOOL)))

    async def stop(self) -> None:
        """Take in what the workers left, and end."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self, analytics: DuckdbAnalytics, spool: Spool) -> None:
        try:
            while True:
                last = self._stopping.is_set()
                try:
                    taken = await _take(analytics, spool)
                except TransientError as error:
                    log.warning("rows wait to be taken into the history: %s", error)
                    taken = 0
                if last and not taken:
                    return
                if not last and taken < TAKEN_BYTES:
                    await _unless(self._stopping, _LOOK_S)
        finally:
            await spool.close()


async def _take(analytics: DuckdbAnalytics, spool: Spool) -> int:
    """Take in the oldest rows; how many bytes of them there were, packed."""
    found = await spool.first()
    if found:
        await asyncio.gather(*(_taken(analytics, one) for one in found))
        await spool.forget(found[-1].number)
    return sum(one.size for one in found)


async def _taken(analytics: DuckdbAnalytics, one: Spooled) -> None:
    try:
        await (analytics.ingest_columns if one.columns else analytics.ingest)(one.table, one.rows)
    except (BadRecord, NotFound):  # they looked well to whoever left them
        log.exception("rows of table %s are refused by the history, and lost to it", one.table)


async def _unless(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
