"""One file that landed: one slice, resumable, whose rows become change events once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Final

import msgspec
import xxhash

from flockiq.capture import cursor as steps
from flockiq.capture.badrow import BadRow
from flockiq.capture.batch import Batch
from flockiq.capture.cursor import Cursors
from flockiq.capture.landed import Landed, files_landed
from flockiq.capture.lease import under_lease
from flockiq.capture.publish import HUB
from flockiq.capture.records import Record
from flockiq.capture.rows import rows
from flockiq.capture.sources import Capture
from flockiq.shared.config.sources import Source, Stream, matches
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.errors import BadRecord, ConfigError, Conflict, LeaseLost, NotFound, SourceError, SourceUnavailable
from flockiq.shared.ports import Registry
from flockiq.shared.positions import hash_id
from flockiq.shared.status import arrived, touch

log = logging.getLogger("flockiq.capture")

ROWS: Final = 2_000  # published, then noted, at a time
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload")  # writers' names for half a file


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the registry keeps of a file: how many rows of which content were published."""

    path: str
    etag: str = ""
    content: str = ""
    rows: int = 0
    done: bool = False


_decode = msgspec.json.Decoder(Progress).decode


async def take(capture: Capture, body: bytes) -> None:
    """Read every file that a message tells of, by every stream whose pattern it fits. TransientError: again."""
    try:
        landed = files_landed(body)
    except BadRecord as error:
        letter = DeadLetter(stage="capture", source="", stream="", reason=str(error), body=body, at_us=capture.now_us())
        await bury(capture.services, [letter])
        return
    for file in landed:
        readers = [
            (source, stream)
            for source in capture.sources.values()
            if source.enabled and source.files is not None
            for stream, config in source.streams.items()
            if is_for(source, config, file.path)
        ]
        if not readers:
            log.info("file %s is nobody's: no stream's pattern fits it", file.path)
        for source, stream in readers:
            await _under_lease(capture, source, stream, file)


def is_for(source: Source, stream: Stream, path: str) -> bool:
    """Whether a file (container/name) is one of a stream's, and no writer's half."""
    folder = f"{source.files.path}/" if source.files else ""
    name = path.removeprefix(folder)
    same_depth = name.count("/") == stream.pattern.count("/")  # * does not reach into folders
    finished = not name.lower().endswith(_UNFINISHED) and not name.rpartition("/")[2].startswith(".")
    return bool(folder) and path.startswith(folder) and same_depth and finished and matches(stream.pattern, name)


async def _under_lease(capture: Capture, source: Source, stream: str, file: Landed) -> None:
    name = f"capture/{capture.tenant}/{source.source}/{stream}"
    try:
        read = await under_lease(
            capture.services.registry,
            name,
            partial(_read, capture, source, stream, file),
            ttl_s=capture.services.settings.lease_s,
        )
    except LeaseLost as error:
        raise SourceUnavailable(f"{file.path}: {error}") from error
    if read is None:
        raise SourceUnavailable(
            f"{file.path}: {source.source}/{stream} is being read by another; it will be tried again"
        )


async def _read(capture: Capture, source: Source, stream: str, file: Landed) -> bool:
    """Read one file from where it was left. True, so that a lease not had tells itself apart."""
    noted = _Noted(capture.services.registry, capture.tenant, source.source, stream, file.path)
    progress = await noted.load()
    if progress.done and file.etag and progress.etag == file.etag:
        return True
    try:
        body = await _body(capture, source, file)
        if file.size and len(body) != file.size:
            # Written since, or still being written: each version that is finished is told of by itself.
            log.info("file %s has %d bytes, and %d were told of; it waits", file.path, len(body), file.size)
            return True
        content = xxhash.xxh3_128_hexdigest(body)
        if progress.content != content:
            progress = Progress(file.path, content=content)
        if not progress.done:
            progress = await _publish(capture, source, stream, body, noted, progress)
    except (BadRecord, SourceError, ConfigError) as error:
        log.warning("%s/%s: file %s: %s", source.source, stream, file.path, error)
        reason = f"the file was not read to its end: {error}"
        letter = DeadLetter(
            stage="capture", source=source.source, stream=stream, key=file.path, reason=reason, at_us=capture.now_us()
        )
        await bury(capture.services, [letter])
    await noted.save(msgspec.structs.replace(progress, etag=file.etag, done=True))
    return True


async def _body(capture: Capture, source: Source, file: Landed) -> bytes:
    limit = source.limits.file_bytes
    if file.size > limit:
        raise BadRecord(f"it has {file.size:,} bytes; limits.file_bytes is {limit:,}")
    try:
        body = await capture.services.blobs.get(file.path)
    except NotFound as error:
        raise BadRecord("it is gone") from error
    if len(body) > limit:
        raise BadRecord(f"it has {len(body):,} bytes; limits.file_bytes is {limit:,}")
    return body


async def _publish(
    capture: Capture, source: Source, stream: str, body: bytes, noted: _Noted, progress: Progress
) -> Progress:
    """Publish the rows not yet published. BadRecord, SourceError: what is left of the file is of no use."""
    services, config = capture.services, source.streams[stream]
    cursors = Cursors(services.registry, capture.tenant, source.source, stream)
    cursor = steps.begin(await cursors.load(), config, capture.now_us())
    await cursors.save(cursor)
    batch = Batch(services, source, stream, await services.events.partition_count(HUB))
    batch.begin(cursor.run, cursor.run_us)
    batch.row = progress.rows
    found = rows(body, config.format, source.limits.unpacked_bytes) if config.format else iter(())
    left = islice(found, progress.rows, None)
    while some := list(islice(left, ROWS)):
        now_us = capture.now_us()
        _take(batch, iter(some), now_us)
        batch.judge()
        records = await batch.publish()
        progress = msgspec.structs.replace(progress, rows=progress.rows + len(some))
        await noted.save(progress)
        await touch(services, source.source, stream, arrived(now_us, records, batch.greatest_us))
        await asyncio.sleep(0)
    return progress


def _take(batch: Batch, some: Iterator[Record | BadRow], now_us: int) -> None:
    for row in some:
        if isinstance(row, BadRow):
            batch.set_aside(row, row.body, now_us)
        else:
            batch.take(row, now_us)


class _Noted:
    """One file's progress in the registry; written only under the stream's lease."""

    def __init__(self, registry: Registry, tenant: str, source: str, stream: str, path: str) -> None:
        self._registry = registry
        self._path = path
        self._key = f"file/{tenant}/{source}/{stream}/{hash_id(path)}"
        self._etag: str | None = None

    async def load(self) -> Progress:
        document = await self._registry.get(self._key)
        self._etag = document.etag if document else None
        return _decode(document.value) if document else Progress(self._path)

    async def save(self, progress: Progress) -> None:
        try:
            self._etag = await self._registry.put(self._key, msgspec.json.encode(progress), self._etag)
        except Conflict as error:
            raise LeaseLost(f"{self._key} was written by another reader; this one stops") from error
