"""The trigger of the merge stage: hub ``changes``, bucketed by record."""

from __future__ import annotations

import typing

import azure.functions as func

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.shared.config.load import config
from flockiq.shared.services import services
from flockiq.shared.triggers import inputs, on_hub, owner_of, partition_of

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the library has no annotation there


@on_hub(blueprint, "merge_changes", "changes")
async def merge_changes(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 - the indexer knows no list[]
    """Drop what is unchanged, map the rest to entity types, find the entities, forward to ``resolved``."""
    opened = services()
    owner = owner_of(
        opened, f"merge_changes/{partition_of(events)}", lambda: Changes(stream_plans(config()), opened.settings)
    )
    await owner.process(inputs(events))
