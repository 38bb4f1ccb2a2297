"""The kinds of value an expression knows, and which kind a field has."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from flockiq.shared.fields import FieldType


class Kind(StrEnum):
    """A kind of value; its column's dtype is in brackets."""

    BOOL = "bool"  # bool
    INT = "int"  # int64
    DOUBLE = "double"  # float64
    STRING = "string"  # object, of str
    TIMESTAMP = "timestamp"  # int64, µs since the epoch
    DURATION = "duration"  # int64, µs
    NULL = "null"  # only the literal null


KIND_OF_FIELD: Mapping[FieldType, Kind] = {
    "string": Kind.STRING,
    "json": Kind.STRING,
    "decimal": Kind.DOUBLE,
    "float": Kind.DOUBLE,
    "integer": Kind.INT,
    "boolean": Kind.BOOL,
    "date": Kind.TIMESTAMP,  # its midnight in UTC
    "timestamp": Kind.TIMESTAMP,
}
