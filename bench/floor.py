"""The floor: the same bytes decoded by msgspec into structs that name and type every field.

This is the least that anything reading these events can do, and it keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flockiq.shared import wire


class Fields(msgspec.Struct):
    """The ten mapped fields; a line may lack any."""

    name: str | None = None
    tax_id: str | None = None
    terms: str | None = None
    credit: str | None = None
    risk: float | None = None
    staff: int | None = None
    active: bool | None = None
    founded: str | None = None
    reviewed: str | None = None
    profile: str | None = None


class Data(msgspec.Struct):
    """``wire.ResolvedData`` with typed fields."""

    op: str
    entity: str
    entity_id: str
    match_key: str
    group: str
    stream: str
    key: str
    ts_us: int
    run: int
    row: int
    captured_us: int
    fields: Fields = msgspec.field(default_factory=Fields)


class Line(msgspec.Struct):
    """``wire.Resolved`` with typed fields."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    tenant: str
    data: Data
    specversion: str = "1.0"
    traceparent: str = ""


_lines = msgspec.json.Decoder(Line).decode_lines


def unpacked(bodies: Sequence[bytes]) -> list[bytes]:
    """The plain text of packed events."""
    return [wire.unpack(body) for body in bodies]


def decoded(texts: Sequence[bytes]) -> int:
    """Decode plain text, forget it; how many lines there were."""
    return sum(len(_lines(text)) for text in texts)
