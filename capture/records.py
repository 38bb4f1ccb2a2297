"""A record as it came, made ready to travel: its key, its time, its JSON without protocol noise.

Values stay the bytes the source wrote (no number loses a digit). Only what can't travel as one
line of text, or nests, is looked into.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from flockiq.shared import wire
from flockiq.shared.config.sources import DeletedWhen, Stream, matches
from flockiq.shared.errors import BadRecord
from flockiq.shared.instants import instant_us

type Record = dict[str, msgspec.Raw]
"""A record as it came: field → the value's own bytes, so that no number loses a digit."""

LONGEST_KEY: Final = 512
_SHAPES_KEPT: Final = 1_024
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_SAP_DATE: Final = re.compile(rb'"\\?/Date\((-?[0-9]{1,15})(?:[+-][0-9]{1,4})?\)\\?/"')
_AWKWARD: Final = re.compile(rb"[\\\x00-\x1f]")  # escapes may be invalid; a line break would end the line
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)

_encode = msgspec.json.Encoder(order="sorted").encode  # one content has one form, so one id
_moment = msgspec.json.Decoder(dt.datetime).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Taken(msgspec.Struct, frozen=True, gc=False):
    """A record ready to be told of."""

    key: str
    us: int  # source time; 0 when it gives none
    op: wire.Op
    after: bytes
    time: bytes = b""  # the source time as RFC 3339, where that is known


