"""Positions order the versions of a record; keys place records and entities; ids name events.

All hashes are xxh3: stable across machines, versions and runs. Nothing here is random.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import xxhash

_ID = re.compile("[0-9a-f]{32}")
_HALF = 1 << 63
_WORD = (1 << 64) - 1


class Position(NamedTuple):
    """Where a record's version stands: greater wins.

    ``us``: source time in microseconds since the epoch (the stored run start when the source
    gives none). ``run``: the stream's run number. ``row``: row within the run.
    """

    us: int
    run: int
    row: int


def hash64(*parts: str) -> int:
    """An unsigned 64-bit hash of the parts, told apart by a separator that no key may hold."""
    return xxhash.xxh3_64_intdigest("\x1f".join(parts).encode("utf-8", "surrogatepass"))


def hash_id(*parts: str) -> str:
    """A 128-bit hash of the parts in 32 hexadecimal digits: an id."""
    return xxhash.xxh3_128_hexdigest("\x1f".join(parts).encode("utf-8", "surrogatepass"))


def bucket(key: str, partitions: int) -> int:
    """The partition ``key`` belongs to: stable hash modulo the hub's partition count."""
    return hash64(key) % partitions


def buckets(keys: Iterable[str], partitions: int) -> list[int]:
    """``bucket`` of each key."""
    digest = xxhash.xxh3_64_intdigest
    return [digest(key.encode("utf-8", "surrogatepass")) % partitions for key in keys]


def record_key(tenant: str, source: str, stream: str, key: str) -> str:
    """What a record is bucketed by on hub ``changes``."""
    return f"{tenant}\x1f{source}\x1f{stream}\x1f{key}"


def event_lane(event: str) -> int:
    """A signed 64-bit number that stands for an event's id and breaks ties between equal positions.

    Of an id as ``hash_id`` makes it, its first half, so that lanes order as ids do; else a hash.
    """
    if is_id(event):
        return int(event[:16], 16) - _HALF
    return hash64(event) >> 4


def signed_rest(event: str) -> int:
    """The second half of an id, as a signed 64-bit number."""
    rest = int(event[16:], 16)
    return rest - (1 << 64) if rest >= _HALF else rest


def is_id(text: str) -> bool:
    """Whether a text has the form that ``hash_id`` gives."""
    return _ID.fullmatch(text) is not None


def id_of(lane: int, rest: int) -> str:
    """The id whose lane is ``lane`` and whose second half is ``rest``, as a signed 64-bit number."""
    return f"{lane + _HALF:016x}{rest & _WORD:016x}"


def own_key(source: str, stream: str, key: str) -> str:
    """The match key of a record that has no value to match by: nothing else can have it."""
    return f"{source}/{stream}/{key}"


def entity_id(tenant: str, entity: str, match_key: str) -> str:
    """The id of the entity that records with this match key describe; a pure function."""
    return hash_id(tenant, entity, match_key)


def entity_ids(tenant: str, entity: str, match_keys: Iterable[str]) -> list[str]:
    """``entity_id`` of each match key."""
    prefix, digest = f"{tenant}\x1f{entity}\x1f", xxhash.xxh3_128_hexdigest
    return [digest((prefix + one).encode("utf-8", "surrogatepass")) for one in match_keys]


def group_of(entity: str, entity_id: str, placed: object) -> str:
    """What an entity's lines are bucketed by: the value of ``partition_by``, or its id where there is none."""
    return entity_id if placed is None or placed == "" else f"{entity}/{placed}"


def event_id(tenant: str, source: str, stream: str, key: str, position: Position, content: bytes) -> str:
    """The id of one version of one record: the same however and how often it is captured."""
    return hash_id(tenant, source, stream, key, str(position.us), xxhash.xxh3_128_hexdigest(content))
