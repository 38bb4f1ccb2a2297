"""``flockiq replay --from TIME``: what came in since then is taken again, from raw history.

The running app folds it while this process watches how far it is; without one this process folds it itself. Ctrl-C
ends nothing for good: the same command goes on after the last blob whose lines were sent.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from flockiq.cli.bars import Bar, bar
from flockiq.cli.hold import InUse, data_folder
from flockiq.cli.state import existing, stores
from flockiq.local.folding import Folding
from flockiq.shared.config.load import load
from flockiq.shared.errors import FlockIQError
from flockiq.shared.instants import instant_us
from flockiq.shared.replaying import Pace, Replay, replay
from flockiq.shared.services import Services
from flockiq.shared.transfer import HUBS

LOOK_S: Final = 0.5
PATIENCE_S: Final = 120.0  # without any partition getting on, before the replay leaves off


class Options(NamedTuple):
    """From when, and over which system."""

    data: Path
    config: Path
    since: str  # RFC 3339


def run(options: Options) -> int:
    """Replay; 0 once everything has been folded."""
    with bar("looking through raw history") as show:
        done = asyncio.run(_replayed(options, show))
    sys.stdout.write(f"{done.lines:,} lines of {done.blobs:,} blobs of raw history are folded again.\n")
    return 0


async def _replayed(options: Options, show: Bar) -> Replay:
    existing(options.data)

    def step(going: Replay, part: float) -> None:
        show(f"{going.hub}: {going.lines:,} lines, as far as {going.after.split('/')[-2]}", part)

    with ExitStack() as held:
        app_runs = os.environ.get("FLOCKIQ_ADAPTERS", "embedded") != "embedded"
        if not app_runs:
            try:
                held.enter_context(data_folder(options.data))
            except InUse:
                app_runs = True
        async with stores(options.data, options.config) as services:
            pace = _watched(services) if app_runs else _worked_off(services, options.config)
            return await replay(services, instant_us(options.since), pace, step)


def _worked_off(services: Services, config: Path) -> Pace:
    """Folds it here."""
    folding = Folding(services, load(config, os.environ))

    async def pace(_hub: str, _waiting: int) -> None:
        await folding.off()

    return pace


def _watched(services: Services) -> Pace:
    """Waits for the app."""

    async def pace(hub: str, waiting: int) -> None:
        last, since = -1, time.monotonic()
        while True:
            folded, most = await _standing(services, hub)
            if most <= waiting:
                return
            if folded != last:
                last, since = folded, time.monotonic()
            if time.monotonic() - since > PATIENCE_S:
                raise FlockIQError(
                    f"nothing of hub {hub} has been folded for {PATIENCE_S:.0f} s, and {most:,} events of a partition "
                    "wait: does the app run? The same command goes on from here."
                )
            await asyncio.sleep(LOOK_S)

    return pace


async def _standing(services: Services, hub: str) -> tuple[int, int]:
    """How far all partitions of a hub are folded together, and how many events wait in the one furthest behind."""
    prefix = f"progress/{services.settings.tenant}/{HUBS[hub]}/"
    known = {
        int(key.removeprefix(prefix)): int(msgspec.json.decode(document.value)["sequence"])
        for key, document in (await services.registry.list(prefix)).items()
    }
    folded, most = 0, 0
    for partition in range(await services.events.partition_count(hub)):
        bounds = await services.events.bounds(hub, partition)
        at = max(known.get(partition, -1), bounds.first - 1)
        folded, most = folded + at, max(most, bounds.end - 1 - at)
    return folded, most
