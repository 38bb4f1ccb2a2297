"""What is wrong with a line that no decoder takes, and whose it is: asked once it is known to be bad.

A decoder says where it stopped, which for a number that is none, or half of a character, is no help.
A lenient reader goes on to the end, so that the field can be named, and the record. Where it can't, the members of
the line are read in order up to the first that is no JSON: a line says whose record it is before the record.
"""

from __future__ import annotations

import contextlib
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
_OBJECTS = ("data", *_RECORDS)  # read member by member where a line can't be read at once
_SPACE = re.compile(r"[ \t\n\r]*")
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


_decode = json.JSONDecoder(parse_constant=_NoNumber).raw_decode


def fault_of(line: bytes, error: Exception) -> Fault:
    """What is wrong with a line, or with a record, that ``error`` was raised for."""
    field, reason = why(error)
    found, stopped = _leniently(line)
    field = field or stopped
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
    return _whose(_leniently(line)[0])


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


def _leniently(line: bytes) -> tuple[object, str]:
    """A line as a reader sees it that takes what JSON does not have, and the dotted name of the member it stops at.

    Of a line that is too much for it as well, what stands before that member.
    """
    text = str(memoryview(line)[:_LONGEST], "utf-8", "replace")  # of a msgspec.Raw, too
    if len(line) <= _LONGEST:
        try:
            return json.loads(text, parse_constant=_NoNumber), ""
        except (ValueError, RecursionError):
            pass
    beginning = _Beginning(text)
    return beginning.members, beginning.stopped if len(line) <= _LONGEST else ""


class _Beginning:
    """The members of a line up to the first that can't be read, and its dotted name; "" if it has none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.members: dict[str, object] = {}
        self.stopped = ""
        with contextlib.suppress(ValueError, RecursionError):
            self._read(0, "", self.members)

    def _read(self, at: int, inside: str, members: dict[str, object]) -> int:
        """Read the object at ``at`` into ``members``; where it ends."""
        at = self._past("{", at)
        if self._stands("}", at):
            return self._past("}", at)
        while True:
            self.stopped = ""
            name, at = _decode(self._text, self._past('"', at) - 1)
            at = self._past(":", at)
            place = inside + name
            self.stopped = _HALF.sub("\ufffd", place)
            if place in _OBJECTS and self._stands("{", at):
                held: dict[str, object] = {}
                members[name] = held
                at = self._read(at, f"{place}.", held)
            else:
                value, at = _decode(self._text, self._skip(at))
                if not (self._stands(",", at) or self._stands("}", at) or self._skip(at) == len(self._text)):
                    raise ValueError(place)  # it is the beginning of one that is no JSON: 0 of 01
                members[name] = value
            self.stopped = ""
            if not self._stands(",", at):
                return self._past("}", at)
            at = self._past(",", at)

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return at if space is None else space.end()

    def _stands(self, mark: str, at: int) -> bool:
        return self._text.startswith(mark, self._skip(at))

    def _past(self, mark: str, at: int) -> int:
        if not self._stands(mark, at):
            raise ValueError(mark)
        return self._skip(at) + 1


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
