"""OData V4, Dataverse and V2: paging by next link, change tracking by delta link.

V4: docs.oasis-open.org/odata/odata-json-format/v4.01, §4.5 and §15. Dataverse: learn.microsoft.com,
"Use change tracking to synchronize data". V2 with ``__delta``: SAP Gateway Foundation, "Delta query".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import httpx
import msgspec

from flockiq.capture.http.client import Answer
from flockiq.capture.protocols.page import BEGINNING, At, Expired, Page, query
from flockiq.capture.protocols.phrases import phrased, standing, window
from flockiq.capture.protocols.removed import deleted_key, is_tombstone, is_v2_tombstone, keys, parted
from flockiq.capture.records import joined_key
from flockiq.capture.sheet import Shape
from flockiq.shared.config.reading import Watermark
from flockiq.shared.config.sources import Source, Stream
from flockiq.shared.errors import SourceError

_GONE: Final = 410
_EXPIRY: Final = re.compile(
    r"expired|(delta|skip|change.?track)\w*[ -]?(link|token|version|ing)?\b.{0,80}\b"
    r"(invalid|not valid|unknown|not found|too old|malformed)"
    r"|(invalid|unknown).{0,40}(delta|change.?track)",
    re.IGNORECASE,
)
_TRACK: Final = "odata.track-changes"


class _V4Page(msgspec.Struct):
    """4.0 names its control information ``@odata.nextLink``; 4.01 may leave the prefix out (JSON Format, §4.6)."""

    value: msgspec.Raw
    next_40: str = msgspec.field(name="@odata.nextLink", default="")
    next_401: str = msgspec.field(name="@nextLink", default="")
    delta_40: str = msgspec.field(name="@odata.deltaLink", default="")
    delta_401: str = msgspec.field(name="@deltaLink", default="")
    count_40: int = msgspec.field(name="@odata.count", default=-1)
    count_401: int = msgspec.field(name="@count", default=-1)
    context_40: str = msgspec.field(name="@odata.context", default="")
    context_401: str = msgspec.field(name="@context", default="")


class _V2Page(msgspec.Struct):
    results: msgspec.Raw
    next: str = msgspec.field(name="__next", default="")
    delta: str = msgspec.field(name="__delta", default="")
    count: int | str = msgspec.field(name="__count", default=-1)  # V2 writes it as text


class _V2Envelope(msgspec.Struct):
    d: msgspec.Raw  # a page, or the records alone


_v4 = msgspec.json.Decoder(_V4Page).decode
_v2 = msgspec.json.Decoder(_V2Page).decode
_v2_envelope = msgspec.json.Decoder(_V2Envelope).decode


class ODataV4:
    """A stream of an OData V4 service."""

    confirms_tracking = True  # a delta link is trusted only after Preference-Applied said so

    def __init__(self, source: Source, stream: Stream) -> None:
        self._base_query = dict(source.connection.query) if source.connection else {}
        self._stream = stream
        self.delta = stream.incremental.kind == "delta"
        self._shape = Shape()

    def first(self, at: At = BEGINNING) -> str:
        """The link of a read's first page."""
        asked = self._base_query | self._select() | self._stream.query
        return query(self._stream.path, asked | _since(self._stream, at))

    def headers(self, *, first: bool) -> Mapping[str, str]:
        """Page size always; change tracking when a read begins."""
        preferences = [f"odata.maxpagesize={self._stream.page_size}"]
        if first and self.delta:
            preferences.insert(0, _TRACK)
        return {"prefer": ",".join(preferences), "odata-version": "4.0", "odata-maxversion": "4.01"}

    def parse(self, answer: Answer, *, polling: bool, at: At = BEGINNING) -> Page:  # noqa: ARG002 - OData counts for itself
        """Understand an answer."""
        _accepted(answer, polling=polling)
        with _understood(answer.body):
            page = _v4(answer.body)
            found, unreadable = self._shape.read(page.value)
        context = page.context_40 or page.context_401
        following, delta = (
            _seen_from(context, link, answer.url)
            for link in (page.next_40 or page.next_401, page.delta_40 or page.delta_401)
        )
        records, tombstones = parted(found, is_tombstone)
        deleted, nameless = keys(tombstones, lambda record: deleted_key(record, self._stream.primary_key))
        count = max(page.count_40, page.count_401)
        return Page(records, deleted, [*unreadable, *nameless], following, delta, _tracked(answer), count)

    def require(self, page: Page) -> None:
        """A source that ignores track-changes gives links that lose changes: better to know now."""
        if self.delta and self.confirms_tracking and not page.tracked:
            raise SourceError(
                f"{self._stream.path}: the source does not confirm change tracking (Preference-Applied: {_TRACK} is "
                "missing); enable it there, or set incremental: {kind: full}"
            )

    def _select(self) -> dict[str, str]:
        return {"$select": ",".join(self._stream.select)} if self._stream.select else {}


