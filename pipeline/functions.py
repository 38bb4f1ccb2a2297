"""The trigger of the composed stages: hub ``resolved``, bucketed by entity."""

from __future__ import annotations

import time
import typing

import azure.functions as func

from flockiq.pipeline import compiled
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared.config.load import config
from flockiq.shared.keeping import forget_old, keep
from flockiq.shared.services import services
from flockiq.shared.triggers import inputs, on_hub, owner_of, partition_of

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the library has no annotation there


@on_hub(blueprint, "process_resolved", "resolved")
async def process_resolved(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 - the indexer knows no list[]
    """Fold → compare → signal over one batch, with one commit."""
    opened = services()
    compiled.use(opened.settings.compiled)
    owner = owner_of(
        opened, f"process_resolved/{partition_of(events)}", lambda: Resolved(plans(config()), opened.settings)
    )
    await owner.process(inputs(events))


@blueprint.function_name("keep_raw")
@blueprint.timer_trigger(arg_name="timer", schedule="20 * * * * *")
async def keep_raw(timer: func.TimerRequest) -> None:  # noqa: ARG001 - a late look needs no other treatment
    """Keep what came in by day, to be replayed, and remove what is older than it is kept."""
    opened = services()
    if opened.settings.raw_days:
        await keep(opened)
        await forget_old(opened, time.time_ns() // 1000)
