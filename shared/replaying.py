"""Replaying raw history: its lines go onto the hubs again, and are folded as if they had just come.

A line keeps its id and its position. So what is known already changes nothing, whatever was lost comes back, and both
end in what an app that never failed would have. Records come first, then what people said of what they make.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from flockiq.shared import rawhistory, wire
from flockiq.shared.erased import remembered, send
from flockiq.shared.errors import NotFound
from flockiq.shared.faults import UNREADABLE
from flockiq.shared.instants import rfc3339
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.positions import bucket, record_key
from flockiq.shared.services import Services

AHEAD: Final = 100  # events of a partition that may wait before more are sent
HUBS: Final = ("changes", "resolved")


class Replay(msgspec.Struct, kw_only=True):
    """How far a replay is, as the registry has it; ``after``: the last blob whose lines were sent."""

    from_us: int
    hub: str = HUBS[0]
    after: str = ""
    lines: int = 0
    blobs: int = 0


type Pace = Callable[[str, int], Awaitable[None]]
"""Waits until at most so many events of a hub's partitions wait to be folded."""

_change = msgspec.json.Decoder(wire.Change).decode
_kind = msgspec.json.Decoder(wire.Kind).decode
_override = msgspec.json.Decoder(wire.Override).decode
_action = msgspec.json.Decoder(wire.Action).decode


async def replay(services: Services, from_us: int, pace: Pace, step: Callable[[Replay, float], None]) -> Replay:
    """Send everything that was captured or said since ``from_us``; goes on with one of then that was interrupted.

    ``step`` is told how far it is, and how much of the whole that is, from 0 to 1.

    StateCorrupt names a blob that can't be read: nothing after it is sent.
    """
    key = f"replay/{services.settings.tenant}"
    document = await services.registry.get(key)
    now_us = time.time_ns() // 1000  # what comes from now on is folded as it comes
    going = msgspec.json.decode(document.value, type=Replay) if document else None
    etag = document.etag if document else None
    if going is None or going.from_us != from_us:
        going = Replay(from_us=from_us)
    for one in await remembered(services, now_us):  # before anything: it is not to come back
        for hub in HUBS:
            await send(services, hub, one.line(services.settings.tenant))
    whole = max(1, sum([1 for hub in HUBS async for _ in _kept(services, hub, from_us, now_us)]))
    for hub in HUBS[HUBS.index(going.hub) :]:
        if going.hub != hub:
            going.hub, going.after = hub, ""
        async for name in _kept(services, hub, from_us, now_us, going.after):
            sent = await _send(services, hub, name, from_us)
            going.after, going.lines, going.blobs = name, going.lines + sent, going.blobs + 1
            etag = await services.registry.put(key, msgspec.json.encode(going), etag)
            step(going, going.blobs / whole)
            await pace(hub, AHEAD)
        await pace(hub, 0)
    await services.registry.delete(key)
    return going


def _kept(services: Services, hub: str, from_us: int, until_us: int, after: str = "") -> AsyncIterator[str]:
    """The blobs of a hub that hold something of that time."""
    day, tenant = rfc3339(from_us)[:10], services.settings.tenant
    return rawhistory.blobs_from(services.blobs, tenant, hub, day, after, until_us)


async def _send(services: Services, hub: str, name: str, from_us: int) -> int:
    """Send a blob's lines; how many."""
    try:
        lines = rawhistory.unpacked(name, await services.blobs.get(name))
    except NotFound:  # its days are over
        return 0
    count = await services.events.partition_count(hub)
    placed: dict[tuple[int, str], list[bytes]] = defaultdict(list)
    for line in lines:
        if rawhistory.when_us(line) < from_us:
            continue
        kind, place = await _placed(services, hub, line)
        if place:
            placed[bucket(place, count), kind].append(line)
    events = [event for (partition, kind), some in placed.items() for event in wire.pack(partition, kind, some)]
    await _publish(services, hub, events)
    return sum(map(len, placed.values()))


async def _publish(services: Services, hub: str, events: Sequence[OutgoingEvent]) -> None:
    marked = [replace(event, properties={**event.properties, rawhistory.REPLAYED: "true"}) for event in events]
    for at in range(0, len(marked), AHEAD):
        await services.events.publish(hub, marked[at : at + AHEAD])


async def _placed(services: Services, hub: str, line: bytes) -> tuple[str, str]:
    """A line's kind, and what it is bucketed by; "" if nobody takes it any more."""
    try:
        if hub == "changes":
            change = _change(line)
            return wire.CHANGE, record_key(change.tenant, change.source, change.data.stream, change.data.key)
        kind = _kind(line).type
        if kind == wire.OVERRIDE:
            return kind, _override(line).data.group
        alert = await services.alerts.get(services.settings.tenant, _action(line).data.alert_id)
    except (*UNREADABLE, NotFound):  # of an alert that is gone, nothing is to be told
        return "", ""
    return wire.ACTION, alert.group
