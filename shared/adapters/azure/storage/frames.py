"""How a state log lies in an append blob: frames, each checked on its own and bound to its place.

An entry is one frame, or several where it is larger than a block: parts that share a nonce, of which the last
commits it. A frame says where it begins and which committed end it ``follows``. So what a writer left behind
when it died (parts without their last, or the beginning of a frame that was torn) is passed over exactly if a
later frame says that it follows what was before; anything else that can't be read is damage, and never folded.

``parse`` is pure. All integers are little-endian; checksums are xxh3-64, seeded by log and generation, so that a
frame of another log is none here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

import xxhash

from flockiq.shared.positions import hash64

MAGIC: Final = b"\xf1ockIQ1\n"
_FIELDS: Final = struct.Struct("<8s B3x II Q Q Q 16s Q")
_SUM: Final = struct.Struct("<Q")
HEADER_BYTES: Final = _FIELDS.size + _SUM.size


class Kind(IntEnum):
    """What a frame holds."""

    BEGIN = 1
    """The first of a generation: which snapshot it goes on from."""
    ENTRY = 2
    SEAL = 3
    """The last of a generation: what the next one begins with."""


class Parsed(NamedTuple):
    """What the bytes of a blob say.

    ``committed`` is the end of what was committed; what lies between it and the blob's end (``left`` bytes) was
    never finished. ``begin`` and ``seal`` are the bodies of those frames. ``damaged`` is where something begins that
    is not what was written: nothing of the blob may be used then.
    """

    begin: bytes | None
    entries: list[bytes]
    seal: bytes | None
    committed: int
    left: int
    damaged: int | None


class _Frame(NamedTuple):
    kind: int
    part: int
    parts: int
    follows: int
    nonce: bytes
    body: memoryview
    end: int


def seed_of(log: str, generation: int) -> int:
    """What the checksums of one generation of one log begin with."""
    return hash64("state", log, str(generation))


def blocks(
    kind: Kind, body: bytes, *, seed: int, at: int, follows: int, block_bytes: int, nonce: bytes | None = None
) -> list[bytes]:
    """The frames to append at ``at``, one after another, each of at most ``block_bytes``; the last commits them."""
    nonce = os.urandom(16) if nonce is None else nonce
    room = block_bytes - HEADER_BYTES
    parts = max(1, -(-len(body) // room))
    framed: list[bytes] = []
    for part in range(parts):
        piece = body[part * room : (part + 1) * room]
        summed = xxhash.xxh3_64_intdigest(piece, seed)
        fields = _FIELDS.pack(MAGIC, kind, part, parts, at, follows, len(piece), nonce, summed)
        framed.append(fields + _SUM.pack(xxhash.xxh3_64_intdigest(fields, seed)) + piece)
        at += len(framed[-1])
    return framed


def parse(data: bytes, *, seed: int, at: int, committed: int) -> Parsed:
    """What ``data`` says, which lies in the blob from ``at`` to its end; ``committed`` is where it stood before."""
    view = memoryview(data)
    begin: bytes | None = None
    seal: bytes | None = None
    entries: list[bytes] = []
    parts: list[_Frame] = []
    offset = at
    while offset < at + len(data):
        frame = _frame(view, seed, at, offset)
        if frame is None or not _continues(frame, parts, committed):
            resumed = _resumed(data, view, seed, at, offset + 1, committed)
            if resumed is None:
                damaged = None if frame is None and _torn(view, seed, at, offset) else offset
                return Parsed(begin, entries, seal, committed, at + len(data) - committed, damaged)
            offset, parts = resumed, []
            continue
        parts = [frame] if frame.part == 0 else [*parts, frame]
        offset = frame.end
        if frame.part + 1 < frame.parts:
            continue
        body = bytes(frame.body) if frame.parts == 1 else b"".join(part.body for part in parts)
        committed, parts = offset, []
        match frame.kind:
            case Kind.BEGIN:
                begin = body
            case Kind.SEAL:
                seal = body
            case _:
                entries.append(body)
    return Parsed(begin, entries, seal, committed, at + len(data) - committed, None)


def _continues(frame: _Frame, parts: list[_Frame], committed: int) -> bool:
    """Whether a frame may come next: the first of an entry, or the next part of the one under way."""
    if frame.follows != committed:
        return False
    if frame.part == 0:
        return True
    return bool(parts) and (frame.nonce, frame.kind, frame.part, frame.parts) == (
        parts[-1].nonce,
        parts[-1].kind,
        parts[-1].part + 1,
        parts[-1].parts,
    )


def _frame(view: memoryview, seed: int, at: int, offset: int) -> _Frame | None:
    """The whole frame at ``offset``, or None if there is none."""
    header = _header(view, seed, at, offset)
    if header is None:
        return None
    kind, part, parts, follows, size, nonce, summed = header
    start = offset - at + HEADER_BYTES
    body = view[start : start + size]
    if len(body) < size or xxhash.xxh3_64_intdigest(body, seed) != summed:
        return None
    return _Frame(kind, part, parts, follows, nonce, body, offset + HEADER_BYTES + size)


def _header(view: memoryview, seed: int, at: int, offset: int) -> tuple[int, int, int, int, int, bytes, int] | None:
    start = offset - at
    if len(view) - start < HEADER_BYTES:
        return None
    fields = view[start : start + _FIELDS.size]
    (said,) = _SUM.unpack(view[start + _FIELDS.size : start + HEADER_BYTES])
    magic, kind, part, parts, place, follows, size, nonce, summed = _FIELDS.unpack(fields)
    if magic != MAGIC or said != xxhash.xxh3_64_intdigest(fields, seed) or place != offset:
        return None
    return kind, part, parts, follows, size, nonce, summed


def _resumed(data: bytes, view: memoryview, seed: int, at: int, offset: int, committed: int) -> int | None:
    """Where a later writer went on from ``committed``, passing over what it knew to be unfinished."""
    for found in _places(data, offset - at):
        header = _header(view, seed, at, at + found)
        if header is not None and header[3] == committed and header[1] == 0:
            return at + found
    return None


def _places(data: bytes, start: int) -> Iterator[int]:
    while (found := data.find(MAGIC, start)) >= 0:
        yield found
        start = found + 1


def _torn(view: memoryview, seed: int, at: int, offset: int) -> bool:
    """Whether the rest of the blob is the beginning of a frame, and so of a write that nobody was told had succeeded.

    Append blobs never shrink: what was acknowledged can't come to look like this.
    """
    start = offset - at
    rest = len(view) - start
    if rest < HEADER_BYTES:
        return MAGIC.startswith(bytes(view[start : start + len(MAGIC)]))
    header = _header(view, seed, at, offset)
    return header is not None and rest < HEADER_BYTES + header[4]
