"""A generation of a state log: its names, what it goes on from, and what is said when it is not as it should be."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Final

import msgspec
import xxhash

from flockiq.shared.adapters.azure.storage.frames import Kind, blocks, seed_of
from flockiq.shared.errors import FenceLost, StateCorrupt
from flockiq.shared.ports import StateVersion

BLOCK_BYTES: Final = 4 << 20  # of one Append Block; the service takes 100 MiB since 2022, and 4 MiB at any version

LOG: Final = re.compile(r"(?P<log>.*)/(?P<generation>\d{12})\.log", re.DOTALL)
"""The blob of one generation of one log."""

PART: Final = re.compile(r"(?P<generation>\d{12})\.(log|[0-9a-f]{32}\.snapshot)")
"""What lies in a log's folder."""


class Begin(msgspec.Struct, frozen=True):
    """What a generation goes on from: a blob that holds its snapshot, and entries carried over after it."""

    generation: int
    nonce: bytes  # of the frame that repeats this: whoever writes it writes the same
    snapshot: str  # the blob's name
    sizes: list[int]  # of the snapshot, then of each entry
    checksum: bytes


def snapshot_name(log: str, generation: int) -> str:
    """A blob for the snapshot that a generation goes on from, which no other roll gives its own."""
    return f"{log}/{generation:012}.{uuid.uuid4().hex}.snapshot"


def blob_name(log: str, generation: int) -> str:
    """The blob of a generation."""
    return f"{log}/{generation:012}.log"


def first_frame(log: str, begin: Begin) -> bytes:
    """The frame a generation begins with: whoever makes it makes the same."""
    body, seed = msgspec.json.encode(begin), seed_of(log, begin.generation)
    (first,) = blocks(Kind.BEGIN, body, seed=seed, at=0, follows=0, block_bytes=BLOCK_BYTES, nonce=begin.nonce)
    return first


def begin_of(log: str, body: bytes) -> Begin:
    """What a seal, or a first frame, says. StateCorrupt if it can't be read."""
    try:
        return msgspec.json.decode(body, type=Begin)
    except msgspec.DecodeError as error:
        raise StateCorrupt(
            f"state log {log!r} says in a way this version of the app can't read what it goes on from ({error}):"
            " is a newer version running?"
        ) from error


def checksum(log: str, generation: int, kept: Sequence[bytes]) -> bytes:
    """Of a snapshot, and of the entries carried over after it."""
    summed = xxhash.xxh3_128(seed=seed_of(log, generation))
    for body in kept:
        summed.update(len(body).to_bytes(8))
        summed.update(body)
    return summed.digest()


def fence_lost(log: str, expected: StateVersion, found: StateVersion | None = None) -> FenceLost:
    """Another has written since this owner read."""
    at = f"at generation {found.generation}, length {found.length}" if found else "not there any more"
    return FenceLost(
        f"state log {log!r} is {at}; this owner read it at generation {expected.generation}, length"
        f" {expected.length}: another owner has written, read what it wrote"
    )


def corrupt(log: str, generation: int, what: str) -> StateCorrupt:
    """Something lies there that nobody wrote."""
    return StateCorrupt(
        f"state log {log!r}, generation {generation}: {what}; nothing of it is used:"
        " restore the blobs from a backup, or remove the log's blobs and replay"
    )
