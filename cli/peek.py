"""A look at one source without publishing anything: its file, and the first records of a stream."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import BaseModel

from flockiq.capture.badrow import BadRow
from flockiq.capture.files import is_for
from flockiq.capture.http.client import SourceClient, Tally
from flockiq.capture.jobs import JobFailed, Jobs, NotReady
from flockiq.capture.protocols.page import BEGINNING, At, Expired, StreamProtocol
from flockiq.capture.protocols.registry import PROTOCOLS
from flockiq.capture.publish import Lines
from flockiq.capture.records import Reader, Record
from flockiq.capture.rows import rows
from flockiq.capture.sources import Capture
from flockiq.cli.paging import Sign, is_silent, signs
from flockiq.local.samples import systems
from flockiq.shared import settings, wire
from flockiq.shared.config.connectors import preset
from flockiq.shared.config.document import Document, read
from flockiq.shared.config.problems import did_you_mean, validate
from flockiq.shared.config.secrets import SecretName
from flockiq.shared.config.sources import Source, SourceFile
from flockiq.shared.errors import BadRecord, ConfigError, FlockIQError, SourceError
from flockiq.shared.positions import Position
from flockiq.shared.services import connect

PAGES: Final = 10  # asked for at most
ODATA: Final = ("dataverse", "odata_v2", "odata_v4")  # these describe themselves in $metadata
FILES: Final = 10_000  # names looked through at most
_NO_RECORD: Final = "is no JSON object with a key"


class Found(NamedTuple):
    """A source's file and what it says. It may be disabled: one looks before one enables."""

    document: Document
    source: Source
    path: Path


class Peeked(NamedTuple):
    """The first records of a stream, and why others beside them are none."""

    records: Sequence[Record]
    unreadable: Sequence[str] = ()
    place: str = ""  # the file they are from
    signs: Sequence[Sign] = ()  # of further pages, where config says nothing of any
    on_page: int = 0  # records of the pages that were asked for


def find(folder: Path, name: str, *, sketch: bool = False) -> Found:
    """The source called ``name``. ConfigError if its file is wrong, FlockIQError if there is none.

    A ``sketch`` may lack what its records are going to tell: ``source`` then has placeholders for it.
    """
    names: list[str] = []
    broken: list[ConfigError] = []
    for path in sorted((folder / "sources").glob("*.y*ml")):
        try:
            document = read(path)
        except ConfigError as error:
            broken.append(error)
            continue
        named = str(document.data.get("source", "")) if isinstance(document.data, dict) else ""
        names.append(named)
        if named != name:
            continue
        whole = dataclasses.replace(document, data=_filled(document.data)) if sketch else document
        source, problems = validate(SourceFile, whole)
        if source is None:
            raise ConfigError(problems)
        return Found(document, source, path)
    if broken:
        raise broken[0]
    raise FlockIQError(f"{folder / 'sources'} holds no source called {name!r}: {did_you_mean(name, names)}")


def _filled(written: dict[str, Any]) -> dict[str, Any]:
    """A source as written, with placeholders for what only its records can tell."""
    connector, streams = written.get("connector"), written.get("streams")
    if streams is None and connector in ODATA:
        streams = {"anything": {"path": "anything"}}  # the service lists what there is
    if not isinstance(streams, dict):
        return written
    keyed = not isinstance(connector, str) or "primary_key" in preset(connector).get("stream", {})
    blank = {"entity": "record", "fields": {"name": "name"}} | ({} if keyed else {"primary_key": ["id"]})
    blank |= {"select": ["Id"]} if str(connector).startswith("salesforce") else {}
    return written | {
        "streams": {
            name: blank | ({} if stream is None else stream) if stream is None or isinstance(stream, dict) else stream
            for name, stream in streams.items()
        }
    }


def stream_of(source: Source, name: str) -> str:
    """``name`` if the source has such a stream. FlockIQError says which it has."""
    if name not in source.streams:
        raise FlockIQError(f"{source.source} has no stream called {name!r}: {did_you_mean(name, source.streams)}")
    return name


@asynccontextmanager
async def opened(data: Path, *sources: Source) -> AsyncIterator[Capture]:
    """A capture of some sources; it reaches the sample systems too while they run on ``data``."""
    with _sample_systems(data):
        services = connect(msgspec.structs.replace(settings.read(os.environ), data=data))
        capture = Capture(services, {source.source: source for source in sources}, os.environ)
        try:
            yield capture
        finally:
            await capture.close()
            await services.close()


@contextmanager
def _sample_systems(data: Path) -> Iterator[None]:
    given = {name: value for name, value in systems.environment_of(data).items() if name not in os.environ}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            os.environ.pop(name, None)


def secret_names(model: BaseModel) -> Iterator[str]:
    """The name of every secret that a config model names."""
    for value in dict(model).values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, SecretName):
                yield each.secret
            elif isinstance(each, BaseModel):
                yield from secret_names(each)


