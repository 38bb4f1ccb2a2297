"""What a page of a stream is, whatever the source speaks, and what a protocol must know to read one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import httpx

from flockiq.capture.http.client import Answer
from flockiq.capture.records import Record
from flockiq.shared.config.sources import Source, Stream


class Expired(Exception):
    """The delta link is no longer served: the stream has to be read whole again."""


class Page(NamedTuple):
    """One answer of a source, understood."""

    records: Sequence[Record]
    deleted: Sequence[str] = ()  # keys, for protocols that tell of deletions
    unreadable: Sequence[bytes] = ()  # items of the page that are no records
    next: str = ""  # link of the page after this one
    delta: str = ""  # link that will tell what changes from now on; on the last page only
    tracked: bool = False  # the source confirmed that it tracks changes


class StreamProtocol(Protocol):
    """How one stream is asked for, and its answers understood. Pure."""

    delta: bool  # whether a delta link is expected where a read ends

    def first(self) -> str:
        """The link of a full read's first page, relative to base_url."""
        ...

    def headers(self, *, first: bool) -> Mapping[str, str]:
        """What to send along; ``first`` when a read begins."""
        ...

    def parse(self, answer: Answer, *, polling: bool) -> Page:
        """Understand an answer; ``polling`` when a delta link was asked for.

        Expired: a full read is due. SourceError: the answer is of no use.
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
