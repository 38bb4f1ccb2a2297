"""What travels on the hubs: CloudEvents 1.0 as NDJSON lines, many to a zstd-compressed event.

``data`` has Debezium's shape (op, after, ts_us). A packed event holds one kind of line for one
partition, about 60 KB compressed, so that it is billed as one. Lines are complete: nothing a
reader needs is in the event's properties.

Version 1. A reader of version N reads N-1 as well.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Buffer, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Annotated, Final, Literal

import msgspec
import zstandard
from msgspec import Meta

from flockiq.shared.errors import BadRecord
from flockiq.shared.instants import EARLIEST_US, LATEST_US
from flockiq.shared.ports import OutgoingEvent

WIRE_VERSION = "1"
PACKED_BYTES = 60_000  # of a body: one Event Hubs billing unit is 64 KB
_PLAIN_BYTES = PACKED_BYTES * 5  # of text that is packed: compressed lines are about a fifth, never over a MB
_LOOKED: Final = 512  # lines measured at once, to begin with
_COMPRESSION: Final = zstandard.ZstdCompressionParameters.from_level(
    1,
    window_log=18,  # nearly a whole event, and stays in a processor's cache: a quarter faster, and no larger
    write_checksum=True,  # a flipped bit must not become a value
)
MAX_LINE_BYTES = 4_000_000  # of a line, uncompressed: an event holds it, however little it compresses
MAX_BODY_BYTES = 8_000_000  # of an unpacked body: a larger one is a decompression bomb, packing makes a tenth
MAX_FIELDS_BYTES = 200_000  # of a record's mapped fields together: what is told of its entity must fit a line
MAX_BY = 200  # characters of a person's name
MAX_KEY = 4_096  # characters of a record's key
MAX_ERASED = 1_000  # entities of one erasure
MAX_ERASED_NAMES = 20_000  # hashes of one erasure

CHANGE: Final = "flockiq.change"
RESOLVED: Final = "flockiq.resolved"
TICK: Final = "flockiq.tick"
ACTION: Final = "flockiq.action"
OVERRIDE: Final = "flockiq.override"
ERASE: Final = "flockiq.erase"
WORK = "flockiq.work"
ENTITY = "flockiq.entity"
DELTA = "flockiq.delta"

Op = Literal["c", "r", "u", "d"]
"""c created and r read: ``after`` is the whole record, what it lacks is null. u updated: ``after``
holds what changed, what it lacks is unknown. d deleted: ``after`` is empty."""

ResolvedOp = Literal["c", "r", "u", "d", "v"]
"""And v void: the line with this id should never have been told."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="specversion", tag="1.0"):
    """What every line is: a CloudEvent. ``time`` is the source time, or when it was said."""

    id: str
    source: str
    type: str
    time: str
    tenant: str
    traceparent: str = ""


type Us = Annotated[int, Meta(ge=EARLIEST_US, le=LATEST_US)]
"""Microseconds since the epoch, in the years 1 to 9999."""
type Run = Annotated[int, Meta(ge=0, lt=1 << 31)]
type Row = Annotated[int, Meta(ge=0, lt=1 << 32)]
type Revision = Annotated[int, Meta(ge=0, lt=1 << 62)]
type Key = Annotated[str, Meta(max_length=MAX_KEY)]


class ChangeData(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it became in its source."""

    op: Op
    stream: str
    key: Key
    ts_us: Us
    run: Run
    row: Row
    captured_us: Us
    after: msgspec.Raw = msgspec.Raw(b"{}")  # the record as the source gave it, a JSON object


class Change(Envelope, frozen=True, kw_only=True):
    """A line of hub ``changes``; ``subject`` is stream/key."""

    type: Literal["flockiq.change"]
    subject: str
    data: ChangeData


class ResolvedAbout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a resolved record says besides its fields.

    ``rev``: of lines with one id and position to one entity the greatest counts; 0 is what was told first.
    """

    op: ResolvedOp
    entity: str  # entity type
    entity_id: str
    match_key: str
    group: str  # the partition_by value, or the entity id: what the line is bucketed by
    stream: str
    key: Key
    ts_us: Us
    run: Run
    row: Row
    captured_us: Us
    rev: Revision = 0


class ResolvedData(ResolvedAbout, frozen=True, kw_only=True):
    """A record mapped to an entity type, its fields in canonical form (shared.fields)."""

    fields: dict[str, str | int | float | bool | None] = {}


class ResolvedRaw(ResolvedAbout, frozen=True, kw_only=True):
    """The same, its fields left as JSON: encoded already, or to be decoded a column at a time."""

    fields: msgspec.Raw = msgspec.Raw(b"{}")


class Resolved(Envelope, frozen=True, kw_only=True):
    """A line of hub ``resolved``; ``id`` is the change's id."""

    type: Literal["flockiq.resolved"]
    subject: str
    data: ResolvedData


class RawResolved(Envelope, frozen=True, kw_only=True):
    """The same line with its fields left as JSON."""

    type: Literal["flockiq.resolved"]
    subject: str
    data: ResolvedRaw


class TickData(msgspec.Struct, frozen=True, kw_only=True):
    """The clock, sent to every partition of ``resolved``."""

    at_us: Us


class Tick(Envelope, frozen=True, kw_only=True):
    """A line of hub ``resolved`` that says what time it is."""

    type: Literal["flockiq.tick"]
    data: TickData


class ActionData(msgspec.Struct, frozen=True, kw_only=True):
    """What a person did to an alert, told to the partition that keeps its condition."""

    action: Literal["acknowledge", "resolve"]
    alert_id: str
    fingerprint: str
    rule: str
    entity_id: str
    by: str
    at_us: Us


class Action(Envelope, frozen=True, kw_only=True):
    """A line of hub ``resolved`` that carries a person's action."""

    type: Literal["flockiq.action"]
    data: ActionData


class OverrideData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person sets a golden field until ``until_us``; or ends the override that has the id ``ends``."""

    entity: str  # entity type
    entity_id: str
    match_key: str
    group: str
    field: str
    by: Annotated[str, Meta(max_length=MAX_BY)]
    at_us: Us
    value: str | int | float | bool | None = None
    until_us: Us = 0
    ends: Annotated[str, Meta(max_length=32)] = ""


class Override(Envelope, frozen=True, kw_only=True):
    """A line of hub ``resolved`` that carries what a person says of a golden field."""

    type: Literal["flockiq.override"]
    subject: str
    data: OverrideData


class EraseData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Entities of which nothing from up to ``at_us`` may be kept, by their ids, which are hashes.

    ``names``: keyed hashes of ids and of records' names, source/stream/key, which are to stay unknown. ``request``
    names the erasure to whoever waits for it; ``salt`` is the key of the hashes. All in hexadecimal.
    """

    request: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    entities: Annotated[list[str], Meta(max_length=MAX_ERASED)]
    at_us: Us
    salt: Annotated[str, Meta(pattern="^([0-9a-f]{2}){16,64}$")]
    names: list[Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]] = []


