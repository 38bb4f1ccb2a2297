"""How far a stream has been read. Pure steps, and the registry document that keeps them."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from flockiq.shared.config.reading import Watermark
from flockiq.shared.config.sources import Stream
from flockiq.shared.errors import Conflict, LeaseLost
from flockiq.shared.ports import Registry
from flockiq.shared.positions import hash_id

_TRUSTED_AHEAD_US: Final = 86_400_000_000  # a source's clock is believed this far ahead of ours


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a stream stands. Links are relative to base_url's origin where they are on it.

    A *full* read goes from the first page to the last; a *delta* read from a delta link to the next
    one; a *since* read through what changed from a time on. ``next`` is the page to go on with, "" at
    the start of each.
    """

    run: int = 0  # of the last run begun
    run_us: int = 0  # when it began; stands in for a source time that is missing
    greatest_us: int = 0  # the greatest source time published
    moved_us: int = 0
    reading: Literal["full", "delta", "since"] = "full"
    next: str = ""
    delta: str = ""
    job: str = ""  # that the source prepares the read in progress by
    job_us: int = 0  # when it was submitted
    pages: int = 0  # of the read in progress
    counted: int = 0  # records of the read in progress
    total: int = -1  # as many as the source said there would be; -1: it did not
    since_us: int = 0  # what the read in progress asks for: from here, …
    until_us: int = 0  # … up to here, so that its pages do not move while it reads them
    watermark_us: int = 0  # the greatest source time a finished read saw, no later than its until_us
    reads: int = 0  # since reads finished after the last full one
    keys: int = 0  # the run that began the current key set (capture.keys); 0: none yet
    known: int = 0  # the key set before it, which a full read in progress is compared with at its end
    resync: str = ""  # why the full read in progress became necessary
    primary_key: tuple[str, ...] = ()
    definition: str = ""


def definition_of(stream: Stream) -> str:
    """What a cursor is good for: a stream that asks for something else starts over."""
    asked: list[Any] = [stream.path, stream.select, stream.query, stream.primary_key, stream.incremental.kind]
    further: dict[str, Any] = {
        "records": stream.records,
        "request": stream.request,
        "paginate": stream.paginate.model_dump(exclude_defaults=True),
    }
    if isinstance(stream.incremental, Watermark):
        further["incremental"] = stream.incremental.model_dump(exclude={"lookback", "settle", "reconcile"})
    if stream.job is not None:
        further["job"] = stream.job.model_dump(include={"submit", "status", "results", "results_at"})
    if any(further.values()):
        asked.append(further)
    return hash_id(msgspec.json.encode(asked).decode())


def begin(cursor: Cursor, stream: Stream, now_us: int) -> Cursor:
    """The cursor as the next run begins; to be stored before the run's first request.

    The start is later than every source time published (within reason), so that a deletion, which
    has no time of its own, is later than what it deletes even if the source's clock runs ahead.
    """
    definition = definition_of(stream)
    if cursor.definition and cursor.definition != definition:
        comparable = cursor.primary_key == stream.primary_key
        cursor = start_over(cursor, "what is asked of the stream was changed in its config")
        cursor = cursor if comparable else msgspec.structs.replace(cursor, known=0)
    if isinstance(stream.incremental, Watermark) and not cursor.next and not cursor.job:
        cursor = _bounded(cursor, stream.incremental, now_us)
    after = numbered(cursor, now_us)
    return msgspec.structs.replace(
        after, definition=definition, primary_key=stream.primary_key, keys=cursor.keys or after.run
    )


def numbered(cursor: Cursor, now_us: int) -> Cursor:
    """The cursor with the number and the start of the next run; nothing else of it moves."""
    ahead = cursor.greatest_us + 1 if cursor.greatest_us - now_us < _TRUSTED_AHEAD_US else 0
    return msgspec.structs.replace(cursor, run=cursor.run + 1, run_us=max(now_us, ahead, cursor.run_us + 1))


