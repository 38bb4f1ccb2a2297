"""Reads the fields of many records of one entity type at once, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter

import msgspec

from flockiq.shared.lanes import Lanes, LaneType
from flockiq.shared.layout import Layout

JSON_TYPES: Mapping[LaneType, type] = {"integer": int, "boolean": bool, "float": float}
"""What JSON has for a canonical value of each type; the others are texts."""


class Reader:
    """``lanes``: per field, canonical value to lane (texts have lanes of their own)."""

    def __init__(self, layout: Layout) -> None:
        attributes = [f"f{number}" for number in range(len(layout.fields))]
        record = msgspec.defstruct(
            "Fields",
            [
                (name, JSON_TYPES.get(field.kind, str) | None | msgspec.UnsetType, msgspec.UNSET)
                for name, field in zip(attributes, layout.fields, strict=True)
            ],
            rename={name: field.name for name, field in zip(attributes, layout.fields, strict=True)},
        )
        self._decode = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]  # made at run time
        self._get = attrgetter(*attributes) if len(attributes) > 1 else lambda row: (row.f0,)
        self.lanes = [Lanes(field.kind, field.scale) for field in layout.fields]

    def columns(self, records: bytes) -> Iterable[tuple[object, ...]]:
        """A JSON array of objects as one tuple a field; UNSET where a record lacks it.

        Raises msgspec.MsgspecError when a value is not of its field's type.
        """
        return zip(*map(self._get, self._decode(records)), strict=True)
