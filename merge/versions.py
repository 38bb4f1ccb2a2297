"""Versions of records as columns, and what tells their fields and ids apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xxhash

from flockiq.merge.known import Bytes
from flockiq.shared.lanes import Int64s
from flockiq.shared.positions import event_lane, hash64, is_id, signed_rest

NONE = -1
"""Before the first version of a record."""
BASE = -2
"""Before a version that the others build on, of which nothing older is kept."""

NOTHING = b"{}"
_HASH_MASK = (1 << 61) - 1


class Versions(NamedTuple):
    """Versions as columns, int64 [n] but op uint8.

    us, rr (run << 32 | row), tie: their position; tie, rest: the halves of their ids. begin, end: where their
    fields are in the heap, given_begin, given_end: and what they said. content: the lane of the fields. place:
    a number of the stream's book, NONE for nowhere. before: the one before it of its record, or NONE, or BASE.
    """

    us: Int64s
    rr: Int64s
    tie: Int64s
    rest: Int64s
    op: Bytes
    arrived_us: Int64s
    begin: Int64s
    end: Int64s
    given_begin: Int64s
    given_end: Int64s
    content: Int64s
    place: Int64s
    before: Int64s


def content(fields: bytes) -> int:
    """What tells fields apart."""
    return xxhash.xxh64_intdigest(fields) & _HASH_MASK


def contents(fields: Sequence[bytes]) -> Int64s:
    """``content`` of each, int64 [n]."""
    return (np.array(list(map(xxhash.xxh64_intdigest, fields)), np.uint64) & np.uint64(_HASH_MASK)).astype(np.int64)


def halves_of(ids: Sequence[str]) -> tuple[Int64s, Int64s, dict[tuple[int, int], str]]:
    """The halves of ids, int64 [n] each, and of those that are none of ours their text by them."""
    joined = "\n".join(ids)
    if joined.count("\n") == len(ids) - 1 and _IDS.fullmatch(joined):  # all but what others put on the hub
        words = np.frombuffer(bytes.fromhex(joined), ">u8").astype(np.uint64).reshape(-1, 2)
        return (words[:, 0] ^ np.uint64(1 << 63)).view(np.int64), words[:, 1].copy().view(np.int64), {}
    halves = [id_halves(one) for one in ids]
    odd = {both: one for both, one in zip(halves, ids, strict=True) if not is_id(one)}
    columns = np.array(halves, np.int64).reshape(-1, 2)
    return columns[:, 0].copy(), columns[:, 1].copy(), odd


_IDS = re.compile(r"(?:[0-9a-f]{32}(?:\n|\Z))++")


def id_halves(text: str) -> tuple[int, int]:
    """The halves of any id; of one that is none of ours they are hashes."""
    return event_lane(text), signed_rest(text) if is_id(text) else hash64("rest", text) >> 4


def halves_in_hex(tie: Int64s, rest: Int64s) -> bytes:
    """Ids from their halves, 32 hexadecimal digits each."""
    halves = np.array([tie, rest]).view(np.uint64)
    halves[0] ^= np.uint64(1 << 63)
    return halves.T.astype(">u8").tobytes().hex().encode()


def version_room(n: int) -> Versions:
    """Room for n versions."""
    return Versions._make(np.zeros(n, np.uint8 if name == "op" else np.int64) for name in Versions._fields)
