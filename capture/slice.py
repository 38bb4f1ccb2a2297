"""One slice of work: a stream read under its lease, and what became of it told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from flockiq.capture import turn as turns
from flockiq.capture.ended import Ended, ended
from flockiq.capture.http.patience import backoff
from flockiq.capture.lease import under_lease
from flockiq.capture.protocols.registry import PROTOCOLS
from flockiq.capture.publish import HUB
from flockiq.capture.reading import Reading, Result
from flockiq.capture.seats import seated
from flockiq.capture.sources import Capture
from flockiq.capture.turn import Turn, Turns
from flockiq.shared import wire
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import LeaseLost, TransientError
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import hash_id
from flockiq.shared.status import Outcome, StreamStatus, touch

log = logging.getLogger("flockiq.capture")

PATIENCE_S: Final = 2.0  # how long a batch of work waits for its slices; slower ones go on by themselves
MOST_RUNNING: Final = 64  # slices in hand; with as many, a batch waits
OPEN_AFTER: Final = 3  # failures in a row that open a stream's circuit
_SEEN_US: Final = 5_000_000  # an uneventful run is told of this often
_TOLD_RUNS: Final = 500  # and every so many become a row of table Runs
_MICRO: Final = 1_000_000


async def work_off(capture: Capture, works: Sequence[wire.Work]) -> None:
    """Read every slice of a batch at a time, waiting no longer than PATIENCE_S for the slow ones.

    A slice left to itself is safe: its stream's lease and cursor say what is true, and the schedule
    sends another if this process dies. TransientError of a quick one leaves, so that it is sent again.
    """
    tasks: set[asyncio.Task[None]] = set()
    for work in works:
        name = (work.data.source, work.data.stream)
        if work.tenant != capture.tenant or name in capture.running:
            continue
        task = asyncio.create_task(read_slice(capture, work.data), name=f"slice {name[0]}/{name[1]}")
        capture.running[name] = task
        task.add_done_callback(partial(_done, capture, name))
        tasks.add(task)
    if not tasks:
        return
    done, _ = await asyncio.wait(tasks, timeout=PATIENCE_S)
    while len(capture.running) >= MOST_RUNNING:
        await asyncio.wait(capture.running.values(), return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        if not task.cancelled() and isinstance(error := task.exception(), TransientError):
            raise error


def _done(capture: Capture, name: tuple[str, str], task: asyncio.Task[None]) -> None:
    capture.running.pop(name, None)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("%s/%s was not read: %s", *name, error)


async def read_slice(capture: Capture, work: wire.WorkData) -> None:
    """Read one stream unless it was read since, or is being read. Only TransientError leaves."""
    source = capture.sources.get(work.source)
    if source is None or not source.enabled or not source.polled or work.stream not in source.streams:
        log.info("work for %s/%s is dropped: it is not configured any more", work.source, work.stream)
        return
    lease = f"capture/{capture.tenant}/{work.source}/{work.stream}"
    try:
        # A reader that was killed holds its lease until it runs out: waiting is sooner than being sent again.
        ttl_s = capture.services.settings.lease_s
        step = partial(_take_seat, capture, source, work)
        await under_lease(capture.services.registry, lease, step, ttl_s=ttl_s, wait_s=ttl_s)
    except LeaseLost as error:
        log.info("%s/%s: %s", work.source, work.stream, error)


async def _take_seat(capture: Capture, source: Source, work: wire.WorkData) -> None:
    """Read in one of the source's places; without one the slice is dropped, and the schedule sends another."""

    async def read() -> bool:
        await _read(capture, source, work)
        return True

    wait_s = source.limits.slice_time / _MICRO
    if not await seated(capture.services, source, read, wait_s=wait_s):
        log.info(
            "%s/%s waits: %d of its source's streams are being read",
            *(work.source, work.stream),
            source.limits.concurrency,
        )


