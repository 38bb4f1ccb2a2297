"""A version of a record on its way to an entity, and the ways it is retold."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from flockiq.merge.match import Place
from flockiq.merge.parts import At
from flockiq.shared import wire
from flockiq.shared.fields import Value

ROW = (1 << 32) - 1  # of a position's run << 32 | row

_encode = msgspec.json.Encoder().encode


class Version(NamedTuple):
    """A version of a record as it is forwarded."""

    id: str
    op: wire.Op
    key: str
    us: int
    run: int
    row: int
    captured_us: int
    traceparent: str
    fields: bytes


def version_of(change: wire.Change, fields: bytes) -> Version:
    """A change as it is forwarded, with the fields it is to tell."""
    data = change.data
    return Version(
        change.id, data.op, data.key, data.ts_us, data.run, data.row, data.captured_us, change.traceparent, fields
    )


def beyond(at: At) -> At:
    """The next position: what is told there beats what was told before."""
    return at._replace(rr=at.rr + 1)


def left_at(version: Version, place: Place, at: At) -> Version:
    """The version that says that a record is no longer part of an entity."""
    name = f"{version.id}:left:{at.us}:{at.rr}:{place.entity_id}"
    return moved_to(version, at)._replace(id=name, op="d", fields=b"{}")


def part_at(latest: Version, place: Place, at: At, fields: dict[str, Value]) -> Version:
    """Some of a record's fields, told to an entity where they were said."""
    name = f"{latest.id}:{at.us}:{at.rr}:{place.entity_id}"
    return moved_to(latest, at)._replace(id=name, op="u", fields=_encode(fields))


def moved_to(version: Version, at: At) -> Version:
    """The same version at another position."""
    return version._replace(us=at.us, run=at.rr >> 32, row=at.rr & ROW)
