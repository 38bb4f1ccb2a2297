"""What is wrong with a line that no decoder takes, and whose it is: asked once it is known to be bad.

A decoder says where it stopped, which for a number that is none, or half of a character, is no help.
A lenient reader goes on to the end, so that the field can be named, and the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding bytes that somebody else wrote may raise."""

_LONGEST = 1_000_000  # bytes that are read a second time
_LONGEST_NAME = 4_096  # characters of a name or key that are told
_RECORDS = ("data.after", "data.fields")  # where lines keep the fields of their record
_HALF = re.compile("[\ud800-\udfff]")


class Whose(NamedTuple):
    """Whose record a line is about, as far as it can be read."""

    source: str = ""
    stream: str = ""
    key: str = ""


class Fault(NamedTuple):
    """The field that is wrong, dotted, "" if it can't be named; the reason; whose record it is."""

    field: str
    reason: str
    whose: Whose = Whose()


class _NoNumber(NamedTuple):
    """What stands where a number should: NaN, Infinity or -Infinity."""

    said: str


def fault_of(line: bytes, error: Exception) -> Fault:
    """What is wrong with a line, or with a record, that ``error`` was raised for."""
    field, reason = why(error)
    found = _leniently(line)
    for place, value in _leaves(found):
        named = _wrong(value)
        if named:
            field, reason = place, named
            break
    for record in _RECORDS:
        if field == record or field.startswith(f"{record}."):
            field = field[len(record) + 1 :]
    return Fault(field, reason, _whose(found))


def whose(line: bytes) -> Whose:
    """Whose record a line is about, as far as it can be read."""
    return _whose(_leniently(line))


_PLACE = re.compile(r" - at `\$\.?(?P<place>.*)`$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")


def why(error: Exception) -> tuple[str, str]:
    """What a decoder says of a line: (field, reason)."""
    if isinstance(error, RecursionError):
        return "", "is nested too deeply"
    text = str(error)
    place = _PLACE.search(text)
    missing = _MISSING.search(text)
    field = ".".join(filter(None, (place["place"] if place else "", missing["name"] if missing else "")))
    return field, _PLACE.sub("", text)


def _leniently(line: bytes) -> object:
    """A line as a reader sees it that takes what JSON does not have; None if that is too much for it as well."""
    if len(line) > _LONGEST:
        return None
    try:
        return json.loads(str(line, "utf-8", "replace"), parse_constant=_NoNumber)
    except (ValueError, RecursionError):
        return None


def _leaves(found: object) -> Iterator[tuple[str, object]]:
    """Every value, and every name that is wrong itself, behind the dotted names that lead to it."""
    waiting: list[tuple[str, object]] = [("", found)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, _NoNumber):  # which is a tuple, and no array
            yield place, value
        elif isinstance(value, dict):
            yield from ((place, name) for name in value if _HALF.search(name))
            waiting += [(f"{place}.{name}" if place else name, one) for name, one in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(place, one) for one in reversed(value)]
        else:
            yield place, value


def _wrong(value: object) -> str:
    """What is wrong with a value that every decoder refuses; "" if nothing is."""
    if isinstance(value, _NoNumber):
        return f"{value.said} is no number in JSON (send null, or leave the field out)"
    if isinstance(value, str) and _HALF.search(value):
        return "holds half of a surrogate pair, which is no character (send both halves, or \\ufffd)"
    return ""


def _whose(found: object) -> Whose:
    if not isinstance(found, dict):
        return Whose()
    data = found.get("data")
    about = data if isinstance(data, dict) else {}
    return Whose(*map(_name, (found.get("source"), about.get("stream"), about.get("key"))))


def _name(said: object) -> str:
    return _HALF.sub("\ufffd", said[:_LONGEST_NAME]) if isinstance(said, str) else ""
