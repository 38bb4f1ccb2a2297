"""One run of one stream: page after page from where the cursor stands, published, then checkpointed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import httpx
import msgspec

from flockiq.capture import cursor as steps
from flockiq.capture.badrow import BadRow
from flockiq.capture.batch import FEW, Batch
from flockiq.capture.columns import ColumnsHeld
from flockiq.capture.cursor import Cursor, Cursors
from flockiq.capture.deliveries import last_told
from flockiq.capture.http.client import Answer, SourceClient, Tally
from flockiq.capture.http.quota import Allowance
from flockiq.capture.jobs import JobFailed, NotReady
from flockiq.capture.keys import KeySets
from flockiq.capture.known import Known
from flockiq.capture.pages import Pages, begins
from flockiq.capture.protocols.page import Expired, Page, StreamProtocol
from flockiq.capture.records import Record
from flockiq.capture.unchanged import Lately
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import BadRecord, SourceError, SourceUnavailable
from flockiq.shared.services import Services

log = logging.getLogger("flockiq.capture")

FLUSH_BYTES: Final = 4_000_000  # of lines held before they are published
FLUSH_AFTER_S: Final = 1.0  # and how long the first of them waits
_BREATH: Final = 1_000  # records taken before other tasks get a turn


class Result(msgspec.Struct):
    """What a run brought."""

    tally: Tally = msgspec.field(default_factory=Tally)
    records: int = 0
    greatest_us: int = 0  # source time
    schema: list[str] = []  # how the stream's columns changed
    resynced: str = ""  # why a full read with delete reconciliation was begun
    begun_again: str = ""  # why a read was begun once more, from where it began
    more: bool = False  # the slice's time ran out before the read's end
    rest_us: int = 0  # how long the source wants to be left alone before there is more


class Reading:
    """One run. Whatever ends it, what was published is checkpointed, and the next run goes on from there."""

    def __init__(
        self,
        services: Services,
        source: Source,
        stream: str,
        client: SourceClient,
        protocol: StreamProtocol,
        partitions: int,
        now_us: Callable[[], int],
        lately: Lately | None = None,
    ) -> None:
        tenant = services.settings.tenant
        self._services = services
        self._limits = source.limits
        self._source = source.source
        self._stream = stream
        self._config = source.streams[stream]
        self._now_us = now_us
        self._cursors = Cursors(services.registry, tenant, source.source, stream)
        key_sets = KeySets(services.blobs, tenant, source.source, stream)
        self._known = Known(self._config, key_sets, Lately() if lately is None else lately)
        self._batch = Batch(services, source, stream, partitions)
        self._columns = ColumnsHeld(self._config.columns, services.registry, f"{tenant}/{source.source}/{stream}")
        self.result = Result()
        self.cursor = Cursor()
        self._pages = Pages(source, self._config, client, protocol, now_us, self.result.tally)

    async def run(self) -> Result:
        """Read until the source has nothing more for now, or the slice's time is up.

        SourceUnavailable, SourceError: the source's fault. TransientError: ours. LeaseLost: stop here.
        """
        before = await self._left()
        self.cursor = steps.begin(before, self._config, self._now_us())
        self._batch.begin(self.cursor.run, self.cursor.run_us)
        await self._known.begin(before, self.cursor, self._save)
        await self._columns.load()
        if before.job != self.cursor.job:
            await self._pages.discard(before.job)  # what is asked of the stream was changed
        try:
            return await self._read()
        except NotReady as waiting:
            await self._flush()
            self.result.more, self.result.rest_us = True, waiting.pause_us
            return self.result
        except SourceUnavailable:
            await self._flush()  # what it gave before it fell silent need not be asked for again
            raise

    @property
    def allowance(self) -> Allowance | None:
        """What the source last told of its allowance."""
        return self._pages.allowance

    async def _read(self) -> Result:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.slice_time / 1e6
        flush_at = loop.time() + FLUSH_AFTER_S
        while True:
            page, answer = await self._page()
            self.cursor = self._pages.count(self.cursor, page)
            await self._take(page)
            if not page.next:
                await self._end(page, answer.url)
                return self.result
            self.cursor = self._pages.turn(self.cursor, page.next, answer.url, self._batch.greatest_us)
            if loop.time() >= until:
                await self._flush()
                self.result.more = True
                return self.result
            if self._batch.size >= FLUSH_BYTES or loop.time() >= flush_at:
                await self._flush()
                flush_at = loop.time() + FLUSH_AFTER_S

    async def _left(self) -> Cursor:
        """The cursor as it was left; runs go on after those in which a webhook told of the stream."""
        cursor = await self._cursors.load()
        if self._config.webhook is None:
            return cursor
        tenant = self._services.settings.tenant
        told = await last_told(self._services.registry, tenant, self._source, self._stream)
        return msgspec.structs.replace(cursor, run=max(cursor.run, told))

    async def _page(self) -> tuple[Page, Answer]:
        """The next page; the first one of the read if its link has expired."""
        try:
            return await self._ask_meanwhile()
        except Expired as expired:
            if begins(self.cursor) and not self.cursor.job:
                raise SourceError(f"the source calls the first page of a read expired: {expired}") from expired
            await self._flush()
            if self.cursor.reading == "since" or (self.cursor.job and not self.cursor.pages):
                await self._again(f"the source no longer serves the link of a page: {expired}")
            else:
                await self._resync(f"the source no longer serves its link: {expired}")
        try:
            return await self._ask()
        except Expired as expired:
            raise SourceError(f"the source calls the first page of a read expired: {expired}") from expired

    async def _ask_meanwhile(self) -> tuple[Page, Answer]:
        """Ask; what is held is published if the answer lets wait."""
        asking = asyncio.create_task(self._ask())
        try:
            await asyncio.wait({asking}, timeout=FLUSH_AFTER_S)
            if not asking.done() and self._batch.records:
                await self._flush()
            return await asking
        finally:
            asking.cancel()

    async def _ask(self) -> tuple[Page, Answer]:
        try:
            await self._pages.prepare(self.cursor, self._move)
        except JobFailed as failed:
            await self._again(str(failed))
            raise SourceError(f"{failed}; another is submitted at the next try") from failed
        return await self._pages.ask(self.cursor)

    async def _resync(self, reason: str) -> None:
        """Begin a full read at whose end deletions are found; said aloud, for it may take long."""
        log.warning("%s/%s is read again from the start: %s", self._source, self._stream, reason)
        before, run = self.cursor, self.cursor.run
        await self._pages.discard(before.job)
        after = steps.start_over(before, reason)
        if before.keys == run:  # begun in this very run, whose number the new set takes
            after = msgspec.structs.replace(after, known=before.known)
            await self._known.forget(before.keys)
        self.cursor = msgspec.structs.replace(after, keys=run)
        await self._known.begin(before, self.cursor, self._save)
        self.result.resynced = reason
        self._pages.begin_again()

    async def _again(self, reason: str) -> None:
        """Begin the read once more, from where it began."""
        log.warning("%s/%s: %s; the read is begun again", self._source, self._stream, reason)
        await self._pages.discard(self.cursor.job)
        self.cursor = steps.again(self.cursor)
        self.result.begun_again = reason
        await self._cursors.save(self.cursor)
        self._pages.begin_again()

    async def _end(self, page: Page, current: httpx.URL) -> None:
        """After the last page: find what was deleted, publish, keep the delta link."""
        if self._pages.protocol.delta and not page.delta:
            raise SourceError(
                "the read ends without a delta link, so later changes would be missed; enable change tracking in the "
                "source, or set incremental: {kind: full}"
            )
        if self.cursor.counted < self.cursor.total:
            await self._short()
        compared = self.cursor.known
        if compared:
            await self._flush()
            await self._reconcile()
        delta = self._pages.kept(page.delta, current) if page.delta else ""
        before = self.cursor
        watermark = self._config.incremental.kind == "watermark"
        self.cursor = steps.finish(self.cursor, delta, self._batch.greatest_us, watermark=watermark)
        await self._flush(always=self.cursor != before)
        await self._pages.discard(before.job)
        if compared:
            await self._known.forget(compared)
        await self._known.fold()

    async def _short(self) -> None:
        """The source told of more records than its pages held: what there is is kept, and the read repeated."""
        lacks = f"the pages held {self.cursor.counted:,} records, and the source says there are {self.cursor.total:,}"
        await self._flush()
        await self._again(lacks)
        raise SourceError(f"{lacks}; it is read again. If that goes on, see paginate: a page may be cut short")

    async def _reconcile(self) -> None:
        """Tell of the deletion of every known record that the full read did not find."""
        known, missing = await self._known.missing(self.cursor)
        if known >= FEW and len(missing) > known * self._limits.missing_share:
            lacks = f"a full read lacks {len(missing):,} of {known:,} known records"
            await self._resync(lacks)
            raise SourceError(
                f"{lacks}; it is repeated. If they are truly deleted, raise limits.missing_share, otherwise see what "
                "the user may read"
            )
        for number, key in enumerate(missing):
            self._delete(key)
            if self._batch.size >= FLUSH_BYTES:
                await self._flush()
            elif number % _BREATH == 0:
                await asyncio.sleep(0)
        if missing:
            log.info("%s/%s: %d records were deleted meanwhile", self._source, self._stream, len(missing))

    async def _take(self, page: Page) -> None:
        """Turn a page's records into lines, and what is no record into dead letters."""
        captured_us = self._now_us()
        records = self._admitted(page.records, captured_us) if self._config.columns else page.records
        for first in range(0, len(records), _BREATH):
            some = records[first : first + _BREATH]
            self._known.take(self._batch.take_page(some, captured_us, untold=self._known.untold))
            if len(some) == _BREATH:
                await asyncio.sleep(0)
        for item in page.unreadable:
            if isinstance(item, BadRow):
                self._batch.set_aside(item, item.body, captured_us)
            else:
                self._batch.set_aside(BadRecord("is no JSON object with a key"), item, captured_us)
        for key in page.deleted:
            self._delete(key)
        self._columns.page_taken()
        self._batch.judge()

    def _admitted(self, records: Sequence[Record], captured_us: int) -> list[Record]:
        """The records that the stream's columns admit; the others are set aside."""

        def set_aside(error: BadRecord, body: bytes, record: Record) -> None:
            self._batch.set_aside(error, body, captured_us)
            self._known.keep(record)

        return self._columns.admitted(records, set_aside)

    def _delete(self, key: str) -> None:
        self._batch.delete(key, self._now_us())
        self._known.delete(key)

    async def _flush(self, *, always: bool = True) -> None:
        """Publish what is held; only then note its keys and move the cursor."""
        await self._known.before_telling(self.cursor.run)
        records = await self._batch.publish()
        await self._known.told(self.cursor.run)
        if records or always:
            await self._cursors.save(msgspec.structs.replace(self.cursor, moved_us=self._now_us()))
        self._known.settle()
        self.result.schema += await self._columns.keep()
        self.result.records += records
        self.result.greatest_us = self._batch.greatest_us

    async def _save(self) -> None:
        await self._cursors.save(self.cursor)

    async def _move(self, cursor: Cursor) -> None:
        """Keep where the read stands now."""
        self.cursor = cursor
        await self._save()
