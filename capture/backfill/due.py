"""Which slices of backfills are sent now, and when a backfill is over. Reads nothing of any source itself."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from flockiq.capture import turn as turns
from flockiq.capture.backfill.asking import definition
from flockiq.capture.backfill.work import SLICE, TURNS
from flockiq.capture.publish import publish
from flockiq.capture.seats import spare
from flockiq.capture.sources import Capture
from flockiq.capture.turn import Turn, Turns
from flockiq.shared import wire
from flockiq.shared.backfills import OPEN, Backfill, Backfills, Slice, progress
from flockiq.shared.circuits import circuits
from flockiq.shared.config.backfilled import way_of
from flockiq.shared.config.sources import Source
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import bucket, hash_id

log = logging.getLogger("flockiq.capture")

HUB: Final = "work"
ROUNDS: Final = 2  # slices sent for each place: when one ends, the next must not wait for the timer
MOST_OUT: Final = 16  # slices of one source sent and not yet answered
REMOVED: Final = 100  # slices of a backfill that has ended removed at a time: the timer has others to serve

type Known = Mapping[tuple[str, str], Turn]
type Item = tuple[str, str, str]  # source, stream, what of its backfill


async def send_due(capture: Capture) -> int:
    """Send what is due of every backfill, and end those with nothing left to read; how many items were sent."""
    keeper = Backfills(capture.services.registry, capture.tenant)
    going = {name: each for name, each in (await keeper.all()).items() if each.state in OPEN or not each.cleared}
    if not going:
        return 0
    known = await Turns(capture.services.registry, capture.tenant, TURNS).all()
    held, now_us = await circuits(capture.services), capture.now_us()
    waiting: dict[str, list[tuple[int, Item]]] = defaultdict(list)
    for (name, stream), backfill in going.items():
        if backfill.state not in OPEN:
            await _clear(capture, keeper, name, stream, backfill)
            continue
        source = capture.sources.get(name)
        if source is None or not source.enabled or not source.polled or stream not in source.streams:
            continue  # it goes on once its source is back
        if name in held and now_us < held[name].free_us:
            continue  # … or answers again
        for part, failures in (await _open(capture, keeper, source, stream, backfill)).items():
            waiting[name].append((failures, (name, stream, f"{backfill.id}/{part}")))
    items = [item for name, some in waiting.items() for item in _chosen(capture, capture.sources[name], some, known)]
    await _send(capture, items)
    return len(items)


async def _open(capture: Capture, keeper: Backfills, source: Source, stream: str, backfill: Backfill) -> dict[str, int]:
    """{what is to be read of a backfill: how often it failed}; "" is its beginning."""
    if backfill.state == "asked":
        return {"": 0}
    if backfill.definition != definition(source.streams[stream], way_of(source, stream)):
        why = "what is asked of the stream was changed in its config; begin another backfill"
        await keeper.cancel(source.source, stream, why, capture.now_us())
        return {}
    slices = await keeper.slices(source.source, stream, backfill.id)
    left = {name: each.failures for name, each in slices.items() if each.state == "open"}
    if not left:
        await _end(capture, keeper, source.source, stream, backfill, slices)
    return left


def _chosen(capture: Capture, source: Source, waiting: list[tuple[int, Item]], known: Known) -> list[Item]:
    """What of a source's slices is sent now: little more than can be read at a time; those that fail come last."""
    now_us = capture.now_us()
    turn_of = {item: known.get((item[0], f"{item[1]}/{item[2]}"), Turn()) for _, item in waiting}
    out = {item for item, turn in turn_of.items() if turn.sent_us > turn.read_us}
    room = min(ROUNDS * len(spare(source)), MOST_OUT) - len(out)
    chosen: list[Item] = []
    for _, item in sorted(waiting):
        if not turns.is_due(turn_of[item], now_us, 0):
            continue
        if item in out:
            chosen.append(item)  # nobody read it: it is sent again
        elif room > 0:
            room -= 1
            chosen.append(item)
    return chosen


async def _send(capture: Capture, items: list[Item]) -> None:
    if not items:
        return
    now_us = capture.now_us()
    partitions = await capture.services.events.partition_count(HUB)
    lines: dict[int, list[bytes]] = defaultdict(list)
    for source, stream, part in items:
        # By the slice, not the stream: instances share the load of one backfill.
        place = bucket(f"{capture.tenant}\x1f{source}\x1f{stream}\x1f{part}", partitions)
        work = wire.Work(
            id=hash_id(capture.tenant, source, stream, part, str(now_us)),
            source=source,
            type=wire.WORK,
            time=rfc3339(now_us),
            tenant=capture.tenant,
            data=wire.WorkData(source=source, stream=stream, slice=SLICE + part, due_us=now_us, sent_us=now_us),
        )
        lines[place].append(wire.encode(work))
    # Sent before noted: a crash in between sends twice, and the second is dropped as stale.
    outgoing = [event for place, some in lines.items() for event in wire.pack(place, wire.WORK, some)]
    await publish(capture.services.events, HUB, outgoing)
    keeper = Turns(capture.services.registry, capture.tenant, TURNS)
    for source, stream, part in items:
        await keeper.change(source, f"{stream}/{part}", partial(turns.sent, now_us=now_us))


async def _end(
    capture: Capture, keeper: Backfills, source: str, stream: str, backfill: Backfill, slices: Mapping[str, Slice]
) -> None:
    reached = progress(backfill, slices)

    def done(before: Backfill) -> Backfill:
        return msgspec.structs.replace(
            before, state="done", ended_us=capture.now_us(), slices=reached.slices, records=reached.records
        )

    if await keeper.move(source, stream, backfill, done) is not None:
        log.info("%s/%s is backfilled: %d records in %d slices", source, stream, reached.records, reached.slices)


async def _clear(capture: Capture, keeper: Backfills, source: str, stream: str, backfill: Backfill) -> None:
    """Remove the slices of a backfill that has ended, some at a time; what it reached stays with it."""
    slices = await keeper.slices(source, stream, backfill.id)
    if slices and not backfill.slices:  # cancelled
        reached = progress(msgspec.structs.replace(backfill, state="running"), slices)
        await keeper.move(
            source,
            stream,
            backfill,
            lambda before: msgspec.structs.replace(before, slices=reached.slices, records=reached.records),
        )
    turn_keeper = Turns(capture.services.registry, capture.tenant, TURNS)
    for name in sorted(slices)[:REMOVED]:
        await turn_keeper.remove(source, f"{stream}/{backfill.id}/{name}")
        await keeper.kept(source, stream, backfill.id, name).remove()
    if len(slices) <= REMOVED:
        await turn_keeper.remove(source, f"{stream}/{backfill.id}/")
        await keeper.move(source, stream, backfill, lambda before: msgspec.structs.replace(before, cleared=True))
