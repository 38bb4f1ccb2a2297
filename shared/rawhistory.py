"""Raw history: what came in, as it came, kept by day as blobs; from it everything can be worked out again.

Two kinds of lines are kept: of hub ``changes`` all, and of hub ``resolved`` those that people caused (overrides,
actions on alerts), since no source can tell those again. A blob is ``raw/TENANT/HUB/DAY/NAME.ndjson.zst``: whole
lines, compressed. Its day and the beginning of its name are when its first event was enqueued.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import xxhash
import zstandard

from flockiq.shared.errors import NotFound, StateCorrupt
from flockiq.shared.faults import UNREADABLE
from flockiq.shared.instants import rfc3339
from flockiq.shared.ports import Blobs

PREFIX: Final = "raw/"
REPLAYED: Final = "replayed"  # a property of events that hold lines of raw history, which are not to be kept again
BLOB_BYTES: Final = 64_000_000  # of plain lines in one blob, unless a single event holds more
_MAX_BYTES: Final = 1 << 30  # decompressed; our own writing, so only a guard


class Match(NamedTuple):
    """Tells lines about some entities or records: (source, stream, key)."""

    entities: frozenset[str]
    records: frozenset[tuple[str, str, str]]

    def of(self, line: bytes) -> bool:
        """Whether a line is about one of them. A line that can't be read is about none."""
        try:
            said = _about(line)
        except UNREADABLE:
            return False
        return said.data.entity_id in self.entities or (said.source, said.data.stream, said.data.key) in self.records


class _Data(msgspec.Struct):
    stream: str = ""
    key: str = ""
    entity_id: str = ""
    ts_us: int = 0
    captured_us: int = 0
    at_us: int = 0


class _Line(msgspec.Struct):
    type: str
    source: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


_about = msgspec.json.Decoder(_Line).decode


def when_us(line: bytes) -> int:
    """When a line was captured, or said by a person, µs. Raises msgspec's errors for what is no line."""
    data = _about(line).data
    return data.captured_us or data.at_us


def record_of(line: bytes) -> tuple[str, int]:
    """The name of a change's record, and from when the change is: in its source or captured, what was earlier."""
    try:
        said = _about(line)
    except UNREADABLE:
        return "", 0
    return f"{said.source}/{said.data.stream}/{said.data.key}", min(said.data.ts_us, said.data.captured_us)


def path(tenant: str, hub: str, enqueued_us: int, name: str) -> str:
    """The path of a blob whose first event was enqueued then."""
    at = rfc3339(enqueued_us)
    return f"{folder(tenant, hub)}{at[:10]}/{at[11:26].replace(':', '')}-{name}.ndjson.zst"


def folder(tenant: str, hub: str) -> str:
    """Where a hub's blobs are."""
    return f"{PREFIX}{tenant}/{hub}/"


def packed(lines: Iterable[bytes]) -> bytes:
    """Lines as a blob's bytes."""
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(b"\n".join(lines))


def unpacked(name: str, body: bytes) -> Sequence[bytes]:
    """The lines of a blob. StateCorrupt if it is damaged."""
    try:
        text = zstandard.ZstdDecompressor().decompress(body, max_output_size=_MAX_BYTES)
    except zstandard.ZstdError as error:
        raise StateCorrupt(f"blob {name} is damaged ({error}): restore it from a backup, or remove it") from error
    return [line for line in text.split(b"\n") if line]


async def keep_line(blobs: Blobs, tenant: str, at_us: int, line: bytes) -> None:
    """Keep one line of hub ``resolved`` that a person caused; again it writes the same blob."""
    name = path(tenant, "resolved", at_us, xxhash.xxh3_64_hexdigest(line))
    await blobs.put(name, packed([line]))


async def blobs_from(
    blobs: Blobs, tenant: str, hub: str, day: str = "", after: str = "", until_us: int | None = None
) -> AsyncIterator[str]:
    """The paths of a hub's blobs from a day on, or after a path, in order; none that was begun after ``until_us``."""
    start = folder(tenant, hub)
    at, end = max(after, f"{start}{day}"), None if until_us is None else path(tenant, hub, until_us, "")
    while names := await blobs.list(start, after=at):
        for name in names:
            if end is not None and name > end:
                return
            yield name
        at = names[-1]


async def erase(blobs: Blobs, name: str, match: Match) -> int:
    """Write a blob without the lines that match; how many those were. StateCorrupt if it can't be read."""
    try:
        lines = unpacked(name, await blobs.get(name))
    except NotFound:  # its time is over
        return 0
    left = [line for line in lines if not match.of(line)]
    if not left:
        await blobs.delete(name)
    elif len(left) < len(lines):
        await blobs.put(name, packed(left))
    return len(lines) - len(left)