class Erase(Envelope, frozen=True, kw_only=True):
    """A line of hubs ``changes`` and ``resolved`` that says what is to be forgotten; it goes to every partition."""

    type: Literal["flockiq.erase"]
    data: EraseData


class WorkData(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of one stream that is due to be read."""

    source: str
    stream: str
    slice: str = ""  # "" is the live poll
    due_us: int = 0
    sent_us: int = 0


class Work(Envelope, frozen=True, kw_only=True):
    """A line of hub ``work``."""

    data: WorkData


encode = msgspec.json.Encoder().encode


def pack(partition: int, kind: str, lines: Iterable[bytes]) -> Iterator[OutgoingEvent]:
    """Pack encoded lines for one partition into events of about PACKED_BYTES each.

    Raises BadRecord for a line over MAX_LINE_BYTES; lines before it have been yielded.
    """
    compressor = zstandard.ZstdCompressor(compression_params=_COMPRESSION)
    held = list(lines)
    first, looked = 0, _LOOKED
    while first < len(held):
        # A few hundred are measured and then joined at once, while a processor's cache still has them: over all of
        # a large batch the one has thrown out what the other needs, which takes half as long again as compressing.
        some = held[first : first + looked]
        ends = list(accumulate(map(len, some)))
        if ends[-1] + len(some) <= _PLAIN_BYTES and first + looked < len(held):
            looked *= 2
            continue
        fitting = bisect_right(range(len(ends)), _PLAIN_BYTES, key=lambda last: ends[last] + last)
        count = max(fitting, 1)
        yield _event(compressor, partition, kind, b"\n".join(some[:count]), count)
        first += count


def pack_text(partition: int, kind: str, text: Buffer, ends: Sequence[int]) -> Iterator[OutgoingEvent]:
    """``pack`` of lines that stand one after the other, each with its newline: ``ends`` says where they end."""
    compressor = zstandard.ZstdCompressor(compression_params=_COMPRESSION)
    whole = memoryview(text).cast("B")
    first = begin = 0
    while first < len(ends):
        last = max(bisect_right(ends, begin + _PLAIN_BYTES + 1, first), first + 1)
        end = ends[last - 1]
        yield _event(compressor, partition, kind, whole[begin : end - 1], last - first)
        first, begin = last, end


def _event(
    compressor: zstandard.ZstdCompressor, partition: int, kind: str, lines: bytes | memoryview[int], count: int
) -> OutgoingEvent:
    if len(lines) > MAX_LINE_BYTES:  # more than fits an event are never more than a line
        raise BadRecord(f"a line of {len(lines):,} bytes is over the limit of {MAX_LINE_BYTES:,}")
    body = compressor.compress(lines)
    properties = {"kind": kind, "version": WIRE_VERSION, "encoding": "zstd", "lines": str(count)}
    return OutgoingEvent(partition=partition, body=body, properties=properties)


def unpack(body: bytes, by: zstandard.ZstdDecompressor | None = None) -> bytes:
    """The NDJSON text of a packed event. BadRecord if it is corrupt or expands beyond MAX_BODY_BYTES.

    No more memory than that is ever asked for, whatever the frame says of itself. ``by``: what unpacks it, for
    many events in a row; a new one takes as long as a fifth of an event.
    """
    by = by or zstandard.ZstdDecompressor()
    try:
        size = zstandard.get_frame_parameters(body).content_size
        if size != zstandard.CONTENTSIZE_UNKNOWN and size > MAX_BODY_BYTES:
            raise BadRecord(f"a packed event expands to {size:,} bytes, over the limit of {MAX_BODY_BYTES:,}")
        return by.decompress(body, max_output_size=MAX_BODY_BYTES, allow_extra_data=False)
    except zstandard.ZstdError as error:
        reason = f"is not one whole zstd frame of at most {MAX_BODY_BYTES:,} bytes"
        raise BadRecord(f"a packed event {reason}: {error}") from error


class Kind(msgspec.Struct):
    """What every line says of itself."""

    type: str


_kind = msgspec.json.Decoder(Kind).decode


def lines_in(body: bytes) -> tuple[str, list[bytes]]:
    """The kind and the lines of a packed event; ("", []) if it can't be read.

    The kind is that of the first line that says one.
    """
    try:
        lines = [line for line in unpack(body).split(b"\n") if line and not line.isspace()]
    except BadRecord:
        return "", []
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _kind(line).type, lines
    return "", []
