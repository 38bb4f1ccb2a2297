"""Any JSON over HTTP that config can describe: where the records are, how pages follow, how changes are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from flockiq.capture.http.client import Answer
from flockiq.capture.protocols.following import Turned, first_parameters, following
from flockiq.capture.protocols.page import BEGINNING, At, Expired, Page, query
from flockiq.capture.protocols.phrases import phrased, standing, window
from flockiq.capture.protocols.places import count_at, opened, records_at, steps
from flockiq.capture.records import Record
from flockiq.shared.config.reading import CountedPages, Watermark
from flockiq.shared.config.sources import Source, Stream
from flockiq.shared.errors import SourceError
from flockiq.shared.positions import hash_id

_GONE: Final = 410
_SAID: Final = 300


class Rest:
    """A stream of a source described in YAML."""

    delta = False

    def __init__(self, source: Source, stream: Stream) -> None:
        self._base_query = dict(source.connection.query) if source.connection else {}
        self._stream = stream
        self._way = steps(stream.records)
        self._total = steps(stream.paginate.total)
        self._words = standing(stream)

    def first(self, at: At = BEGINNING) -> str:
        """The link of a read's first page: its parameters, paging's own, and since when."""
        stream = self._stream
        parameters = self._base_query | stream.query | first_parameters(stream)
        words = self._words
        if isinstance(stream.incremental, Watermark) and (span := window(stream.incremental, at)) is not None:
            parameters |= stream.incremental.query
            words = words | span
        (where,) = phrased({"request": stream.request or stream.path}, words).values()
        return query(where, phrased(parameters, words))

    def headers(self, *, first: bool) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's interface
        """What the stream declares, beyond its connection."""
        return phrased(self._stream.headers, self._words)

    def parse(self, answer: Answer, *, polling: bool, at: At = BEGINNING) -> Page:
        """Understand an answer."""
        if not answer.ok:
            self._refused(answer, polling=polling)
        body = opened(answer.body)
        records, unreadable = records_at(body, self._way)
        total = count_at(body, self._total) if self._total else -1
        items = len(records) + len(unreadable)
        link = following(self._stream, Turned(answer, body, records, items, total, at))
        return Page(records, unreadable=unreadable, next=link, total=total, mark=self._mark(records))

    def require(self, page: Page) -> None:
        """Nothing: what is missing shows on the page."""

    def _refused(self, answer: Answer, *, polling: bool) -> None:
        said = "".join(each if each.isprintable() else " " for each in answer.body[:_SAID].decode("utf-8", "replace"))
        if polling and (answer.status == _GONE or any(word.encode() in answer.body for word in self._stream.expired)):
            raise Expired(said)
        raise SourceError(f"the source answers {answer.status}: {said.strip() or 'without a reason'}")

    def _mark(self, records: list[Record]) -> str:
        """The page's ends, if a source that ignores our parameter would give the same page for ever."""
        if not records or not isinstance(self._stream.paginate, CountedPages):
            return ""
        ends: list[Any] = [records[0], records[-1], len(records)]
        return hash_id(msgspec.json.encode(ends).decode())
