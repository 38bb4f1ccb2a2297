"""Working off what is on the hubs without the app, by the very owners that the functions run."""

from __future__ import annotations

from collections.abc import Callable

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared.config.model import Config
from flockiq.shared.owner import Input, Owned, Owner
from flockiq.shared.services import Services

BATCH = 32  # events: as host.json has it


class Working:
    """The owners of every partition, in this process. Nobody else may work on the hubs meanwhile."""

    def __init__(self, services: Services, config: Config) -> None:
        stream, plan = stream_plans(config), plans(config)
        self._services = services
        self._make: dict[str, tuple[str, Callable[[], Owned]]] = {
            "changes": ("merge_changes", lambda: Changes(stream, services.settings)),
            "resolved": ("process_resolved", lambda: Resolved(plan, services.settings)),
        }
        self._owners: dict[str, Owner] = {}

    async def off(self) -> None:
        """Work off everything that is there; what the first hub brings to the second as well."""
        for hub, (function, make) in self._make.items():
            for partition in range(await self._services.events.partition_count(hub)):
                name = f"{function}/{partition}"
                if name not in self._owners:
                    self._owners[name] = Owner(self._services, name, make())
                await self._work(hub, partition, self._owners[name])

    async def _work(self, hub: str, partition: int, owner: Owner) -> None:
        events = self._services.events
        at = max(owner.input + 1, (await events.bounds(hub, partition)).first)
        while batch := await events.read(hub, partition, at, BATCH):
            await owner.process([Input(event.sequence, event.body) for event in batch])
            at = batch[-1].sequence + 1
