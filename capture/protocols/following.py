"""How the page after a page is found: one function a kind of paging, from an answer to a link.

The state of a read is in its link, so that it goes on after a kill from nothing but the cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from flockiq.capture.http.client import Answer
from flockiq.capture.protocols.page import At
from flockiq.capture.protocols.phrases import phrased, standing, written
from flockiq.capture.protocols.places import Answered, flag_at, steps, text_at
from flockiq.capture.records import Record, joined_key, source_time, text_of, value_of
from flockiq.shared.config.reading import (
    CountedPages,
    CursorPages,
    HeaderPages,
    KeysetPages,
    LinkHeader,
    NextUrl,
    NumberedPages,
    OffsetPages,
    OnePage,
    Pages,
)
from flockiq.shared.config.sources import Stream
from flockiq.shared.errors import BadRecord, SourceError


class Turned(NamedTuple):
    """An answer, as far as turning its page needs it."""

    answer: Answer
    opened: Answered
    records: Sequence[Record]
    items: int  # records, and what stands among them without being one
    total: int  # -1 if the source does not tell
    at: At


def first_parameters(stream: Stream) -> dict[str, str]:
    """What paging itself adds to the first request."""
    pages = stream.paginate
    parameters: dict[str, str] = {}
    if isinstance(pages, OffsetPages | NumberedPages):
        parameters[pages.parameter] = str(pages.first)
    if isinstance(pages, CountedPages | CursorPages | HeaderPages) and pages.size_parameter:
        parameters[pages.size_parameter] = str(stream.page_size)
    return parameters


def following(stream: Stream, page: Turned) -> str:
    """The link of the next page, "" if this was the last. SourceError if there is one that can't be found."""
    more = _said(stream.paginate, page)
    link = _link(stream, page, more)
    if more is False:
        return ""
    if more and not link:
        raise SourceError(
            "the source says that there is more, and not where: reading on is not possible, and stopping would lose "
            "records; see paginate:"
        )
    return link


def _link(stream: Stream, page: Turned, more: bool | None) -> str:  # noqa: FBT001 - an answer's yes, no or silence
    pages = stream.paginate
    match pages:
        case OnePage():
            if "paginate" not in stream.model_fields_set and "next" in _links(page.answer.headers):
                raise SourceError(
                    "the Link header names a next page, and config says nothing of pages: records would be lost; add "
                    "paginate: {kind: link_header}, or {kind: none} if one page is all that is wanted"
                )
            return ""
        case NextUrl():
            return text_at(page.opened, steps(pages.next))
        case LinkHeader():
            return _links(page.answer.headers).get(pages.rel, "")
        case CursorPages():
            token = text_at(page.opened, steps(pages.next))
            return _with(page.answer.url, {pages.parameter: token}) if token else ""
        case HeaderPages():
            locator = page.answer.headers.get(pages.header, "").strip()
            return _with(page.answer.url, {pages.parameter: locator}) if locator not in ("", pages.last) else ""
        case OffsetPages() | NumberedPages():
            if not _goes_on(pages, stream, page, more):
                return ""
            here = _number(page.answer.url, pages.parameter)
            step = page.items if isinstance(pages, OffsetPages) else 1
            return _with(page.answer.url, {pages.parameter: str(here + step)})
        case KeysetPages():
            return _after_last(pages, stream, page) if _goes_on(pages, stream, page, more) else ""


def _said(pages: Pages, page: Turned) -> bool | None:
    """Whether the source says that there is more; None if it does not say."""
    if pages.more:
        return flag_at(page.opened, steps(pages.more))
    if pages.done:
        return not flag_at(page.opened, steps(pages.done))
    return None


def _goes_on(pages: CountedPages, stream: Stream, page: Turned, more: bool | None) -> bool:  # noqa: FBT001 - see _link
    if page.items == 0:
        if more or 0 <= page.at.counted < page.total:
            raise SourceError(
                "the source says that there is more, and gives an empty page: records would be lost; see paginate:"
            )
        return False
    if more is not None:
        return more
    if page.total >= 0:
        return page.at.counted + page.items < page.total
    return pages.stop == "empty" or page.items >= stream.page_size


def _after_last(pages: KeysetPages, stream: Stream, page: Turned) -> str:
    """The link of what comes after the last record that says where it stands."""
    for record in reversed(page.records):
        try:
            key = joined_key(record, stream.primary_key)
            raw = value_of(record, stream.modified)
            us = source_time(raw, stream.modified) if raw is not None else 0
        except BadRecord:
            continue  # it becomes a dead letter; its neighbour tells where it stood
        if raw is not None and us:
            time = written(us, pages.format, text_of(raw) or "")
            words = standing(stream) | {"time": time, "key": key}
            return _with(page.answer.url, phrased(pages.query, words))
    raise SourceError(
        f"no record of a page has {stream.modified} and {stream.primary_key[0]}: there is nothing to page by"
    )


def _links(headers: httpx.Headers) -> Mapping[str, str]:
    """Relation → target of the Link headers (RFC 8288)."""
    found = httpx.Response(200, headers={"link": ", ".join(headers.get_list("link"))}).links
    return {rel: link.get("url", "") for name, link in found.items() for rel in (name or "").split()}


def _number(url: httpx.URL, parameter: str) -> int:
    said = url.params.get(parameter, "")
    if not (said.isascii() and said.isdigit()):
        raise SourceError(f"the link of a page lost its parameter {parameter}")
    return int(said)


def _with(url: httpx.URL, parameters: Mapping[str, str]) -> str:
    """The same link with some parameters replaced, relative to its origin."""
    merged = url.copy_merge_params(dict(parameters))
    parts = urlsplit(str(merged))
    return f"{parts.path}?{parts.query}"
