"""What is too large for an event: kept in Blobs, with a reference to it in the event's place.

A reference is a body of its own kind, told from a packed event by its first bytes. It names a path under
``overflow/`` by its content, so that publishing again writes the same, and it is believed only if what
is there hashes to its name. Blobs under ``overflow/`` may be dropped once the hub's retention has passed.
"""

from __future__ import annotations

import re

import msgspec
import xxhash

from flockiq.shared.errors import NotFound
from flockiq.shared.ports import Blobs

PREFIX = "overflow/"
_MAGIC = b"flockiq.overflow/1 "
_PATH = re.compile(r"overflow/[a-z0-9-]{1,64}/\d{1,5}/[0-9a-f]{32}")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a body is, and how many bytes it has."""

    path: str
    bytes: int


_decode = msgspec.json.Decoder(Reference).decode


async def keep(blobs: Blobs, hub: str, partition: int, body: bytes) -> bytes:
    """Write ``body`` durably; the reference to publish in its place."""
    path = f"{PREFIX}{hub}/{partition}/{xxhash.xxh3_128_hexdigest(body)}"
    await blobs.put(path, body)
    return _MAGIC + msgspec.json.encode(Reference(path, len(body)))


def refers(body: bytes) -> bool:
    """Whether ``body`` is a reference, by its first bytes."""
    return body.startswith(_MAGIC)


async def whole(blobs: Blobs, body: bytes) -> bytes:
    """``body`` itself, or what it refers to.

    A reference to what is not there, or is not what it says, is given as it is: its reader finds no packed event
    and sets it aside, path and all.
    """
    if not refers(body):
        return body
    try:
        reference = _decode(body[len(_MAGIC) :])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return body
    if _PATH.fullmatch(reference.path) is None:
        return body
    try:
        kept = await blobs.get(reference.path)
    except NotFound:
        return body
    honest = len(kept) == reference.bytes and reference.path.endswith(xxhash.xxh3_128_hexdigest(kept))
    return kept if honest else body
