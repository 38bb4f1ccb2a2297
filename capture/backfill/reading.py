"""One run of one slice of a backfill: page after page, published, then checkpointed in the slice itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from flockiq.capture import cursor as steps
from flockiq.capture import reading
from flockiq.capture.backfill.asking import asked
from flockiq.capture.badrow import BadRow
from flockiq.capture.batch import Batch
from flockiq.capture.columns import ColumnsHeld
from flockiq.capture.cursor import Cursor
from flockiq.capture.http.client import Answer, SourceClient
from flockiq.capture.jobs import JobFailed, NotReady
from flockiq.capture.pages import Pages, TooMany
from flockiq.capture.protocols.page import Expired, Page
from flockiq.capture.protocols.registry import PROTOCOLS
from flockiq.capture.reading import Result
from flockiq.shared.backfills import Backfill, KeptSlice, Slice
from flockiq.shared.config.backfill import Sliced
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import BadRecord, Conflict, LeaseLost, SourceError, SourceUnavailable
from flockiq.shared.services import Services

log = logging.getLogger("flockiq.capture")

_ROWS: Final = 1_000_000  # between two runs of a slice: more than are ever published before the next checkpoint


class SliceReading:
    """One run. Whatever ends it, what was published is checkpointed, and the next run goes on from there.

    Nothing here touches what the stream's polls keep: their cursor, and the keys and contents they know of. What a
    poll tells meanwhile has a greater run, so it wins wherever source times are equal or missing.
    """

    def __init__(
        self,
        services: Services,
        source: Source,
        stream: str,
        backfill: Backfill,
        way: Sliced,
        client: SourceClient,
        partitions: int,
        now_us: Callable[[], int],
    ) -> None:
        self._services = services
        self._source = source
        self._name = stream
        self._backfill = backfill
        self._way = way
        self._client = client
        self._now_us = now_us
        self._config = source.streams[stream]
        self._batch = Batch(services, source, stream, partitions)
        tenant = services.settings.tenant
        self._columns = ColumnsHeld(self._config.columns, services.registry, f"{tenant}/{source.source}/{stream}")
        self.result = Result()
        self.slice = Slice()

    async def run(self, kept: KeptSlice, slice_: Slice) -> None:
        """Read on from where ``slice_`` stands until it ends, or its time is up (``result.more``).

        TooMany: the source does not give as much for one query. SourceUnavailable, SourceError: its fault.
        LeaseLost: another reads the slice, or the backfill has ended.
        """
        self._kept = kept
        # Stored before the first request: rows that a killed run gave out are not given out again.
        self.slice = msgspec.structs.replace(slice_, row=slice_.row + _ROWS)
        await self._save()
        self._batch.begin(self._backfill.run, self._backfill.run_us)
        self._batch.row = self.slice.row
        stream = asked(self._config, self._way, self.slice.span)
        protocol = PROTOCOLS[self._source.connector](self._source, stream)
        tally, words = self.result.tally, self._way.too_many
        self._pages = Pages(self._source, stream, self._client, protocol, self._now_us, tally, words)
        self.cursor = _cursor(self._backfill, self.slice)
        await self._columns.load()
        try:
            await self._read()
        except NotReady as waiting:
            await self._flush()
            self.result.more, self.result.rest_us = True, waiting.pause_us
        except SourceUnavailable:
            await self._flush()  # what it gave before it fell silent need not be asked for again
            raise

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._source.limits.slice_time / 1e6
        flush_at = loop.time() + reading.FLUSH_AFTER_S
        while True:
            page, answer = await self._page()
            self.cursor = self._pages.count(self.cursor, page)
            self._few_enough(page)
            await self._take(page)
            if not page.next:
                await self._end()
                return
            self.cursor = self._pages.turn(self.cursor, page.next, answer.url, self._batch.greatest_us)
            if loop.time() >= until:
                await self._flush()
                self.result.more = True
                return
            if self._batch.size >= reading.FLUSH_BYTES or loop.time() >= flush_at:
                await self._flush()
                flush_at = loop.time() + reading.FLUSH_AFTER_S

    async def _page(self) -> tuple[Page, Answer]:
        try:
            await self._pages.prepare(self.cursor, self._move)
            return await self._pages.ask(self.cursor)
        except JobFailed as failed:
            await self._again(str(failed))
            raise SourceError(f"{failed}; another is submitted at the next try") from failed
        except Expired as expired:
            if not self.cursor.next and not self.cursor.job:
                raise SourceError(f"the source calls the first page of a slice expired: {expired}") from expired
            if self.result.begun_again:
                raise SourceError(
                    f"the source calls the pages of a slice expired again and again: {expired}"
                ) from expired
            await self._again(f"the source no longer serves the link of a page: {expired}")
        return await self._page()

    def _few_enough(self, page: Page) -> None:
        """TooMany if the slice has more records, or pages, than are given for one query."""
        cap, cursor = self._way.cap, self.cursor
        if cap and max(cursor.counted, cursor.total) >= cap:
            raise TooMany(f"{max(cursor.counted, cursor.total):,} records, and the source gives {cap:,} at most (cap)")
        if page.next and cursor.pages + 1 >= self._source.limits.pages:
            raise TooMany(f"over {self._source.limits.pages:,} pages (limits.pages)")

    async def _take(self, page: Page) -> None:
        """Turn a page's records into lines, and what is no record into dead letters."""
        captured_us = self._now_us()
        records = page.records
        if self._config.columns:
            records = self._columns.admitted(
                records, lambda error, body, _: self._batch.set_aside(error, body, captured_us)
            )
        self._batch.take_page(records, captured_us, untold=list)  # what is known already changes nothing downstream
        await asyncio.sleep(0)
        for item in page.unreadable:
            error = item if isinstance(item, BadRow) else BadRecord("is no JSON object with a key")
            self._batch.set_aside(error, item.body if isinstance(item, BadRow) else item, captured_us)
        for key in page.deleted:
            self._batch.delete(key, captured_us)
        self._columns.page_taken()
        self._batch.judge()

    async def _end(self) -> None:
        """After the last page."""
        if self.cursor.counted < self.cursor.total:
            lacks = f"the pages held {self.cursor.counted:,} records, and the source says it is {self.cursor.total:,}"
            await self._flush()
            await self._again(lacks)
            raise SourceError(f"{lacks}; it is read again. If that goes on, see paginate: a page may be cut short")
        job = self.cursor.job
        self.cursor = steps.again(self.cursor)
        await self._flush(done=True)
        await self._pages.discard(job)

    async def _again(self, reason: str) -> None:
        """Begin the slice once more from its first page."""
        log.warning("a slice of %s/%s: %s; it is begun again", self._source.source, self._name, reason)
        job = self.cursor.job
        await self._flush()
        await self._move(steps.again(self.cursor))
        await self._pages.discard(job)
        self._pages.begin_again()
        self.result.begun_again = reason

    async def _flush(self, *, done: bool = False) -> None:
        """Publish what is held; only then move the slice's cursor."""
        records = await self._batch.publish()
        changed = _standing(self.slice, self.cursor)
        self.slice = msgspec.structs.replace(
            changed,
            row=self._batch.row,
            records=changed.records + records,
            greatest_us=max(changed.greatest_us, self._batch.greatest_us),
            state="done" if done else "open",
            failures=0,
            error="",
            retry_us=0,
        )
        await self._save()
        self.result.schema += await self._columns_kept()
        self.result.records += records
        self.result.greatest_us = self._batch.greatest_us

    async def _columns_kept(self) -> list[str]:
        """Store columns that are new; the stream's poll, or another slice, may have stored them meanwhile."""
        try:
            return await self._columns.keep()
        except LeaseLost:
            await self._columns.load()
            return await self._columns.keep()

    async def _move(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.slice = _standing(self.slice, cursor)
        await self._save()

    async def _save(self) -> None:
        try:
            await self._kept.save(self.slice)
        except Conflict as error:
            raise LeaseLost("the slice is read by another, or its backfill has ended; this reader stops") from error


def _cursor(backfill: Backfill, slice_: Slice) -> Cursor:
    """Where a slice stands, as pages are asked for."""
    return Cursor(
        run=backfill.run,
        run_us=backfill.run_us,
        next=slice_.next,
        job=slice_.job,
        job_us=slice_.job_us,
        pages=slice_.pages,
        counted=slice_.counted,
        total=slice_.total,
    )


def _standing(slice_: Slice, cursor: Cursor) -> Slice:
    """A slice that stands where ``cursor`` does."""
    return msgspec.structs.replace(
        slice_,
        next=cursor.next,
        job=cursor.job,
        job_us=cursor.job_us,
        pages=cursor.pages,
        counted=cursor.counted,
        total=cursor.total,
    )