async def _read(capture: Capture, source: Source, work: wire.WorkData) -> None:
    keeper = Turns(capture.services.registry, capture.tenant)
    if turns.is_stale(await keeper.get(source.source, work.stream), work.sent_us):
        return
    began_us = max(capture.now_us(), work.sent_us)
    reading: Reading | None = None

    async def run() -> Outcome:
        nonlocal reading
        client = capture.client(source)
        protocol = PROTOCOLS[source.connector](source, source.streams[work.stream])
        partitions = await capture.services.events.partition_count(HUB)
        lately = capture.lately(source.source, work.stream)
        reading = Reading(capture.services, source, work.stream, client, protocol, partitions, capture.now_us, lately)
        result = await reading.run()
        return "resynced" if result.resynced else "schema_changed" if result.schema else "read"

    how = await ended(source, f"{source.source}/{work.stream}", run)
    turn = await keeper.change(source.source, work.stream, partial(_next_turn, capture, source, work, reading, how))
    await _tell(capture, source.source, work.stream, reading, how, turn, began_us)
    if reading is not None:
        await _log_run(capture, work, reading, how, began_us)


def _next_turn(
    capture: Capture,
    source: Source,
    work: wire.WorkData,
    reading: Reading | None,
    how: Ended,
    turn: Turn,
) -> Turn:
    """When the stream is read next: at its interval, at once if there is more, later the more it fails."""
    interval = source.interval(work.stream)
    read_us = max(capture.now_us(), work.sent_us)  # slices sent meanwhile are answered too
    if not how.error:
        result = reading.result if reading is not None else Result()
        due_us = capture.now_us() + result.rest_us if result.more else work.due_us + interval
        return turns.succeeded(turn, read_us, due_us)
    if not how.asked:
        return turns.held(turn, read_us, capture.now_us() + int((how.retry_after_s or 0.0) * _MICRO))
    longest = max(source.limits.back_off, interval)
    wait = backoff(turn.failures + 1, longest / _MICRO, first_s=interval / _MICRO)
    return turns.failed(turn, read_us, capture.now_us() + int(max(wait, how.retry_after_s or 0.0) * _MICRO))


async def _tell(
    capture: Capture, source: str, stream: str, reading: Reading | None, how: Ended, turn: Turn, began_us: int
) -> None:
    """The stream's status. An uneventful run is told of now and then: every telling is a write."""
    result = reading.result if reading else Result()
    told = reading.allowance if reading else None
    now_us = capture.now_us()

    def change(status: StreamStatus) -> StreamStatus:
        eventful = result.records or how.error or status.error or how.outcome != status.outcome
        if not eventful and now_us - status.last_run_us < _SEEN_US:
            return status
        return msgspec.structs.replace(
            status,
            last_run_us=status.last_run_us if how.error else began_us,
            last_record_us=now_us if result.records else status.last_record_us,
            last_source_us=max(status.last_source_us, result.greatest_us),
            records=status.records + result.records,
            run=reading.cursor.run if reading else status.run,
            outcome=how.outcome,
            error=how.error,
            failures=turn.failures,
            retry_at_us=turn.due_us if how.error else 0,
            circuit="open" if turn.failures >= OPEN_AFTER or not how.asked else "closed",
            schema_us=now_us if result.schema else status.schema_us,
            schema="; ".join(result.schema) or status.schema,
            quota_left=told.left if told else status.quota_left,
            quota_of=told.of if told else status.quota_of,
            cursor_us=now_us if result.records or not how.error else status.cursor_us,
        )

    await touch(capture.services, source, stream, change)


async def _log_run(capture: Capture, work: wire.WorkData, reading: Reading, how: Ended, began_us: int) -> None:
    """A row of table Runs for a run worth one."""
    result, run = reading.result, reading.cursor.run
    said = how.error or result.resynced or result.begun_again or "; ".join(result.schema)
    if not (result.records or said or run % _TOLD_RUNS == 0):
        return
    row = {
        "RunId": hash_id(capture.tenant, work.source, work.stream, str(run)),
        "Tenant": capture.tenant,
        "Source": work.source,
        "Stream": work.stream,
        "Run": run,
        "StartedAt": rfc3339(began_us),
        "EndedAt": rfc3339(capture.now_us()),
        "Records": result.records,
        "Requests": result.tally.requests,
        "Bytes": result.tally.received,
        "Outcome": how.outcome,
        "Error": said,
    }
    await capture.services.analytics.ingest("Runs", msgspec.json.encode(row))
