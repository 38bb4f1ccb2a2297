"""Backfills on hub ``work``: the beginning of one, and one slice of one, each under a lease of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from flockiq.capture import turn as turns
from flockiq.capture.backfill.begin import begin
from flockiq.capture.backfill.plan import halves
from flockiq.capture.backfill.reading import SliceReading
from flockiq.capture.ended import Ended, ended
from flockiq.capture.http.patience import backoff
from flockiq.capture.lease import under_lease
from flockiq.capture.pages import TooMany
from flockiq.capture.publish import HUB as CHANGES
from flockiq.capture.seats import seated, spare
from flockiq.capture.sources import Capture
from flockiq.capture.turn import Turn, Turns
from flockiq.shared import wire
from flockiq.shared.backfills import OPEN, Backfill, Backfills, KeptSlice, Slice
from flockiq.shared.config.backfilled import way_of
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import Conflict, LeaseLost, SourceError
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import hash_id
from flockiq.shared.status import Outcome, StreamStatus, touch

log = logging.getLogger("flockiq.capture")

SLICE: Final = "backfill:"  # begins a work item's ``slice``; then the backfill's id, and after a / the slice's name
TURNS: Final = "slice-turn"  # what the turns of slices are kept as
MOST_RUNNING: Final = 64  # slices in hand; what comes beyond is dropped, and sent again by the schedule
MOST_SLICES: Final = 5_000  # of a backfill, however often they are split
_MICRO: Final = 1_000_000


def is_backfill(work: wire.Work) -> bool:
    """Whether a work item is of a backfill."""
    return work.data.slice.startswith(SLICE)


def run(capture: Capture, works: Iterable[wire.Work]) -> None:
    """Begin with every item, and wait for none: what dies with this process, the schedule sends again."""
    for work in works:
        name = f"{work.data.source}/{work.data.stream}/{work.data.slice}"
        if work.tenant != capture.tenant or name in capture.slices or len(capture.slices) >= MOST_RUNNING:
            continue
        task = asyncio.create_task(_work(capture, work.data), name=f"slice {name}")
        capture.slices[name] = task
        task.add_done_callback(partial(_done, capture, name))


def _done(capture: Capture, name: str, task: asyncio.Task[None]) -> None:
    capture.slices.pop(name, None)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("%s was not read: %s", name, error)


async def _work(capture: Capture, work: wire.WorkData) -> None:
    """One item, unless it is over by now. TransientError, which leaves, is tried again as any other."""
    source = capture.sources.get(work.source)
    if source is None or not source.enabled or not source.polled or work.stream not in source.streams:
        return
    identity, _, name = work.slice.removeprefix(SLICE).partition("/")
    registry = capture.services.registry
    backfill = await Backfills(registry, capture.tenant).get(work.source, work.stream)
    if backfill is None or backfill.id != identity or backfill.state not in OPEN:
        return
    lease = f"backfill/{capture.tenant}/{work.source}/{work.stream}/{identity}/{name}"
    step = partial(_begin, capture, source, work, backfill)
    if name:
        step = partial(_seated, capture, source, work, backfill, name)
    try:
        # A reader that was killed holds its lease until it runs out: waiting is sooner than being sent again.
        ttl_s = capture.services.settings.lease_s
        await under_lease(registry, lease, step, ttl_s=ttl_s, wait_s=ttl_s)
    except LeaseLost as error:
        log.info("%s/%s %s: %s", work.source, work.stream, work.slice, error)


async def _begin(capture: Capture, source: Source, work: wire.WorkData, backfill: Backfill) -> None:
    if backfill.state == "asked" and await begin(capture, source, work.stream, backfill):
        await _answered(capture, work, partial(turns.succeeded, due_us=0))


async def _seated(capture: Capture, source: Source, work: wire.WorkData, backfill: Backfill, name: str) -> None:
    """Read in one of the places that polls leave; without one the slice is sent again."""

    async def read() -> bool:
        await _read(capture, source, work, backfill, name)
        return True

    wait_s = source.limits.slice_time / _MICRO
    among = spare(source)
    if not await seated(capture.services, source, read, wait_s=wait_s, among=among):
        log.info("%s/%s %s waits for a place at its source", work.source, work.stream, work.slice)
        await _answered(capture, work, partial(turns.succeeded, due_us=capture.now_us()))


async def _read(capture: Capture, source: Source, work: wire.WorkData, backfill: Backfill, name: str) -> None:
    turn = await Turns(capture.services.registry, capture.tenant, TURNS).get(source.source, _turn(work))
    if turns.is_stale(turn, work.sent_us):
        return
    kept = Backfills(capture.services.registry, capture.tenant).kept(source.source, work.stream, backfill.id, name)
    slice_ = await kept.load()
    if slice_ is None:
        return
    if slice_.state != "open":
        await _answered(capture, work, partial(turns.succeeded, due_us=0))
        return
    began_us = capture.now_us()
    way = way_of(source, work.stream)
    reading: SliceReading | None = None

    async def read() -> Outcome:
        nonlocal reading
        client = capture.client(source)
        partitions = await capture.services.events.partition_count(CHANGES)
        reading = SliceReading(capture.services, source, work.stream, backfill, way, client, partitions, capture.now_us)
        try:
            await reading.run(kept, slice_)
        except TooMany as many:
            await _split(capture, work, source, backfill, name, kept, reading.slice, many)
        return "schema_changed" if reading.result.schema else "read"

    how = await ended(source, f"{work.source}/{work.stream} {work.slice}", read)
    due_us = capture.now_us() + (reading.result.rest_us if reading else 0)
    if how.error:
        due_us = await _failed(capture, source, kept, reading.slice if reading else slice_, how)
    await _answered(capture, work, partial(turns.failed if how.error else turns.succeeded, due_us=due_us))
    if reading is not None:
        await _tell(capture, work, backfill, reading, how, began_us)


async def _split(
    capture: Capture,
    work: wire.WorkData,
    source: Source,
    backfill: Backfill,
    name: str,
    kept: KeptSlice,
    slice_: Slice,
    many: TooMany,
) -> None:
    """Put two smaller slices in the place of one. SourceError if it can't be made smaller.

    The smaller ones first: killed in between, the large one is found to be too large again, and makes no others.
    """
    keeper = Backfills(capture.services.registry, capture.tenant)
    parts = halves(way_of(source, work.stream), slice_.span)
    if not parts:
        raise SourceError(f"{many}; the slice can't be made smaller: see backfill: of {work.stream}")
    if len(await keeper.slices(source.source, work.stream, backfill.id)) + len(parts) > MOST_SLICES:
        raise SourceError(f"{many}; there are {MOST_SLICES:,} slices already, and no more are made: see backfill:")
    for number, span in enumerate(parts):
        await keeper.kept(source.source, work.stream, backfill.id, f"{name}.{number}").make(Slice(span=span))
    try:
        await kept.save(msgspec.structs.replace(slice_, state="split", error="", failures=0, retry_us=0))
    except Conflict as error:
        raise LeaseLost("the slice is read by another, or its backfill has ended; this reader stops") from error
    log.info("%s/%s: a slice was split: %s", work.source, work.stream, many)


async def _failed(capture: Capture, source: Source, kept: KeptSlice, slice_: Slice, how: Ended) -> int:
    """Say in the slice why its run failed; when it is tried again."""
    failures = slice_.failures + 1
    longest_s = source.limits.back_off / _MICRO
    wait_s = max(backoff(failures, longest_s, first_s=source.every / _MICRO), how.retry_after_s or 0.0)
    retry_us = capture.now_us() + int(wait_s * _MICRO)
    with suppress(Conflict):  # another reads it, or its backfill has ended
        await kept.save(msgspec.structs.replace(slice_, failures=failures, error=how.error, retry_us=retry_us))
    return retry_us


async def _answered(capture: Capture, work: wire.WorkData, step: partial[Turn]) -> None:
    read_us = max(capture.now_us(), work.sent_us)
    keeper = Turns(capture.services.registry, capture.tenant, TURNS)
    await keeper.change(work.source, _turn(work), partial(step, read_us=read_us))


def _turn(work: wire.WorkData) -> str:
    """What the turn of a work item is kept under, beside its source."""
    return f"{work.stream}/{work.slice.removeprefix(SLICE)}"


async def _tell(
    capture: Capture, work: wire.WorkData, backfill: Backfill, reading: SliceReading, how: Ended, began_us: int
) -> None:
    """What a run brought, in the stream's status and as a row of table Runs."""
    result, now_us = reading.result, capture.now_us()
    if not (result.records or how.error or result.schema):
        return

    def change(status: StreamStatus) -> StreamStatus:
        return msgspec.structs.replace(
            status,
            last_record_us=max(status.last_record_us, now_us) if result.records else status.last_record_us,
            last_source_us=max(status.last_source_us, result.greatest_us),
            records=status.records + result.records,
            schema_us=now_us if result.schema else status.schema_us,
            schema="; ".join(result.schema) or status.schema,
        )

    await touch(capture.services, work.source, work.stream, change)
    row = {
        "RunId": hash_id(capture.tenant, work.source, work.stream, work.slice, str(reading.slice.row)),
        "Tenant": capture.tenant,
        "Source": work.source,
        "Stream": work.stream,
        "Run": backfill.run,
        "StartedAt": rfc3339(began_us),
        "EndedAt": rfc3339(now_us),
        "Records": result.records,
        "Requests": result.tally.requests,
        "Bytes": result.tally.received,
        "Outcome": how.outcome,
        "Error": how.error or result.begun_again or "; ".join(result.schema),
    }
    await capture.services.analytics.ingest("Runs", msgspec.json.encode(row))
