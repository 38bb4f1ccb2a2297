"""Errands on hub ``work``: records that a webhook pointed at, one or a page of many, read again from their source.

An errand may fail: its stream is polled as well, and that read is brought forward instead. So no
sender waits for a source, and a source that hangs holds nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Final

import msgspec

from flockiq.capture.batch import Batch
from flockiq.capture.collection import some_of
from flockiq.capture.deliveries import heard
from flockiq.capture.http.client import Tally
from flockiq.capture.publish import HUB as CHANGES
from flockiq.capture.publish import publish
from flockiq.capture.records import Record
from flockiq.capture.sources import Capture
from flockiq.capture.told import at
from flockiq.capture.turn import Turn, Turns
from flockiq.shared import wire
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import BadRecord, ConfigError, FlockIQError, NotFound, SourceError, SourceUnavailable
from flockiq.shared.instants import rfc3339
from flockiq.shared.positions import bucket, hash_id
from flockiq.shared.status import touch

log = logging.getLogger("flockiq.capture")

HUB: Final = "work"
REREAD: Final = "reread:"  # begins a work item's ``slice``; the rest is the link of a record, …
REREAD_ALL: Final = "reread-all:"  # … or of the first page of some records
PATIENCE_S: Final = 2.0  # how long a batch of work waits for its errands; slower ones go on by themselves
MOST_RUNNING: Final = 32  # groups of errands in hand; beyond it streams are polled instead
MOST_LINKS: Final = 500  # of a stream in one batch; beyond it a read of the whole is cheaper
_GONE: Final = (404, 410)
_ENVELOPE: Final = {"odata_v2": "d"}  # where a protocol puts a single record

_object = msgspec.json.Decoder(Record).decode


async def send(capture: Capture, source: str, stream: str, links: Iterable[str], *, begins: str = REREAD) -> None:
    """Put an errand for every link on the hub. HubUnavailable: nothing is promised."""
    now_us = capture.now_us()
    partitions = await capture.services.events.partition_count(HUB)
    lines: dict[int, list[bytes]] = defaultdict(list)
    for link in dict.fromkeys(links):
        work = wire.Work(
            id=hash_id(capture.tenant, source, stream, link, str(now_us)),
            source=source,
            type=wire.WORK,
            time=rfc3339(now_us),
            tenant=capture.tenant,
            data=wire.WorkData(source=source, stream=stream, slice=begins + link, due_us=now_us, sent_us=now_us),
        )
        lines[bucket(f"{capture.tenant}\x1f{source}\x1f{stream}\x1f{link}", partitions)].append(wire.encode(work))
    outgoing = [event for place, some in lines.items() for event in wire.pack(place, wire.WORK, some)]
    await publish(capture.services.events, HUB, outgoing)


async def hasten(capture: Capture, source: str, stream: str) -> None:
    """Bring a stream's next read forward, unless it is failing and left alone."""
    now_us = capture.now_us()

    def step(turn: Turn) -> Turn:
        return turn if turn.failures else msgspec.structs.replace(turn, due_us=min(turn.due_us, now_us))

    await Turns(capture.services.registry, capture.tenant).change(source, stream, step)


def is_errand(work: wire.Work) -> bool:
    """Whether a work item is an errand, not a slice."""
    return work.data.slice.startswith((REREAD, REREAD_ALL))


async def run(capture: Capture, works: Sequence[wire.Work]) -> None:
    """Run every errand of a batch, waiting no longer than PATIENCE_S for the slow ones."""
    groups: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for work in works:
        if work.tenant == capture.tenant:
            groups[work.data.source, work.data.stream][work.data.slice] = None
    tasks: set[asyncio.Task[None]] = set()
    for (name, stream), slices in groups.items():
        source = capture.sources.get(name)
        if source is None or stream not in source.streams or not source.polled:
            log.info("errands for %s/%s are dropped: it is not configured any more", name, stream)
        elif len(slices) > MOST_LINKS or len(capture.errands) >= MOST_RUNNING:
            await hasten(capture, name, stream)
        else:
            tasks.add(in_hand(capture, f"{name}/{stream}", _run(capture, source, stream, list(slices))))
    if tasks:
        await asyncio.wait(tasks, timeout=PATIENCE_S)


def in_hand(capture: Capture, name: str, errand: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """Begin an errand that goes on by itself if it takes long; ended when ``capture`` closes."""
    task = asyncio.create_task(errand, name=f"errand {name}")
    capture.errands.add(task)
    task.add_done_callback(partial(_done, capture, name))
    return task


def _done(capture: Capture, name: str, task: asyncio.Task[None]) -> None:
    capture.errands.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("%s: an errand was not run: %s", name, error)


async def _run(capture: Capture, source: Source, stream: str, slices: Sequence[str]) -> None:
    """Read what errands point at and publish it; what can't be read now is left to the stream's poll."""
    services = capture.services
    # The run is stored before the first request, so that whatever is told later is later.
    deliveries = capture.deliveries(source.source, stream)
    begun = await deliveries.begin(capture.now_us())
    batch = Batch(services, source, stream, await services.events.partition_count(CHANGES))
    batch.begin(begun.run, begun.run_us)
    links = [each.removeprefix(REREAD) for each in slices if each.startswith(REREAD)]
    collections = [each.removeprefix(REREAD_ALL) for each in slices if each.startswith(REREAD_ALL)]
    try:
        asked = [_one(capture, source, stream, link) for link in links]
        asked += [some_of(capture, source, stream, link) for link in collections]
        found = await asyncio.gather(*asked, return_exceptions=True)
        unread = [each for each in found if isinstance(each, BaseException)]
        records_found = [each for some in found if not isinstance(some, BaseException) for each in some]
        taken = [batch.take(each, capture.now_us()) for each in records_found]
        records = await batch.publish()
        keys = [each.key for each in taken if each is not None and each.op != "d"]
        await deliveries.note(capture.key_sets(source.source, stream), begun.run, keys)
    except FlockIQError:
        await hasten(capture, source.source, stream)
        raise
    await touch(services, source.source, stream, heard(source, capture.now_us(), records, batch.greatest_us))
    if unread:
        await hasten(capture, source.source, stream)
        log.warning("%s/%s: %d errands failed, the last: %s", source.source, stream, len(unread), unread[-1])
    for each in unread:
        if not isinstance(each, SourceError | SourceUnavailable | ConfigError | NotFound | BadRecord):
            raise each


async def _one(capture: Capture, source: Source, stream: str, link: str) -> Sequence[Record]:
    return [await _read(capture, source, stream, link)]


async def _read(capture: Capture, source: Source, stream: str, link: str) -> Record:
    """The record at a link. SourceError if it is not there: a deletion is told apart, or found by the poll."""
    told = source.streams[stream].webhook
    if told is None or told.reread is None:
        raise SourceError(f"{stream} has no webhook.reread any more")
    answer = await capture.client(source).get(link, {}, Tally())
    if answer.status in _GONE:
        raise SourceError(f"the record is not there (any more): {answer.status}")
    if not answer.ok:
        raise SourceError(f"the source answers {answer.status}; see webhook.reread.get")
    try:
        str(answer.body, "utf-8")
        record: Record = _object(answer.body)
        place = told.reread.record or _ENVELOPE.get(source.connector, "")
        if place:
            record = _object(at(record, place) or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"the answer is no record: {error}"[:300]) from error
    return record