def _bounded(cursor: Cursor, incremental: Watermark, now_us: int) -> Cursor:
    """The cursor with the bounds of the read that begins; a full one now and then, to find what was deleted."""
    if cursor.reading == "since" and 0 < incremental.reconcile <= cursor.reads:
        cursor = start_over(cursor, "")
    since_us = max(cursor.watermark_us - incremental.lookback, 0) if cursor.reading == "since" else 0
    return msgspec.structs.replace(
        cursor, since_us=since_us, until_us=max(now_us - incremental.settle, 0), pages=0, counted=0, total=-1
    )


def start_over(cursor: Cursor, reason: str) -> Cursor:
    """A full read from the first page, at whose end what is no longer there counts as deleted."""
    unfinished = cursor.reading == "full"
    return msgspec.structs.replace(
        cursor,
        reading="full",
        next="",
        delta="",
        job="",
        job_us=0,
        pages=0,
        counted=0,
        total=-1,
        since_us=0,
        watermark_us=0,
        reads=0,
        known=(cursor.known or cursor.keys) if unfinished else cursor.keys,  # half a set is better than none
        keys=0,
        resync=reason,
    )


def again(cursor: Cursor) -> Cursor:
    """The read in progress from its first page: the link it was to go on with is no longer served."""
    return msgspec.structs.replace(cursor, next="", job="", job_us=0, pages=0, counted=0, total=-1)


def submitted(cursor: Cursor, job: str, now_us: int) -> Cursor:
    """After the source was given a job that prepares the read; to be stored before it is asked for again."""
    return msgspec.structs.replace(cursor, job=job, job_us=now_us)


def prepared(cursor: Cursor, link: str, total: int) -> Cursor:
    """After the job has results, which begin at ``link``."""
    return msgspec.structs.replace(cursor, next=link, total=total)


def count(cursor: Cursor, items: int, total: int) -> Cursor:
    """After a page of ``items`` records, of ``total`` if the source says so (some do on the first page only)."""
    return msgspec.structs.replace(cursor, counted=cursor.counted + items, total=total if total >= 0 else cursor.total)


def turn_page(cursor: Cursor, following: str, greatest_us: int) -> Cursor:
    """After a page that has another after it."""
    return msgspec.structs.replace(
        cursor, next=following, pages=cursor.pages + 1, greatest_us=max(cursor.greatest_us, greatest_us)
    )


def finish(cursor: Cursor, delta: str, greatest_us: int, *, watermark: bool = False) -> Cursor:
    """After the last page of a read; without a delta link or a watermark the next read is a full one again."""
    after = msgspec.structs.replace(
        again(cursor), delta=delta, resync="", greatest_us=max(cursor.greatest_us, greatest_us)
    )
    if delta:
        return msgspec.structs.replace(after, reading="delta", known=0)
    # A source time beyond our own clock must not make the next read pass over what comes before it.
    seen_us = max(cursor.watermark_us, min(after.greatest_us, cursor.until_us))
    if watermark and seen_us:
        reads = cursor.reads + 1 if cursor.reading == "since" else 0
        return msgspec.structs.replace(after, reading="since", watermark_us=seen_us, known=0, reads=reads)
    return msgspec.structs.replace(after, reading="full", known=cursor.keys, keys=0)


_decode = msgspec.json.Decoder(Cursor).decode


class Cursors:
    """One stream's cursor in the registry; read once, then written only by who holds the stream's lease."""

    def __init__(self, registry: Registry, tenant: str, source: str, stream: str) -> None:
        self._registry = registry
        self._key = f"cursor/{tenant}/{source}/{stream}"
        self._etag: str | None = None

    async def load(self) -> Cursor:
        """The cursor; a new one if the stream was never read."""
        document = await self._registry.get(self._key)
        self._etag = document.etag if document else None
        return _decode(document.value) if document else Cursor()

    async def save(self, cursor: Cursor) -> None:
        """Write it. LeaseLost if another wrote since it was loaded: the lease must have passed on."""
        try:
            self._etag = await self._registry.put(self._key, msgspec.json.encode(cursor), self._etag)
        except Conflict as error:
            raise LeaseLost(f"{self._key} was written by another reader; this one stops") from error
