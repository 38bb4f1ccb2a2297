"""What commands and queries say, as far as the peer understands them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

_PARAMETER: Final = re.compile(r"(\w+)\s*:\s*(\w+)")
_DELETE: Final = re.compile(r"\.delete table (?P<table>\w+) records <\| (?P=table) \| where (?P<rows>.*)", re.DOTALL)
_ROW: Final = re.compile(r'\(((?:[^()"]|"(?:[^"\\]|\\.)*")*)\)')
_EQUAL: Final = re.compile(r'(\w+) == ("(?:[^"\\]|\\.)*")')
_DECLARED: Final = re.compile(r"declare\s+query_parameters\s*\(([^;]*)\)\s*;")

INLINE: Final = re.compile(
    r"\.ingest inline into table (?P<table>\w+) "
    r"with \(format='json', ingestionMappingReference='(?P<mapping>\w+)'\) <\|\n"
)
CLEAR: Final = re.compile(r"\.clear table (?P<table>\w+) data")
MADE: Final = re.compile(r"\.create-(?:merge|or-alter) table (?P<table>\w+) ")


def deletion(text: str) -> tuple[str, list[dict[str, str]]] | None:
    """The table of a ``.delete`` of rows that equal given texts, and those; None if it is none."""
    found = _DELETE.fullmatch(text)
    if found is None:
        return None
    rows = [dict(_EQUAL.findall(row)) for row in _ROW.findall(found["rows"])]
    return found["table"], [{name: json.loads(value) for name, value in row.items()} for row in rows]


def typed(kql: str, given: Mapping[str, str]) -> dict[str, str | int | float]:
    """Parameters, which come as texts: strings as they are, all else as KQL's literals."""
    declared = dict(_PARAMETER.findall(" ".join(_DECLARED.findall(kql))))
    kinds = {"int": int, "long": int, "real": float}
    typed: dict[str, str | int | float] = {}
    for name, value in given.items():
        kind = declared.get(name, "")
        if kind == "string":
            typed[name] = value
        elif kind:
            typed[name] = kinds.get(kind, str)(value.removeprefix(f"{kind}(").removesuffix(")"))
    return typed
