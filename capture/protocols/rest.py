"""Any JSON over HTTP that config can describe: where the records are, how pages follow, how changes are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from flockiq.capture.badrow import BadRow
from flockiq.capture.http.client import Answer
from flockiq.capture.protocols.following import Turned, first_parameters, following
from flockiq.capture.protocols.page import BEGINNING, At, Expired, Page, query
from flockiq.capture.protocols.phrases import phrased, standing, window
from flockiq.capture.protocols.places import Answered, count_at, opened, records_at, steps
from flockiq.capture.records import Record
from flockiq.capture.rows import rows
from flockiq.capture.sheet import Shape
from flockiq.shared.config.reading import CountedPages, Watermark
from flockiq.shared.config.sources import Source, Stream
from flockiq.shared.errors import BadRecord, SourceError
from flockiq.shared.positions import hash_id

_NOT_FOUND: Final = 404
_GONE: Final = 410
_SAID: Final = 300
_ACCEPT: Final = {"csv": "text/csv", "ndjson": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}


class Rest:
    """A stream of a source described in YAML; its answers are JSON, or what its ``format`` says."""

    delta = False

    def __init__(self, source: Source, stream: Stream) -> None:
        self._base_query = dict(source.connection.query) if source.connection else {}
        self._stream = stream
        self._way = steps(stream.records)
        self._total = steps(stream.paginate.total)
        self._words = standing(stream)
        self._shape = Shape()
        self._unpacked = source.limits.unpacked_bytes

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
        written = self._stream.format
        accepted = {"accept": _ACCEPT[written.kind]} if written is not None else {}
        return accepted | phrased(self._stream.headers, self._words)

    def parse(self, answer: Answer, *, polling: bool, at: At = BEGINNING) -> Page:
        """Understand an answer."""
        if not answer.ok:
            self._refused(answer, polling=polling)
        body, records, unreadable = self._read(answer.body)
        total = count_at(body, self._total) if self._total else -1
        items = len(records) + len(unreadable)
        link = following(self._stream, Turned(answer, body, records, items, total, at))
        return Page(records, unreadable=unreadable, next=link, total=total, mark=self._mark(records))

    def require(self, page: Page) -> None:
        """Nothing: what is missing shows on the page."""

    def _read(self, body: bytes) -> tuple[Answered, Sequence[Record], list[bytes | BadRow]]:
        """An answer taken apart as far as it can be, its records, and what stands among them without being one."""
        written = self._stream.format
        if written is None:
            answer = opened(body)
            records, unreadable = records_at(answer, self._way, self._shape)
            return answer, records, [*unreadable]
        if not body.strip():
            return {}, [], []  # no records, and so not even a header
        try:
            found = list(rows(body, written, self._unpacked))
        except BadRecord as error:
            raise SourceError(f"the answer is no {written.kind}: {error}") from error
        good = [row for row in found if not isinstance(row, BadRow)]
        return {}, good, [row for row in found if isinstance(row, BadRow)]

    def _refused(self, answer: Answer, *, polling: bool) -> None:
        said = "".join(each if each.isprintable() else " " for each in answer.body[:_SAID].decode("utf-8", "replace"))
        gone = answer.status == _GONE or (answer.status == _NOT_FOUND and self._stream.job is not None)
        if polling and (gone or any(word.encode() in answer.body for word in self._stream.expired)):
            raise Expired(said)
        reason = said.strip() or "without a reason"
        raise SourceError(f"the source answers {answer.status} to {answer.url.path}: {reason}")

    def _mark(self, records: Sequence[Record]) -> str:
        """The page's ends, if a source that ignores our parameter would give the same page for ever."""
        if not records or not isinstance(self._stream.paginate, CountedPages):
            return ""
        ends: list[Any] = [records[0], records[-1], len(records)]
        return hash_id(msgspec.json.encode(ends, order="sorted").decode())
