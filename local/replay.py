"""A clean replay: the recorded ``changes`` log, folded once more from nothing, in order, undisturbed.

It runs the very owners the functions run, over embedded adapters in a folder of its own. What it
ends with is what the app must have ended with, whatever befell it on the way.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from flockiq.local.folding import Folding
from flockiq.shared.config.model import Config
from flockiq.shared.ports import EventStream
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.signal.clock import Clock


async def replay(recorded: EventStream, config: Config, settings: Settings, target: Path) -> Services:
    """Fold every recorded change into ``target``; returns its services, open. ``target`` must be new."""
    clean = connect(msgspec.structs.replace(settings, data=target, adapters="embedded", adapters_of={}))
    await Folding(clean, config, recorded).off()
    return clean


async def tick(services: Services, config: Config, now_us: int) -> None:
    """Tell every partition what time it is, and run the query rules."""
    await services.analytics.flush()
    await Clock(services, config).tick(now_us)
    await Folding(services, config).off()
