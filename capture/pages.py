"""The pages of one read, asked for one after another: what to ask next, and when a source leads nowhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import httpx

from flockiq.capture import cursor as steps
from flockiq.capture.cursor import Cursor
from flockiq.capture.http.client import Answer, SourceClient, Tally
from flockiq.capture.http.guard import Origin
from flockiq.capture.http.quota import Allowance
from flockiq.capture.jobs import Jobs
from flockiq.capture.protocols.page import At, Page, StreamProtocol
from flockiq.shared.config.sources import Source, Stream
from flockiq.shared.errors import SourceError


class TooMany(Exception):
    """The source says, or shows, that one query asks for more than it gives."""


class Pages:
    """Asks for what a cursor says is next. Links it has followed are remembered as long as the run lasts."""

    def __init__(
        self,
        source: Source,
        stream: Stream,
        client: SourceClient,
        protocol: StreamProtocol,
        now_us: Callable[[], int],
        tally: Tally,
        too_many: Sequence[str] = (),
    ) -> None:
        """``too_many``: words in a refusal that make it TooMany."""
        self.protocol = protocol
        self._client = client
        self._limits = source.limits
        self._now_us = now_us
        self._tally = tally
        self._too_many = too_many
        self._jobs = Jobs(source, stream, client, now_us, tally) if stream.job else None
        self._asked: set[str] = set()
        self._mark = ""

    @property
    def allowance(self) -> Allowance | None:
        """What the source last told of its allowance."""
        return self._client.allowance

    async def ask(self, cursor: Cursor) -> tuple[Page, Answer]:
        """The page that ``cursor`` stands before. Expired: its link is no longer served. TooMany: see there."""
        first = begins(cursor)
        at = At(cursor.since_us, cursor.until_us, cursor.counted)
        link = cursor.next or (self.protocol.first(at) if first else cursor.delta)
        self._asked.add(link)
        answer = await self._client.get(link, self.protocol.headers(first=first), self._tally)
        if word := answer.says(self._too_many):
            raise TooMany(f"the source answers {answer.status}: {word}")
        page = self.protocol.parse(answer, polling=not first, at=at)
        if first and cursor.reading == "full":
            self.protocol.require(page)
        return page, answer

    async def prepare(self, cursor: Cursor, save: Callable[[Cursor], Awaitable[None]]) -> None:
        """Have the source prepare the read, if it has to be. NotReady: later. JobFailed, Expired: it could not.

        The job is saved before it is asked for, and its results' link before that is followed.
        """
        if self._jobs is None or cursor.next:
            return
        if not cursor.job:
            job = await self._jobs.submit(At(cursor.since_us, cursor.until_us))
            cursor = steps.submitted(cursor, job, self._now_us())
            await save(cursor)
        results = await self._jobs.results(cursor.job, cursor.job_us)
        link = self.kept(results.link, self._client.origins.base)
        await save(steps.prepared(cursor, link, results.total))

    async def discard(self, job: str) -> None:
        """Let the source forget a job that nobody asks for any more."""
        if job and self._jobs is not None:
            await self._jobs.discard(job)

    def begin_again(self) -> None:
        """The read is begun once more: links followed before may be followed again."""
        self._asked.clear()
        self._mark = ""

    def count(self, cursor: Cursor, page: Page) -> Cursor:
        """The cursor with a page's records counted. SourceError if it is the page before it once more."""
        if page.mark and page.mark == self._mark:
            raise SourceError(
                "the source gives the same page again, whatever page it is asked for; see the parameters of paginate:"
            )
        self._mark = page.mark
        return steps.count(cursor, page.items, page.total)

    def turn(self, cursor: Cursor, link: str, current: httpx.URL, greatest_us: int) -> Cursor:
        """The cursor before the page at ``link``. SourceError if pages run in a circle, or are too many."""
        following = self.kept(link, current)
        if following in self._asked:
            raise SourceError("the source's pages run in a circle: a next link was followed before")
        if cursor.pages + 1 >= self._limits.pages:
            raise SourceError(f"the read has over {self._limits.pages:,} pages; raise limits.pages if that is right")
        return steps.turn_page(cursor, following, greatest_us)

    def kept(self, link: str, current: httpx.URL) -> str:
        """A link as the cursor keeps it: checked, and without base_url's origin, which may move."""
        url = self._client.origins.resolve(link, current)
        if Origin.of(url) == Origin.of(self._client.origins.base):
            return url.raw_path.decode("ascii")
        return str(url)


def begins(cursor: Cursor) -> bool:
    """Whether the next page is the first of a read that begins with no link."""
    return not cursor.next and cursor.reading != "delta"
