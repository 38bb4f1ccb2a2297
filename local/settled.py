"""When an app with its sample systems has come to rest: nothing is left to be read, delivered or worked off."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping

import msgspec

from flockiq.local.lives import LOG, PATIENCE_S, App
from flockiq.local.samples import systems
from flockiq.local.samples.records import outstanding
from flockiq.shared.config.load import load
from flockiq.shared.config.model import Config
from flockiq.shared.errors import FlockIQError
from flockiq.shared.progress import lags, noted
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import read

EDITING = ("crm", "erp", "marketing")
HUBS = ("changes", "files", "deltas", "entities")
WORKED_OFF = ("changes", "files")  # of what the clock tells on resolved, and schedules on work, some always waits
QUIET_S = 6.0  # nothing new in any hub but the clock's ticks for this long: it has come to rest
LOOK_S = 0.5


async def settled(app: App, process: asyncio.subprocess.Process) -> None:
    """Let the systems edit no more, and wait until the app has worked everything off. FlockIQError if it does not."""
    for name in EDITING:
        await systems.control(app.data, name, freeze=True)
    await _quiet(app, process)


def opened(app: App) -> Services:
    """The stores of an app, as its own settings name them; to be closed."""
    environment = environment_of(app)
    return connect(read(environment), environment)


def environment_of(app: App) -> Mapping[str, str]:
    """The settings that the app runs with."""
    return {
        **os.environ,
        **app.environment,
        "FLOCKIQ_DATA": str(app.data),
        "FLOCKIQ_CONFIG": str(app.config),
    }


async def _quiet(app: App, process: asyncio.subprocess.Process) -> None:
    """Wait until all that the systems hold has been read, delivered and worked off.

    A stream whose reader was killed waits for that reader's lease: silence alone proves nothing, so
    every polled stream must have been read to its end since the systems stopped changing.
    """
    frozen_us = time.time_ns() // 1000
    watching = opened(app)
    config = load(app.config, os.environ)
    try:
        last, since = -1, time.monotonic()
        deadline = since + PATIENCE_S
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise FlockIQError(f"the app ended by itself; {app.data / LOG} says why")
            moved = await _moved(watching)
            unread = await unread_since(frozen_us, watching, config)
            if moved != last or unread or outstanding(app.data) or await _waiting(watching):
                last, since = moved, time.monotonic()
            if time.monotonic() - since > QUIET_S:
                return
            await asyncio.sleep(LOOK_S)
    finally:
        await watching.close()
    raise FlockIQError(f"the app does not come to rest within {PATIENCE_S:.0f} s")


async def unread_since(moment_us: int, services: Services, config: Config) -> list[str]:
    """The polled streams that have not been read to their end since a moment."""
    turns = await services.registry.list(f"turn/{services.settings.tenant}/")
    polled = [
        f"turn/{services.settings.tenant}/{source.source}/{stream}"
        for source in config.sources.values()
        if source.polled
        for stream in source.streams
    ]
    return [name for name in polled if name not in turns or _read_us(turns[name].value) < moment_us]


async def _moved(services: Services) -> int:
    """How many events all hubs have had together."""
    ends = await asyncio.gather(
        *(
            services.events.bounds(hub, partition)
            for hub in HUBS
            for partition in range(services.settings.partitions[hub])
        )
    )
    return sum(bounds.end for bounds in ends)


async def _waiting(services: Services) -> int:
    """How many events their functions have not worked off: one that stands still moves nothing, and is not at rest."""
    done = await noted(services)
    found = await asyncio.gather(*(lags(services.events, hub, done) for hub in WORKED_OFF))
    return sum(lag.retained if lag.events is None else lag.events for some in found for lag in some)


def _read_us(turn: bytes) -> int:
    """When the stream of this turn was last read to its end."""
    return int(msgspec.json.decode(turn).get("read_us", 0))
