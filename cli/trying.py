"""Ways to read a stream whose file says too little of its answers: each is tried, and kept if it brings more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from flockiq.capture.http.client import Tally
from flockiq.capture.protocols.registry import PROTOCOLS
from flockiq.capture.records import Record
from flockiq.capture.sources import Capture
from flockiq.cli.paging import LINKED, Way, is_silent, links_on, records_place
from flockiq.cli.peek import Peeked, peek
from flockiq.shared.config.reading import Paginate
from flockiq.shared.config.sources import Source, Stream
from flockiq.shared.errors import FlockIQError

TRIES = 12  # requests spent on it at most

_paginate: TypeAdapter[Any] = TypeAdapter(Paginate)


async def looked(capture: Capture, source: Source, stream: str) -> tuple[Source, Mapping[str, Any]]:
    """The source with what the stream's first answer shows and its file does not say, and how that is written there."""
    config = source.streams[stream]
    silent, unplaced = is_silent(source, config), "records" not in config.model_fields_set
    if source.connector != "rest" or config.format or config.job or not (silent or unplaced):
        return source, {}
    protocol = PROTOCOLS[source.connector](source, config)
    answer = await capture.client(source).get(protocol.first(), protocol.headers(first=True), Tally())
    if not answer.ok:
        return source, {}  # reading it says why
    place = records_place(answer.body) if unplaced else ""
    found: dict[str, Any] = {"records": place} if place else {}
    if silent and links_on(answer.headers):
        found["paginate"] = LINKED
    changed = {name: _paginate.validate_python(way) if name == "paginate" else way for name, way in found.items()}
    return _with(source, stream, config, **changed), found


async def paged(capture: Capture, source: Source, stream: str, first: Peeked) -> Way | None:
    """The ``paginate`` by which pages after the ``first`` come, of those that its signs suggest; None if none does."""
    config, known = source.streams[stream], [_content(record) for record in first.records]
    ways = [way for sign in first.signs for way in sign.ways]
    for way in ways[:TRIES]:
        trial = _with(source, stream, config, paginate=_paginate.validate_python(way))
        try:
            seen = [_content(record) for record in (await peek(capture, trial, stream, first.on_page + 1)).records]
        except FlockIQError:
            continue  # not this way
        if len(seen) > first.on_page and seen[: len(known)] == known and seen[-1] not in seen[:-1]:
            return way
    return None


def _with(source: Source, stream: str, config: Stream, **changed: object) -> Source:
    return source.model_copy(update={"streams": {**source.streams, stream: config.model_copy(update=changed)}})


def _content(record: Record) -> dict[str, bytes]:
    return {name: bytes(raw) for name, raw in record.items()}
