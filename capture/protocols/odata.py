"""OData V4, Dataverse and V2: paging by next link, change tracking by delta link.

V4: docs.oasis-open.org/odata/odata-json-format/v4.01, §4.5 and §15. Dataverse: learn.microsoft.com,
"Use change tracking to synchronize data". V2 with ``__delta``: SAP Gateway Foundation, "Delta query".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from flockiq.capture.http.client import Answer
from flockiq.capture.protocols.page import BEGINNING, At, Expired, Page, query
from flockiq.capture.protocols.phrases import phrased, standing, window
from flockiq.capture.records import Record, joined_key
from flockiq.shared.config.reading import Watermark
from flockiq.shared.config.sources import Source, Stream
from flockiq.shared.errors import BadRecord, SourceError

_GONE: Final = 410
_EXPIRY: Final = re.compile(
    r"expired|(delta|skip|change.?track)\w*[ -]?(link|token|version|ing)?\b.{0,80}\b"
    r"(invalid|not valid|unknown|not found|too old|malformed)"
    r"|(invalid|unknown).{0,40}(delta|change.?track)",
    re.IGNORECASE,
)
_TRACK: Final = "odata.track-changes"


class _V4Page(msgspec.Struct):
    value: list[Record]
    next: str = msgspec.field(name="@odata.nextLink", default="")
    delta: str = msgspec.field(name="@odata.deltaLink", default="")
    count: int = msgspec.field(name="@odata.count", default=-1)


class _LooseV4Page(_V4Page):
    value: list[msgspec.Raw]  # type: ignore[assignment]


class _V2Page(msgspec.Struct):
    results: list[Record]
    next: str = msgspec.field(name="__next", default="")
    delta: str = msgspec.field(name="__delta", default="")
    count: int | str = msgspec.field(name="__count", default=-1)  # V2 writes it as text


class _LooseV2Page(_V2Page):
    results: list[msgspec.Raw]  # type: ignore[assignment]


class _V2Envelope(msgspec.Struct):
    d: _V2Page | list[Record]


class _LooseV2Envelope(msgspec.Struct):
    d: _LooseV2Page | list[msgspec.Raw]


_v4 = msgspec.json.Decoder(_V4Page)
_loose_v4 = msgspec.json.Decoder(_LooseV4Page)
_v2 = msgspec.json.Decoder(_V2Envelope)
_loose_v2 = msgspec.json.Decoder(_LooseV2Envelope)
_record = msgspec.json.Decoder(Record)
_text = msgspec.json.Decoder(str)


class ODataV4:
    """A stream of an OData V4 service."""

    confirms_tracking = True  # a delta link is trusted only after Preference-Applied said so

    def __init__(self, source: Source, stream: Stream) -> None:
        self._base_query = dict(source.connection.query) if source.connection else {}
        self._stream = stream
        self.delta = stream.incremental.kind == "delta"

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
        page, unreadable = _decoded(answer.body, _v4, _loose_v4, lambda page: page.value)
        applied = answer.headers.get("preference-applied", "")
        records, tombstones = _split(page.value, _is_tombstone)
        deleted, nameless = _keys(tombstones, self._deleted_key)
        return Page(records, deleted, [*unreadable, *nameless], page.next, page.delta, _TRACK in applied, page.count)

    def require(self, page: Page) -> None:
        """A source that ignores track-changes gives links that lose changes: better to know now."""
        if self.delta and self.confirms_tracking and not page.tracked:
            raise SourceError(
                f"{self._stream.path}: the source does not confirm change tracking (Preference-Applied: {_TRACK} is "
                "missing); enable it there, or set incremental: {kind: full}"
            )

    def _select(self) -> dict[str, str]:
        return {"$select": ",".join(self._stream.select)} if self._stream.select else {}

    def _deleted_key(self, record: Record) -> str:
        for name in ("id", "@odata.id", "@id"):
            if name in record:
                return key_of_reference(_string(record[name]), self._stream.primary_key)
        return joined_key(record, self._stream.primary_key)


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
        envelope, unreadable = _decoded(
            answer.body, _v2, _loose_v2, lambda found: found.d if isinstance(found.d, list) else found.d.results
        )
        if isinstance(envelope.d, list):
            return Page(envelope.d, unreadable=unreadable)
        page = envelope.d
        records, tombstones = _split(page.results, _is_v2_tombstone)
        deleted, nameless = _keys(tombstones, lambda record: joined_key(record, self._stream.primary_key))
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


def _decoded(
    body: bytes, strict: msgspec.json.Decoder[Any], loose: msgspec.json.Decoder[Any], items: Any
) -> tuple[Any, list[bytes]]:
    """The page, and the items of it that are no JSON objects. SourceError if it is no page at all."""
    try:
        str(body, "utf-8")  # values stay raw below: what is no text must not travel on
        try:
            return strict.decode(body), []
        except msgspec.ValidationError:
            page = loose.decode(body)
            held = items(page)
            unreadable = [bytes(item) for item in held if bytes(item)[:1] != b"{"]
            held[:] = [_record.decode(item) for item in held if bytes(item)[:1] == b"{"]
            return page, unreadable
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = body[:60].decode("utf-8", "replace")
        raise SourceError(f"the answer is not a page of records: {error}"[:300] + f"; it begins {start!r}") from error


def _is_v2_tombstone(record: Record) -> bool:
    """Whether an ODP-based service says that the record was deleted (its change mode is C, U or D)."""
    return "ODQ_CHANGEMODE" in record and bytes(record["ODQ_CHANGEMODE"]) == b'"D"'


def _is_tombstone(record: Record) -> bool:
    if "@removed" in record:
        return True
    return "@odata.context" in record and "reason" in record and b"/$deletedEntity" in bytes(record["@odata.context"])


def _string(raw: msgspec.Raw) -> str:
    try:
        return _text.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRecord("a deleted record's id is not text") from error


def key_of_reference(reference: str, primary_key: Sequence[str]) -> str:
    """The record key in an entity reference: ``guid``, ``accounts(guid)`` or a whole URL, one or several keys."""
    found = re.search(r"\(([^()]*)\)/?$", reference)
    inner = unquote(found[1]) if found else reference
    if len(primary_key) == 1:
        name, equals, value = inner.partition("=")
        return _unquoted(value if equals and name.strip() == primary_key[0] else inner)
    named = dict(part.split("=", 1) for part in re.findall(r"\w+=(?:'(?:[^']|'')*'|[^,]*)", inner))
    try:
        raws = {name: msgspec.Raw(msgspec.json.encode(_unquoted(named[name]))) for name in primary_key}
    except KeyError as error:
        raise BadRecord(f"a deleted record's id lacks {error}") from error
    return joined_key(raws, primary_key)


def _unquoted(literal: str) -> str:
    """An OData key literal's value: ``'O''Neil'``, ``guid'…'``, ``42``."""
    quoted = re.fullmatch(r"(?:guid|datetime|datetimeoffset|binary|X)?'(.*)'", literal.strip(), re.DOTALL)
    return quoted[1].replace("''", "'") if quoted else literal.strip()


def _split(records: list[Record], is_tombstone: Callable[[Record], bool]) -> tuple[list[Record], list[Record]]:
    """Records, and what stands for deleted ones."""
    tombstones = [record for record in records if is_tombstone(record)]
    return ([record for record in records if not is_tombstone(record)] if tombstones else records), tombstones


def _keys(tombstones: Sequence[Record], key_of: Callable[[Record], str]) -> tuple[list[str], list[bytes]]:
    """The keys of deleted records, and the tombstones that name none."""
    keys: list[str] = []
    nameless: list[bytes] = []
    for record in tombstones:
        try:
            keys.append(key_of(record))
        except BadRecord:
            nameless.append(msgspec.json.encode(record))
    return keys, nameless
