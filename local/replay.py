"""A clean replay: the recorded ``changes`` log, folded once more from nothing, in order, undisturbed.

It runs the very owners the functions run, over embedded adapters in a folder of its own. What it
ends with is what the app must have ended with, whatever befell it on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared.config.model import Config
from flockiq.shared.owner import Input, Owned, Owner
from flockiq.shared.ports import EventStream
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.signal.clock import Clock

BATCH = 32  # events: as host.json has it


async def replay(recorded: EventStream, config: Config, settings: Settings, target: Path) -> Services:
    """Fold every recorded change into ``target``; returns its services, open. ``target`` must be new."""
    clean = connect(msgspec.structs.replace(settings, data=target, adapters="embedded", adapters_of={}))
    stream, plan = stream_plans(config), plans(config)
    await _fold(clean, recorded, "changes", "merge_changes", lambda: Changes(stream, clean.settings))
    await _fold(clean, clean.events, "resolved", "process_resolved", lambda: Resolved(plan, clean.settings))
    return clean


async def tick(services: Services, config: Config, now_us: int) -> None:
    """Tell every partition what time it is, and run the query rules."""
    first = {
        partition: (await services.events.bounds("resolved", partition)).end
        for partition in range(await services.events.partition_count("resolved"))
    }
    await services.analytics.flush()
    await Clock(services, config).tick(now_us)
    for partition, start in first.items():
        owner = Owner(services, f"process_resolved/{partition}", Resolved(plans(config), services.settings))
        events = await services.events.read("resolved", partition, start, BATCH)
        await owner.process([Input(event.sequence, event.body) for event in events])


async def _fold(services: Services, events: EventStream, hub: str, function: str, make: Callable[[], Owned]) -> None:
    for partition in range(await events.partition_count(hub)):
        owner = Owner(services, f"{function}/{partition}", make())
        at = (await events.bounds(hub, partition)).first
        while batch := await events.read(hub, partition, at, BATCH):
            await owner.process([Input(event.sequence, event.body) for event in batch])
            at = batch[-1].sequence + 1
