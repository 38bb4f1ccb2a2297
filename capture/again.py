"""A record that was set aside, captured again: read from its dead letter as if its source had just told it.

It keeps its source time. One without takes the time at which it was first set aside, in run 0, so
that whatever its source has told since wins; the next replay gives it the same position again.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable

import msgspec

from flockiq.capture import errands
from flockiq.capture.publish import HUB, Lines, publish
from flockiq.capture.records import Reader, Record, Taken
from flockiq.capture.signatures import Delivery
from flockiq.capture.sources import Capture
from flockiq.capture.told import Telling, telling_of
from flockiq.shared import wire
from flockiq.shared.config.sources import Source
from flockiq.shared.deadletters import DeadLetter, Kept, bury, exhume
from flockiq.shared.errors import BadRecord, NotFound, StateCorrupt
from flockiq.shared.instants import instant_us
from flockiq.shared.positions import Position
from flockiq.shared.replay import SLICE

log = logging.getLogger("flockiq.capture")

_RUN = 0  # every reading's number is greater
_record = msgspec.json.Decoder(Record).decode


def is_again(work: wire.Work) -> bool:
    """Whether a slice of work is a dead letter's record."""
    return work.data.slice.startswith(SLICE)


async def take_again(capture: Capture, works: Iterable[wire.Work]) -> None:
    """Publish the records; what still can't be taken is set aside again. TransientError: nothing is promised."""
    for work in works:
        path = work.data.slice.removeprefix(SLICE)
        if work.tenant != capture.tenant or not path.startswith(f"dead-letters/{capture.tenant}/capture/"):
            continue
        try:
            kept = await exhume(capture.services, path)
        except (NotFound, StateCorrupt) as error:
            log.warning("a dead letter can't be captured again: %s", error)
            continue
        await _take(capture, kept)


async def _take(capture: Capture, kept: Kept) -> None:
    services, now_us = capture.services, capture.now_us()
    first_us = instant_us(kept.at, dt.UTC)
    try:
        source = _source(capture, kept)
        lines = Lines(capture.tenant, kept.source, kept.stream, await services.events.partition_count(HUB))
        telling = _telling(source, kept)
        if telling.link:
            begins = errands.REREAD_ALL if telling.many else errands.REREAD
            await errands.send(capture, kept.source, kept.stream, [telling.link], begins=begins)
        elif telling.gone:
            lines.add("d", Taken(telling.gone, 0, "d", b"{}"), Position(first_us, _RUN, 0), now_us)
        elif telling.record is not None:
            taken = Reader(source.streams[kept.stream], nesting=source.limits.nesting).take(telling.record)
            op: wire.Op = "u" if telling.partial and taken.op == "r" else taken.op
            lines.add(op, taken, Position(first_us, _RUN, 0), now_us)
    except BadRecord as error:
        letter = DeadLetter(
            stage="capture",
            source=kept.source,
            stream=kept.stream,
            key=kept.key,
            field=error.field,
            reason=error.reason,
            body=kept.body,
            at_us=now_us,
            first_us=first_us,
            told=kept.told,
        )
        await bury(services, [letter])
        return
    await publish(services.events, HUB, lines.events())


def _source(capture: Capture, kept: Kept) -> Source:
    source = capture.sources.get(kept.source)
    if source is None or not source.enabled or kept.stream not in source.streams:
        raise BadRecord(f"config has no stream {kept.source}/{kept.stream} in use")
    return source


def _telling(source: Source, kept: Kept) -> Telling:
    """What a letter tells: an event what its delivery would, a record itself."""
    record = _read(kept.body)
    if kept.told:
        return telling_of(source.streams[kept.stream], Delivery("POST", "", {}, kept.body), record)
    # Letters of deliveries that do not say so may hold a part of their record: what it lacks is not known to be gone.
    return Telling(record, partial=source.webhook is not None)


def _read(body: bytes) -> Record:
    try:
        record: Record = _record(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"is no JSON object: {error}"[:200]) from error
    return record
