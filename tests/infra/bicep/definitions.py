"""Resources held against Azure's own type definitions: what the Bicep compiler itself checks.

A value from a fixed list must be one of it, though the definition may let other texts pass: new values
appear there with new versions, and infra/ names none that its versions do not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.infra.bicep.evaluate import Deployment, Resource
from tests.infra.bicep.functions import Late, Runtime

_REQUIRED, _READ_ONLY = 1, 2

# Of one type the folder has no definition; this is all that infra/ uses of it.
_GROUPS: Sequence[Mapping[str, Any]] = [
    {"$type": "StringType"},
    {
        "$type": "ObjectType",
        "name": "group",
        "properties": {
            "name": {"type": {"$ref": "#/0"}, "flags": 9},
            "location": {"type": {"$ref": "#/0"}, "flags": 1},
            "tags": {"type": {"$ref": "#/2"}, "flags": 0},
        },
    },
    {"$type": "ObjectType", "name": "tags", "properties": {}, "additionalProperties": {"$ref": "#/0"}},
    {"$type": "ResourceType", "name": "Microsoft.Resources/resourceGroups@2024-03-01", "body": {"$ref": "#/1"}},
]


class _Type:
    """One type of one file of definitions."""

    def __init__(self, file: Sequence[Mapping[str, Any]], ref: Mapping[str, str]) -> None:
        self._file = file
        self.of = file[int(ref["$ref"].removeprefix("#/"))]

    @property
    def kind(self) -> str:
        """Which sort of type it is."""
        return str(self.of["$type"])

    def at(self, ref: Mapping[str, str]) -> _Type:
        """Another type of the same file."""
        return _Type(self._file, ref)

    def properties(self) -> dict[str, tuple[_Type, int]]:
        """{name: (type, flags)} of an object."""
        given = self.of.get("properties", self.of.get("baseProperties", {}))
        return {name: (self.at(each["type"]), int(each["flags"])) for name, each in given.items()}

    def choices(self) -> dict[str, _Type]:
        """Of an object with several forms, the forms by the value that tells them apart."""
        return {name: self.at(ref) for name, ref in self.of["elements"].items()}


class Types:
    """All definitions of a folder."""

    def __init__(self, folder: Path) -> None:
        self._resources: dict[str, _Type] = {}
        for file in (*(json.loads(path.read_text()) for path in sorted(folder.glob("*@*.json"))), _GROUPS):
            for each in file:
                if each["$type"] == "ResourceType":
                    self._resources[each["name"]] = _Type(file, each["body"])

    def wrong(self, deployment: Deployment) -> list[str]:
        """Everything that the definitions do not allow."""
        found = [f"{fault}" for resource in deployment.resources for fault in self._resource(resource)]
        return found + [fault for read in sorted(deployment.reads) for fault in self._read(*read)]

    def _resource(self, resource: Resource) -> Iterator[str]:
        place = f"{resource.file}:{resource.line} {resource.symbol}"
        body = self._resources.get(f"{resource.type}@{resource.version}")
        if body is None:
            yield f"{place}: there is no {resource.type}@{resource.version}"
        elif not resource.existing:
            yield from _check(body, {"name": resource.name, **resource.body}, place)

    def _read(self, kind: str, version: str, path: tuple[str, ...]) -> Iterator[str]:
        at: _Type | None = self._resources.get(f"{kind}@{version}")
        for name in path:
            if at is None or at.kind in ("AnyType", "StringType"):
                return
            forms = [at, *(at.choices().values() if at.kind == "DiscriminatedObjectType" else ())]
            found = [form.properties()[name][0] for form in forms if name in form.properties()]
            if not found:
                yield f"{kind}@{version}: has no {'.'.join(path)} to read"
                return
            at = found[0]


def _check(kind: _Type, value: Any, place: str) -> Iterator[str]:  # noqa: C901, PLR0912 - one case a sort of type
    if isinstance(value, (Runtime, Late)) or value is None:
        return
    match kind.kind:
        case "ObjectType":
            yield from _object(kind, value, place)
        case "DiscriminatedObjectType":
            by = kind.of["discriminator"]
            form = kind.choices().get(value.get(by)) if isinstance(value, dict) else None
            if form is None:
                yield f"{place}.{by}: must be one of {', '.join(kind.choices())}"
            else:
                yield from _object(form, value, place, kind.properties())
        case "ArrayType":
            if not isinstance(value, list):
                yield f"{place}: {value!r} is no array"
                return
            for index, item in enumerate(value):
                yield from _check(kind.at(kind.of["itemType"]), item, f"{place}[{index}]")
        case "UnionType":
            yield from _union([kind.at(ref) for ref in kind.of["elements"]], value, place)
        case "StringLiteralType":
            if value != kind.of["value"]:
                yield f"{place}: {value!r} is not {kind.of['value']!r}"
        case "StringType":
            yield from _text(kind.of, value, place)
        case "IntegerType":
            if not isinstance(value, int) or isinstance(value, bool):
                yield f"{place}: {value!r} is no integer"
            elif not kind.of.get("minValue", value) <= value <= kind.of.get("maxValue", value):
                yield f"{place}: {value} is out of bounds"
        case "BooleanType":
            if not isinstance(value, bool):
                yield f"{place}: {value!r} is no boolean"


def _text(of: Mapping[str, Any], value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{place}: {value!r} is no string"
    elif not of.get("minLength", 0) <= len(value) <= of.get("maxLength", len(value)):
        yield f"{place}: {value!r} has {len(value)} characters; {of.get('minLength', 0)} to {of.get('maxLength')} fit"


def _union(elements: Sequence[_Type], value: Any, place: str) -> Iterator[str]:
    literals = [str(each.of["value"]) for each in elements if each.kind == "StringLiteralType"]
    if literals and isinstance(value, str):
        if value not in literals:
            yield f"{place}: {value!r} is none of {', '.join(literals)}"
    elif all(list(_check(each, value, place)) for each in elements):
        yield f"{place}: {value!r} fits none of its types"


def _object(kind: _Type, value: Any, place: str, base: Mapping[str, tuple[_Type, int]] | None = None) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: {value!r} is no object"
        return
    properties = {**(base or {}), **kind.properties()}
    others = kind.of.get("additionalProperties")
    for name, (_, flags) in properties.items():
        if flags & _REQUIRED and not flags & _READ_ONLY and value.get(name) is None:
            yield f"{place}: {name} is missing"
    for name, item in value.items():
        if name in properties:
            of, flags = properties[name]
            if flags & _READ_ONLY and not flags & _REQUIRED:
                yield f"{place}.{name}: is for reading only"
            yield from _check(of, item, f"{place}.{name}")
        elif others is not None:
            yield from _check(kind.at(others), item, f"{place}.{name}")
        else:
            yield f"{place}.{name}: there is no such property"