async def peek(capture: Capture, source: Source, stream: str, limit: int) -> Peeked:
    """Up to ``limit`` records of a stream, as the app would read them first.

    SourceError, SourceUnavailable, ConfigError, NotFound, BadRecord: they can't be read, and why.
    """
    if source.polled:
        return await _asked(capture, source, stream, limit)
    if source.files is not None:
        return await _filed(capture, source, stream, limit)
    raise FlockIQError(f"{source.source}/{stream} is told by a webhook: there is nothing to read before it is")


async def _asked(capture: Capture, source: Source, stream: str, limit: int) -> Peeked:
    config = source.streams[stream]
    small = config.model_copy(update={"page_size": min(config.page_size, limit)})
    protocol, client = PROTOCOLS[source.connector](source, small), capture.client(source)
    if small.job is None:
        return await _pages(client, protocol, protocol.first(), limit, silent=is_silent(source, config))
    jobs = Jobs(source, small, client, capture.now_us, Tally())
    job = await jobs.submit(BEGINNING, sample=True)
    try:
        link = await _prepared(jobs, job, capture, source.limits.slice_time)
        return await _pages(client, protocol, link, limit)
    finally:
        await jobs.discard(job)


async def _prepared(jobs: Jobs, job: str, capture: Capture, patience_us: int) -> str:
    """The link of a job's results. SourceError if it has none in ``patience_us``."""
    submitted_us = capture.now_us()
    while True:
        try:
            return (await jobs.results(job, submitted_us)).link
        except NotReady as waiting:
            if capture.now_us() + waiting.pause_us > submitted_us + patience_us:
                raise SourceError(f"{waiting} after {patience_us / 1e6:,.0f} s (limits.slice_time)") from waiting
            await asyncio.sleep(waiting.pause_us / 1e6)
        except (JobFailed, Expired) as failed:
            raise SourceError(str(failed)) from failed


async def _pages(
    client: SourceClient, protocol: StreamProtocol, link: str, limit: int, *, silent: bool = False
) -> Peeked:
    """The first pages' records, up to ``limit``; if config is ``silent`` about pages, what the answer says of them."""
    records: list[Record] = []
    told: list[Sign] = []
    unreadable: list[str] = []
    for number in range(PAGES):
        answer = await client.get(link, protocol.headers(first=number == 0), Tally())
        try:
            page = protocol.parse(answer, polling=False, at=At(counted=len(records)))
        except Expired as error:
            raise SourceError(f"the source calls the first page expired: {error}") from error
        if number == 0:
            protocol.require(page)
        records += page.records
        if silent:
            told = signs(answer.body, answer.headers, len(records))
        unreadable += [str(item) if isinstance(item, BadRow) else _NO_RECORD for item in page.unreadable]
        if len(records) >= limit or not page.next:
            break
        link = str(client.origins.resolve(page.next, answer.url))
    return Peeked(records[:limit], unreadable[:limit], signs=told, on_page=len(records))


async def _filed(capture: Capture, source: Source, stream: str, limit: int) -> Peeked:
    config = source.streams[stream]
    path = await newest_file(capture, source, stream)
    if path is None or config.format is None:
        raise SourceError(f"no file in {source.files.path if source.files else ''} fits the pattern {config.pattern!r}")
    body = await capture.services.blobs.get(path)
    if len(body) > source.limits.file_bytes:
        raise BadRecord(f"{path} has {len(body):,} bytes; limits.file_bytes is {source.limits.file_bytes:,}")
    records: list[Record] = []
    unreadable: list[str] = []
    for row in rows(body, config.format, source.limits.unpacked_bytes):
        if isinstance(row, BadRow):
            unreadable.append(str(row))
        else:
            records.append(row)
        if max(len(records), len(unreadable)) >= limit:
            break
    return Peeked(records, unreadable, path)


async def newest_file(capture: Capture, source: Source, stream: str) -> str | None:
    """The last by name of a stream's files, which is the newest where names hold dates."""
    if source.files is None:
        return None
    last, after, seen = None, "", 0
    while names := await capture.services.blobs.list(f"{source.files.path}/", after=after):
        fitting = [name for name in names if is_for(source, source.streams[stream], name)]
        last = fitting[-1] if fitting else last
        after, seen = names[-1], seen + len(names)
        if seen >= FILES:
            break
    return last


def events(capture: Capture, source: Source, stream: str, peeked: Peeked) -> tuple[list[bytes], list[str]]:
    """The records as lines of hub ``changes``, and why the others can't become any. Nothing is published."""
    reader = Reader(source.streams[stream], nesting=source.limits.nesting)
    lines = Lines(capture.tenant, source.source, stream, 1)
    refused = list(peeked.unreadable)
    now_us = capture.now_us()
    for row, record in enumerate(peeked.records):
        try:
            taken = reader.take(dict(record))
            lines.add(taken.op, taken, Position(now_us, 0, row), now_us)
        except BadRecord as error:
            refused.append(f"record {row + 1}: {error}")
    return [line for event in lines.events() for line in wire.unpack(event.body).split(b"\n")], refused


def values(record: Mapping[str, msgspec.Raw]) -> dict[str, object]:
    """A record's values decoded, what can't be left out."""
    decoded: dict[str, object] = {}
    for name, raw in record.items():
        try:
            decoded[name] = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            continue
    return decoded
