"""Lanes written out, a column at a time: each distinct value once, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.shared.lanes import ABSENT, NULL, Int64s, Texts, numbers
from flockiq.shared.layout import Field

_encode_lines = msgspec.json.Encoder().encode_lines


class Written(NamedTuple):
    """The distinct values of a column: as text ("" for NULL and ABSENT), as JSON, and which each row has, int64 [n]."""

    texts: list[str]
    json: list[str]
    which: Int64s


def written(field: Field, lanes: Int64s, texts: Texts) -> Written:
    """A column of lanes, in any shape; ``which`` has the same."""
    distinct, which = np.unique(lanes, return_inverse=True)
    known = (distinct != ABSENT) & (distinct != NULL)
    said, json = _values(field, distinct[known], texts)
    if not known.all():  # the sentinels are below every value
        missing = int(len(distinct) - known.sum())
        said, json = [""] * missing + said, ["null"] * missing + json
    return Written(said, json, which.reshape(lanes.shape))


def _values(field: Field, lanes: Int64s, texts: Texts) -> tuple[list[str], list[str]]:
    """Values that are there, as text and as JSON."""
    match field.kind:
        case "string" | "json":
            said = texts.many(lanes)
            return said, in_json(said)
        case "decimal":
            said = decimals(lanes, field.scale)
        case "integer":
            said = [str(lane) for lane in lanes.tolist()]
            return said, said
        case "boolean":
            said = ["true" if lane else "false" for lane in lanes.tolist()]
            return said, said
        case "date":
            said = np.datetime_as_string(lanes.astype("datetime64[D]")).tolist()
        case "timestamp":
            said = instants(lanes)
        case "float":
            said = _lines(numbers(field.kind, field.scale, lanes).tolist())
            return said, said
    return said, [f'"{one}"' for one in said]


def decimals(lanes: Int64s, scale: int) -> list[str]:
    """Scaled integers with their point."""
    if not scale:
        return [str(lane) for lane in lanes.tolist()]
    whole, part = np.divmod(np.abs(lanes), 10**scale)
    sign = np.where(lanes < 0, "-", "").tolist()
    form = f"%s%d.%0{scale}d"
    return [form % one for one in zip(sign, whole.tolist(), part.tolist(), strict=True)]


def instants(us: Int64s) -> list[str]:
    """Microseconds since the epoch in RFC 3339, as ``rfc3339`` writes each."""
    found: list[str] = np.datetime_as_string(us.astype("datetime64[us]"), unit="us", timezone="UTC").tolist()
    return found


def in_json(texts: Sequence[str]) -> list[str]:
    """Texts as JSON."""
    return _lines(texts)


def _lines(values: Sequence[object]) -> list[str]:
    return _encode_lines(values).decode().split("\n")[:-1]


def of(texts: Sequence[str], which: Int64s) -> list[str]:
    """The texts that ``which``, int64 [n], names."""
    return list(map(texts.__getitem__, which.tolist()))
