"""Folding what is on the hubs without the app, by the very owners that the functions run.

Nobody else may fold the same system meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared.config.model import Config
from flockiq.shared.owner import Input, Owned, Owner
from flockiq.shared.ports import EventStream
from flockiq.shared.progress import CONSUMERS
from flockiq.shared.services import Services

BATCH = 32  # events: as host.json has it


class Share(NamedTuple):
    """A partition of a hub, and the owner of what is folded from it."""

    hub: str
    partition: int
    owner: Owner

    async def fold(self, events: EventStream, at: int, most: int = BATCH) -> int:
        """Fold the next batch, ``at`` its first sequence number; where the one after begins, ``at`` if none came."""
        batch = await events.read(self.hub, self.partition, at, most)
        await self.owner.process([Input(event.sequence, event.body) for event in batch])
        return batch[-1].sequence + 1 if batch else at


async def shares(services: Services, config: Config) -> dict[str, list[Share]]:
    """Every partition of the hubs that are folded, by hub, in the order in which one brings to the next."""
    streams, plan = stream_plans(config), plans(config)
    made: Mapping[str, Callable[[], Owned]] = {
        "changes": lambda: Changes(streams, services.settings),
        "resolved": lambda: Resolved(plan, services.settings),
    }
    return {
        hub: [
            Share(hub, partition, Owner(services, f"{CONSUMERS[hub]}/{partition}", make()))
            for partition in range(await services.events.partition_count(hub))
        ]
        for hub, make in made.items()
    }


class Folding:
    """Folds whatever is on the hubs. ``recorded``: the hubs that ``changes`` is read from, if they are not its own."""

    def __init__(self, services: Services, config: Config, recorded: EventStream | None = None) -> None:
        self._services, self._config = services, config
        self._from = {"changes": recorded or services.events, "resolved": services.events}
        self._shares: dict[str, list[Share]] = {}

    async def off(self) -> None:
        """Fold everything that is there; what the first hub brings to the second as well."""
        self._shares = self._shares or await shares(self._services, self._config)
        for hub, all_of_it in self._shares.items():
            for share in all_of_it:
                await self._fold(share, self._from[hub])

    async def _fold(self, share: Share, events: EventStream) -> None:
        await share.owner.process([])  # reads its log, which says how far it has folded
        at = max(share.owner.input + 1, (await events.bounds(share.hub, share.partition)).first)
        while (then := await share.fold(events, at)) > at:
            at = then
