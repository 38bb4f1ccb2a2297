"""Puts due slices on hub ``work``; reads nothing itself, so that no source can hold the timer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Final

from flockiq.capture import turn as turns
from flockiq.capture.publish import publish
from flockiq.capture.sources import Capture
from flockiq.capture.turn import Turn, Turns
from flockiq.shared import wire
from flockiq.shared.circuits import Circuit, circuits
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import bucket, hash_id

HUB: Final = "work"


async def send_due(capture: Capture) -> int:
    """Send a slice of every stream whose turn it is; how many were sent. TransientError: nothing is lost."""
    now_us = capture.now_us()
    keeper = Turns(capture.services.registry, capture.tenant)
    known = await keeper.all()
    due = [
        (name, stream)
        for name, source in capture.sources.items()
        if source.enabled and source.polled
        for stream in source.streams
        if turns.is_due(known.get((name, stream), Turn()), now_us, source.interval(stream))
    ]
    if due:
        due = _admitted(due, await circuits(capture.services), now_us)
    if not due:
        return 0
    partitions = await capture.services.events.partition_count(HUB)
    lines: dict[int, list[bytes]] = defaultdict(list)
    for source_name, stream in due:
        place = bucket(f"{capture.tenant}\x1f{source_name}\x1f{stream}", partitions)
        lines[place].append(wire.encode(_work(capture.tenant, source_name, stream, now_us)))
    outgoing = [event for place, some in lines.items() for event in wire.pack(place, wire.WORK, some)]
    # Sent before noted: a crash in between sends twice, and the second is dropped as stale.
    await publish(capture.services.events, HUB, outgoing)
    for source_name, stream in due:
        await keeper.change(source_name, stream, partial(turns.sent, now_us=now_us))
    return len(due)


def _admitted(due: list[tuple[str, str]], held: Mapping[str, Circuit], now_us: int) -> list[tuple[str, str]]:
    """What may be read: of a source whose circuit is open nothing, and one stream once a request is let through."""
    admitted: list[tuple[str, str]] = []
    probing: set[str] = set()
    for source, stream in due:
        circuit = held.get(source)
        if circuit is None:
            admitted.append((source, stream))
        elif now_us >= circuit.free_us and source not in probing:
            probing.add(source)
            admitted.append((source, stream))
    return admitted


def _work(tenant: str, source: str, stream: str, now_us: int) -> wire.Work:
    return wire.Work(
        id=hash_id(tenant, source, stream, str(now_us)),
        source=source,
        type=wire.WORK,
        time=rfc3339(now_us),
        tenant=tenant,
        data=wire.WorkData(source=source, stream=stream, due_us=now_us, sent_us=now_us),
    )