class Reader:
    """Reads the records of one stream. Keeps the field lists it has met, at most so many."""

    def __init__(self, stream: Stream, *, nesting: int) -> None:
        self._primary_key = stream.primary_key
        self._modified = stream.modified
        self._deleted_when = stream.deleted_when
        self._nesting = nesting
        self._noise: dict[tuple[str, ...], tuple[str, ...]] = {}

    def take(self, record: Record) -> Taken:
        """Key, time and JSON of one record, which is changed on the way. BadRecord says what is wrong."""
        fields = tuple(record)
        noise = self._noise.get(fields)
        if noise is None:
            noise = self._note(fields)
        for name in noise:
            del record[name]
        key = joined_key(record, self._primary_key)
        us = self.time_of(record)
        if self._deleted_when is not None and self._says_deleted(record):
            return Taken(key, us, "d", b"{}")
        after = _encode(record)
        if _AWKWARD.search(after) or after.count(b"{") > 1 or b"[" in after:
            after = self._made_plain(record)
        return Taken(key, us, "r", after)

    def time_of(self, record: Record) -> int:
        """Microseconds of the record's source time; 0 if it gives none. BadRecord if it is no time."""
        raw = value_of(record, self._modified)
        return source_time(raw, self._modified) if raw is not None else 0

    def _note(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        noise = tuple(name for name in fields if is_noise(name))
        if len(self._noise) < _SHAPES_KEPT:
            self._noise[fields] = noise
        return noise

    def _says_deleted(self, record: Record) -> bool:
        rule = self._deleted_when
        raw = value_of(record, rule.field) if rule is not None else None
        return rule is not None and raw is not None and says_deleted(rule, raw)

    def _made_plain(self, record: Record) -> bytes:
        """The record on one line, without noise inside, no deeper than allowed."""
        try:
            kept = {name: _plain(record[name], name, self._nesting) for name in sorted(record)}
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRecord(f"is not valid JSON inside: {error}"[:200]) from error
        return _encode({name: raw for name, raw in kept.items() if raw is not None})


def says_deleted(rule: DeletedWhen, value: msgspec.Raw) -> bool:
    """Whether a record with this value says that it was deleted. BadRecord if the value is nested."""
    said = text_of(value)
    return said is not None and any(matches(pattern, said) for pattern in rule.values)


def is_noise(name: str) -> bool:
    """Whether a field is the protocol's own: ``@odata.etag``, ``name@odata.type``, ``__metadata``."""
    return "@" in name or name.startswith("__")


def value_of(record: Mapping[str, msgspec.Raw], name: str) -> msgspec.Raw | None:
    """A field's value; ``a.b`` reaches into the object at ``a``, unless there is a field of that very name."""
    raw = record.get(name)
    if raw is not None or "." not in name:
        return raw
    outer, _, inner = name.partition(".")
    held = record.get(outer)
    if held is None or bytes(held)[:1] != b"{":
        return None
    try:
        return value_of(_object(held), inner)
    except (msgspec.DecodeError, RecursionError):
        return None


def joined_key(record: Mapping[str, msgspec.Raw], primary_key: Sequence[str]) -> str:
    """The record's key; the parts of a composite one joined by ``/``. BadRecord if a part is missing."""
    if len(primary_key) == 1:
        return _key_part(record, primary_key[0])
    return key_of_parts([_key_part(record, name) for name in primary_key])


def key_of_parts(parts: Sequence[str]) -> str:
    """The parts of a composite key as one."""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def _key_part(record: Mapping[str, msgspec.Raw], name: str) -> str:
    raw = value_of(record, name)
    part = text_of(raw) if raw is not None else None
    if not part:
        raise BadRecord("is missing, and it identifies the record", field=name)
    if len(part) > LONGEST_KEY:
        raise BadRecord(f"is longer than the {LONGEST_KEY} characters a key may have", field=name)
    if not part.isprintable():
        raise BadRecord("holds characters that no key may have", field=name)
    return part


def text_of(raw: msgspec.Raw) -> str | None:
    """A scalar as text (a number as the source wrote it), None for null. BadRecord for anything nested."""
    written = bytes(raw)
    first = written[:1]
    try:
        if first == b'"':
            return str(msgspec.json.decode(written)) if b"\\" in written else written[1:-1].decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord("is not valid text") from error
    if first in (b"{", b"["):
        raise BadRecord("is nested where a single value belongs")
    return None if written == b"null" else written.decode("ascii", "replace")


def source_time(raw: msgspec.Raw, field: str) -> int:
    """Microseconds since the epoch: RFC 3339, ``/Date(ms)/``, epoch s or ms; 0 for null. BadRecord if none."""
    written = bytes(raw)
    if written in (b"null", b'""'):
        return 0
    if found := _SAP_DATE.fullmatch(written):
        written = found[1]
    elif written[:1] == b'"':
        try:
            moment = _moment(written)
            if moment.tzinfo is not None:
                return (moment - _EPOCH) // _MICROSECOND
        except msgspec.DecodeError:
            pass  # not RFC 3339, which is the usual; the other ways follow
    try:
        return instant_us(_scalar(written), dt.UTC)
    except (ValueError, msgspec.DecodeError) as error:
        shown = written[:40].decode("utf-8", "replace")
        raise BadRecord(f"{shown} is not a time: {error}"[:200], field=field) from error


def _scalar(written: bytes) -> object:
    return msgspec.json.decode(written) if written[:1] not in (b"{", b"[") else None


def _plain(raw: msgspec.Raw, name: str, nesting: int) -> msgspec.Raw | None:
    """A value on one line and checked; None for a deferred link, which is no value."""
    written = bytes(raw)
    if written[:1] in (b"{", b"["):
        if _depth(written) > nesting:
            raise BadRecord(f"is nested deeper than the {nesting} levels of limits.nesting", field=name)
        cleaned = _without_noise(raw)
        if cleaned is None:
            return None
        written = msgspec.json.format(cleaned, indent=-1)
    if _AWKWARD.search(written):
        msgspec.json.decode(written)
        if _CONTROL.search(written):
            raise BadRecord("holds a bare control character", field=name)
    return msgspec.Raw(written)


def _without_noise(raw: msgspec.Raw) -> bytes | None:
    """An object or array without the protocol's own fields; None if it is only a deferred link."""
    written = bytes(raw)
    if b"@" not in written and b'"__' not in written:
        return written
    if written[:1] == b"[":
        return _encode([_inner(item) for item in _array(written)])
    members = _object(written)
    if "__deferred" in members:
        return None
    return _encode({name: _inner(value) for name, value in members.items() if not is_noise(name)})


def _inner(raw: msgspec.Raw) -> msgspec.Raw:
    if bytes(raw)[:1] not in (b"{", b"["):
        return raw
    cleaned = _without_noise(raw)
    return msgspec.Raw(b"null" if cleaned is None else cleaned)


def _depth(written: bytes) -> int:
    """How deep a JSON value nests; counted, not recursed into."""
    if written.count(b"{") + written.count(b"[") == 1:
        return 1
    deepest = depth = 0
    for token in _BRACKETS.findall(written):
        if token in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"}", b"]"):
            depth -= 1
    return deepest
