"""What travels on the hubs: CloudEvents 1.0 as NDJSON lines, many to a zstd-compressed event.

``data`` has Debezium's shape (op, after, ts_us). A packed event holds one kind of line for one
partition, about 60 KB compressed, so that it is billed as one. Lines are complete: nothing a
reader needs is in the event's properties.

Version 1. A reader of version N reads N-1 as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec
import zstandard

from flockiq.shared.errors import BadRecord
from flockiq.shared.ports import OutgoingEvent

WIRE_VERSION = "1"
PACKED_BYTES = 60_000  # of a body: one Event Hubs billing unit is 64 KB
MAX_LINE_BYTES = 900_000  # of a line, uncompressed: a publication holds at most 1 MB
MAX_BODY_BYTES = 64_000_000  # of an unpacked body: a larger one is a decompression bomb

CHANGE = "flockiq.change"
RESOLVED = "flockiq.resolved"
TICK = "flockiq.tick"
ACTION = "flockiq.action"
WORK = "flockiq.work"
FILE = "flockiq.file"
ENTITY = "flockiq.entity"
DELTA = "flockiq.delta"

Op = Literal["c", "r", "u", "d"]
"""c created and r read: ``after`` is the whole record, what it lacks is null. u updated: ``after``
holds what changed, what it lacks is unknown. d deleted: ``after`` is empty."""


class ChangeData(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it became in its source."""

    op: Op
    stream: str
    key: str
    ts_us: int
    run: int
    row: int
    captured_us: int
    after: msgspec.Raw = msgspec.Raw(b"{}")  # the record as the source gave it, a JSON object


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of hub ``changes``; ``subject`` is stream/key, ``time`` the source time."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    tenant: str
    data: ChangeData
    specversion: str = "1.0"
    traceparent: str = ""


class ResolvedData(msgspec.Struct, frozen=True, kw_only=True):
    """A record mapped to an entity type, its fields in canonical form (shared.fields)."""

    op: Op
    entity: str  # entity type
    entity_id: str
    match_key: str
    group: str  # the partition_by value, or the entity id: what the line is bucketed by
    stream: str
    key: str
    ts_us: int
    run: int
    row: int
    captured_us: int
    fields: dict[str, str | int | float | bool | None] = {}


class Resolved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of hub ``resolved``; ``id`` is the change's id."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    tenant: str
    data: ResolvedData
    specversion: str = "1.0"
    traceparent: str = ""


class TickData(msgspec.Struct, frozen=True, kw_only=True):
    """The clock, sent to every partition of ``resolved``."""

    at_us: int


class Tick(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of hub ``resolved`` that says what time it is."""

    id: str
    source: str
    type: str
    time: str
    tenant: str
    data: TickData
    specversion: str = "1.0"
    traceparent: str = ""


class ActionData(msgspec.Struct, frozen=True, kw_only=True):
    """What a person did to an alert, told to the partition that keeps its condition."""

    action: Literal["acknowledge", "resolve"]
    alert_id: str
    fingerprint: str
    rule: str
    entity_id: str
    by: str
    at_us: int


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of hub ``resolved`` that carries a person's action."""

    id: str
    source: str
    type: str
    time: str
    tenant: str
    data: ActionData
    specversion: str = "1.0"
    traceparent: str = ""


class WorkData(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of one stream that is due to be read."""

    source: str
    stream: str
    slice: str = ""  # "" is the live poll
    due_us: int = 0
    sent_us: int = 0


class Work(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of hub ``work``."""

    id: str
    source: str
    type: str
    time: str
    tenant: str
    data: WorkData
    specversion: str = "1.0"
    traceparent: str = ""


class FileData(msgspec.Struct, frozen=True, kw_only=True):
    """A file that has landed, as an Event Grid ``BlobCreated`` event tells of it."""

    url: str
    path: str
    size: int
    etag: str = ""


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of hub ``files``."""

    id: str
    source: str
    type: str
    time: str
    tenant: str
    data: FileData
    specversion: str = "1.0"
    traceparent: str = ""


encode = msgspec.json.Encoder().encode


def pack(partition: int, kind: str, lines: Iterable[bytes], *, level: int = 1) -> Iterator[OutgoingEvent]:
    """Pack encoded lines for one partition into events of about PACKED_BYTES each.

    Raises BadRecord for a line over MAX_LINE_BYTES; lines before it have been yielded.
    """
    compressor = zstandard.ZstdCompressor(level=level)
    held: list[bytes] = []
    size = 0
    budget = PACKED_BYTES * 5  # of plain text; compressed lines are about a fifth, never over a MB
    for line in lines:
        if len(line) > MAX_LINE_BYTES:
            raise BadRecord(f"a line of {len(line):,} bytes is over the limit of {MAX_LINE_BYTES:,}")
        if held and size + len(line) > budget:
            yield _event(compressor, partition, kind, held)
            held, size = [], 0
        held.append(line)
        size += len(line) + 1
    if held:
        yield _event(compressor, partition, kind, held)


def _event(compressor: zstandard.ZstdCompressor, partition: int, kind: str, lines: Sequence[bytes]) -> OutgoingEvent:
    body = compressor.compress(b"\n".join(lines))
    properties = {"kind": kind, "version": WIRE_VERSION, "encoding": "zstd", "lines": str(len(lines))}
    return OutgoingEvent(partition=partition, body=body, properties=properties)


def unpack(body: bytes) -> bytes:
    """The NDJSON text of a packed event. BadRecord if it is corrupt or expands beyond MAX_BODY_BYTES."""
    try:
        reader = zstandard.ZstdDecompressor().decompressobj()
        text = bytearray()
        for start in range(0, len(body), 1 << 16):
            text += reader.decompress(body[start : start + (1 << 16)])
            if len(text) > MAX_BODY_BYTES:
                raise BadRecord(f"a packed event expands beyond {MAX_BODY_BYTES:,} bytes")
    except zstandard.ZstdError as error:
        raise BadRecord(f"a packed event is not valid zstd: {error}") from error
    if not reader.eof:
        raise BadRecord("a packed event ends in the middle of its compressed frame")
    return bytes(text)


def lines_in(body: bytes) -> tuple[str, list[bytes]]:
    """The kind and the lines of a packed event; ("", []) if it can't be read."""
    try:
        lines = unpack(body).split(b"\n")
        return _kind(lines[0]).type, lines
    except (BadRecord, msgspec.MsgspecError):
        return "", []


class _Kind(msgspec.Struct):
    type: str


_kind = msgspec.json.Decoder(_Kind).decode
