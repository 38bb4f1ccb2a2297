"""What compiled code is given to read lines by, and what it gives, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import Int64s, LaneType
from flockiq.shared.layout import Layout
from flockiq.shared.stored_texts import PADDING

STRING, JSON, DECIMAL, INTEGER, FLOAT, BOOLEAN, DATE, TIMESTAMP = range(8)
_KINDS: Mapping[LaneType, int] = {
    "string": STRING,
    "json": JSON,
    "decimal": DECIMAL,
    "integer": INTEGER,
    "float": FLOAT,
    "boolean": BOOLEAN,
    "date": DATE,
    "timestamp": TIMESTAMP,
}

LINE, BEGIN, END, FIELDS, OP, US, RR, REVISION, EVENT_HIGH, EVENT_LOW, ENTITY_HIGH, ENTITY_LOW = range(12)
SOURCE, SOURCE_END, TYPE, TYPE_END, MATCH, MATCH_END, GROUP, GROUP_END, STREAM, STREAM_END, KEY, KEY_END = range(12, 24)
TYPE_OF, SOURCE_OF, PRINT, KNOWN = range(24, 28)
PARTS = 28
"""The parts of a line, columns of int64 [n, PARTS]: its number, where it stands and its fields begin; op; position;
the halves of both ids, the first so that it orders as the text does; and where its texts begin and
end (quotes excluded), GROUP -1 where the group is the entity's own. TYPE_OF, SOURCE_OF:
the numbers of entity type and source, or -1; PRINT: the keyed hash of its record's key and fields; KNOWN:
the record that has said just this, or -1 (pipeline/prints.py)."""

AT_ONCE = 16  # lines that are found together, before it is known which of them are taken
LEAST_LINE = 256  # bytes: no line that is taken is shorter

ENTITY_OF, GROUP_OF, EVENT, KEY_LANE, SHOWN, OP_OF, US_OF, RR_OF, REVISION_OF = range(9)
ENTERED = 9
"""What becomes of n lines, rows of int64 [ENTERED, n]: dense numbers of entity and group, text lanes, op, position."""


def room_for(size: int) -> tuple[Int64s, Int64s]:
    """Room for the parts of the lines in ``size`` bytes, and for as many that are left to others."""
    most = size // LEAST_LINE + 2 + AT_ONCE
    return np.empty((most, PARTS), np.int64), np.empty((most, 3), np.int64)


class Named(NamedTuple):
    """Names as bytes, one after the other, with PADDING behind: ``names`` uint8, ``bounds`` int64 [n + 1]."""

    names: npt.NDArray[np.uint8]
    bounds: Int64s


@lru_cache(maxsize=256)
def named(names: tuple[str, ...]) -> Named:
    """Names for compiled code."""
    encoded = [name.encode() for name in names]
    bounds = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return Named(np.frombuffer(b"".join(encoded) + bytes(PADDING), np.uint8), bounds)


class Shape(NamedTuple):
    """The fields of a layout as they stand in a line: names (see ``Named``), kind int8 and scale int64 [F]."""

    names: npt.NDArray[np.uint8]
    bounds: Int64s
    kind: npt.NDArray[np.int8]
    scale: Int64s


@lru_cache(maxsize=256)
def shape(layout: Layout) -> Shape:
    """The shape of a layout's lines."""
    said = named(tuple(field.name for field in layout.fields))
    return Shape(
        said.names,
        said.bounds,
        np.array([_KINDS[field.kind] for field in layout.fields], np.int8),
        np.array([field.scale for field in layout.fields], np.int64),
    )
