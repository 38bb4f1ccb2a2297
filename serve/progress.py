"""How far the function of each hub is behind, on all partitions together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flockiq.shared.ports import EventStream
from flockiq.shared.progress import CONSUMERS, Progress, lags


class HubLag(NamedTuple):
    """What a hub retains, and how far its function is behind."""

    hub: str
    function: str  # "" when nothing here reads it
    partitions: int
    events: int  # retained
    lag: int | None  # events not yet worked off; None when the function has noted no progress
    oldest_us: int  # when the oldest of those was enqueued; 0 when there is none


async def hub_lag(events: EventStream, hub: str, done: Mapping[tuple[str, int], Progress]) -> HubLag:
    """One hub's lag: that of its partitions together."""
    found = await lags(events, hub, done)
    behind = [each.events for each in found if each.events is not None]
    return HubLag(
        hub,
        CONSUMERS.get(hub, ""),
        len(found),
        sum(each.retained for each in found),
        sum(behind) if behind else None,
        min((each.oldest_us for each in found if each.oldest_us), default=0),
    )
