"""What a page of a stream is, whatever the source speaks, and what a protocol must know to read one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import httpx

from flockiq.capture.badrow import BadRow
from flockiq.capture.http.client import Answer
from flockiq.capture.records import Record
from flockiq.shared.config.sources import Source, Stream


class Expired(Exception):
    """The link is no longer served: what it was to go on with has to be begun again."""


class At(NamedTuple):
    """Where a read stands. Times are µs since the epoch."""

    since_us: int = 0  # records from here on are asked for; 0: all
    until_us: int = 0  # up to here, fixed when the read began; 0: no bound
    counted: int = 0  # records of the read so far


BEGINNING: Final = At()


class Page(NamedTuple):
    """One answer of a source, understood."""

    records: Sequence[Record]
    deleted: Sequence[str] = ()  # keys, for protocols that tell of deletions
    unreadable: Sequence[bytes | BadRow] = ()  # items of the page that are no records, and why if that is known
    next: str = ""  # link of the page after this one
    delta: str = ""  # link that will tell what changes from now on; on the last page only
    tracked: bool = False  # the source confirmed that it tracks changes
    total: int = -1  # records of the whole read, as the source tells; -1: it does not
    mark: str = ""  # what no two pages in a row share, where links alone can't tell a circle

    @property
    def items(self) -> int:
        """How many records the source counts on this page."""
        return len(self.records) + len(self.deleted) + len(self.unreadable)


class StreamProtocol(Protocol):
    """How one stream is asked for, and its answers understood. Pure."""

    delta: bool  # whether a delta link is expected where a read ends

    def first(self, at: At = BEGINNING) -> str:
        """The link of a read's first page, relative to base_url. SourceError if it can't be made."""
        ...

    def headers(self, *, first: bool) -> Mapping[str, str]:
        """What to send along; ``first`` when a read begins."""
        ...

    def parse(self, answer: Answer, *, polling: bool, at: At = BEGINNING) -> Page:
        """Understand an answer; ``polling`` when a link was followed, not a read begun.

        Expired: the read is to be begun again. SourceError: the answer is of no use.
        """
        ...

    def require(self, page: Page) -> None:
        """SourceError unless the first page of a full read promises what the stream's config needs."""
        ...


class ProtocolMaker(Protocol):
    """Makes the protocol of one stream."""

    def __call__(self, source: Source, stream: Stream) -> StreamProtocol:
        """The protocol that ``stream`` of ``source`` speaks."""
        ...


def query(path: str, parameters: Mapping[str, str]) -> str:
    """A relative link with its query, encoded as OData services expect it ($ stays, space is %20)."""
    encoded = str(httpx.QueryParams(dict(parameters))).replace("+", "%20").replace("%24", "$").replace("%2C", ",")
    return f"{path}?{encoded}" if encoded else path