class Dataverse(ODataV4):
    """A table of Dataverse (Dynamics 365): V4, and system query options are refused with change tracking."""


class ODataV2:
    """An entity set of an OData V2 service, as SAP's Gateway speaks it.

    Gateway puts ``__delta`` on the last page where the service implements delta; nothing confirms
    it beforehand, so a missing one at the end of a read is the error.
    """

    def __init__(self, source: Source, stream: Stream) -> None:
        self._base_query = dict(source.connection.query) if source.connection else {}
        self._stream = stream
        self.delta = stream.incremental.kind == "delta"
        self._shape = Shape()

    def first(self, at: At = BEGINNING) -> str:
        """The link of a read's first page."""
        select = {"$select": ",".join(self._stream.select)} if self._stream.select else {}
        asked = {"$format": "json"} | self._base_query | select | self._stream.query
        return query(self._stream.path, asked | _since(self._stream, at))

    def headers(self, *, first: bool) -> Mapping[str, str]:
        """Page size always; change tracking when a read begins (ODP services want to be asked)."""
        preferences = [f"odata.maxpagesize={self._stream.page_size}"]
        if first and self.delta:
            preferences.insert(0, _TRACK)
        return {"prefer": ",".join(preferences), "maxdataserviceversion": "2.0"}

    def parse(self, answer: Answer, *, polling: bool, at: At = BEGINNING) -> Page:  # noqa: ARG002 - OData counts for itself
        """Understand an answer."""
        _accepted(answer, polling=polling)
        with _understood(answer.body):
            held = _v2_envelope(answer.body).d
            page = _V2Page(held) if bytes(held)[:1] == b"[" else _v2(held)
            found, unreadable = self._shape.read(page.results)
        records, tombstones = parted(found, is_v2_tombstone)
        deleted, nameless = keys(tombstones, lambda record: joined_key(record, self._stream.primary_key))
        return Page(records, deleted, [*unreadable, *nameless], page.next, page.delta, total=_count(page.count))

    def require(self, page: Page) -> None:
        """V2 promises nothing on its first page."""


def _since(stream: Stream, at: At) -> dict[str, str]:
    """The parameters that ask only for what changed."""
    if not isinstance(stream.incremental, Watermark):
        return {}
    span = window(stream.incremental, at)
    return phrased(stream.incremental.query, standing(stream) | span) if span is not None else {}


def _count(said: int | str) -> int:
    """V2's count, which is text; -1 if it is none."""
    return int(said) if isinstance(said, int) or (said.isascii() and said.isdigit()) else -1


def _accepted(answer: Answer, *, polling: bool) -> None:
    """Expired or SourceError unless the answer is a success."""
    if answer.ok:
        return
    said = _said(answer.body)
    if answer.status == _GONE or (polling and _EXPIRY.search(said)):
        raise Expired(said)
    raise SourceError(f"the source answers {answer.status}: {said or 'without a reason'}")


def _said(body: bytes) -> str:
    """The message of an OData error in one line, or the body's beginning."""
    try:
        error = msgspec.json.decode(body)["error"]
        message = error.get("message", "")
        text = f"{error.get('code', '')} {message.get('value', '') if isinstance(message, dict) else message}"
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, AttributeError):
        text = body[:300].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in text).strip()[:300]


@contextmanager
def _understood(body: bytes) -> Iterator[None]:
    """SourceError if the body is no page."""
    try:
        str(body, "utf-8")  # values stay raw within: what is no text must not travel on
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = body[:60].decode("utf-8", "replace")
        raise SourceError(f"the answer is not a page of records: {error}"[:300] + f"; it begins {start!r}") from error


def _tracked(answer: Answer) -> bool:
    """Whether the service says that it tracks changes; the prefix odata. is optional (Protocol 4.01, §8.2.8)."""
    said = answer.headers.get("preference-applied", "").split(",")
    return any(each.strip().removeprefix("odata.") == "track-changes" for each in said)


def _seen_from(context: str, link: str, asked: httpx.URL) -> str:
    """A link as the service means it: relative ones are seen from its context URL (JSON Format, §4.3).

    Of that only the path counts: behind a proxy it may name a host of the inside.
    """
    if not link or not context:
        return link
    try:
        base = asked.join(asked.join(context.partition("#")[0]).raw_path.decode("ascii"))
        return str(base.join(link))
    except (httpx.InvalidURL, ValueError, UnicodeError):
        return link  # what is no link is told where it is followed
