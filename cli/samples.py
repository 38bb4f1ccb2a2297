"""The sample systems around a run: started before it, asked for their verdict, stopped after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from flockiq.cli.summary import Story
from flockiq.local.samples import systems
from flockiq.local.samples.check import check

FIRST_SEED = 1
PATIENCE_S = 5.0  # what has only just happened may need a moment to be told everywhere
AGAIN_S = 0.5


class Verdict(NamedTuple):
    """How much of the planted story the app tells, and a line for each thing missed or unexpected."""

    story: Story = Story()
    faults: Sequence[str] = ()


class Samples(NamedTuple):
    """The sample systems of one data folder, running."""

    data: Path
    url: str  # the app's
    environment: Mapping[str, str]  # what the app needs to reach them
    seed: int = FIRST_SEED

    async def verdict(self) -> Verdict:
        """What their checker makes of the app, once it is content or PATIENCE_S have passed."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = await check(self.data, self.url)
            if not (found.missed or found.unexpected) or time.monotonic() >= deadline:
                return Verdict(Story(found.planted, found.found, found.missed, found.unexpected), found.details)
            await asyncio.sleep(AGAIN_S)


@asynccontextmanager
async def sample_systems(data: Path, seed: int | None, url: str) -> AsyncIterator[Samples]:
    """Run them, or go on with those still running: they outlive a killed run, and end with an orderly one.

    Without a ``seed`` they go on from what they held in ``data`` before.
    """
    if seed is None:
        held = systems.seed_of(data)
        seed = FIRST_SEED if held is None else held
    running = await systems.start(data, seed, url)
    try:
        yield Samples(data, url, running.environment, seed)
    finally:
        await systems.stop(data)
