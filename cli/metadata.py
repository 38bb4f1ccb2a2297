"""What an OData service says of itself: entity sets, keys and columns, from its $metadata (V2 and V4).

docs.oasis-open.org/odata/odata-csdl-xml; V2 differs in namespaces only, which are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree as ET

from flockiq.shared.errors import SourceError
from flockiq.shared.fields import FieldType

_TYPES: Final[Mapping[str, FieldType]] = {
    "Edm.String": "string",
    "Edm.Guid": "string",
    "Edm.Decimal": "decimal",
    "Edm.Double": "float",
    "Edm.Single": "float",
    "Edm.Byte": "integer",
    "Edm.SByte": "integer",
    "Edm.Int16": "integer",
    "Edm.Int32": "integer",
    "Edm.Int64": "integer",
    "Edm.Boolean": "boolean",
    "Edm.Date": "date",
    "Edm.DateTime": "timestamp",
    "Edm.DateTimeOffset": "timestamp",
}


class Column(NamedTuple):
    """One column. ``type`` is "" for what no entity's field can hold."""

    name: str
    type: FieldType | str
    written: str  # the type as the source calls it


class Shape(NamedTuple):
    """What a stream of a source looks like."""

    name: str
    path: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    delta: bool = False  # the source says that it tracks changes
    read: Mapping[str, Any] = MappingProxyType({})  # what else its file must say to read it: found out by trying


def shapes(body: bytes) -> list[Shape]:
    """The entity sets of a $metadata document, in its order. SourceError if it is none."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise SourceError("$metadata declares entities of its own, which no service needs; it is not read")
    try:
        root = ET.fromstring(body)  # noqa: S314 - without a DTD there are no entities to expand
    except (ET.ParseError, ValueError, LookupError) as error:
        raise SourceError(f"$metadata is no XML: {error}"[:200]) from error
    types: dict[str, ET.Element] = {}
    for schema in _all(root, "Schema"):
        for kind in _all(schema, "EntityType"):
            for prefix in (schema.get("Namespace", ""), schema.get("Alias", "")):
                types[f"{prefix}.{kind.get('Name', '')}"] = kind
    found: list[Shape] = []
    for each in _all(root, "EntitySet"):
        name, columns, keys = each.get("Name", ""), list[Column](), tuple[str, ...]()
        for kind in _line(types, each.get("EntityType", "")):
            columns += [_column(inner) for inner in _all(kind, "Property")]
            keys = keys or tuple(inner.get("Name", "") for inner in _all(kind, "PropertyRef"))
        if name:
            found.append(Shape(name, name, keys, tuple(columns)))
    return found


def _line(types: Mapping[str, ET.Element], name: str) -> Iterator[ET.Element]:
    """A type and those it is based on; a circle ends."""
    seen: set[str] = set()
    while name in types and name not in seen:
        seen.add(name)
        yield types[name]
        name = types[name].get("BaseType", "")


def _column(inner: ET.Element) -> Column:
    written = inner.get("Type", "")
    return Column(inner.get("Name", ""), _TYPES.get(written, ""), written)


def _all(element: ET.Element, name: str) -> Iterator[ET.Element]:
    return (each for each in element.iter() if each.tag.rpartition("}")[2] == name)
