"""Looks into an answer's JSON: a few small values of it, and where its records are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from flockiq.capture.records import Record
from flockiq.capture.sheet import Shape
from flockiq.shared.errors import SourceError

type Answered = dict[str, msgspec.Raw] | msgspec.Raw
"""An answer taken apart one level deep, or as it is when it is no object."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NAMED: Final = 20  # names told of an answer that lacks what was looked for
_SHOWN: Final = 60  # characters of an answer that is no use


def steps(place: str) -> tuple[str, ...]:
    """``a.b`` and ``/a/b`` as the names on the way."""
    if place.startswith("/"):
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in place[1:].split("/"))
    return tuple(place.split(".")) if place else ()


def opened(body: bytes) -> Answered:
    """A body taken apart. SourceError if it is not JSON."""
    try:
        str(body, "utf-8")  # values stay raw below: what is no text must not travel on
        return _members(body) if body.lstrip()[:1] == b"{" else msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = body[:_SHOWN].decode("utf-8", "replace")
        raise SourceError(f"the answer is not JSON: {error}"[:300] + f"; it begins {start!r}") from error


def found(answer: Answered, way: Sequence[str]) -> msgspec.Raw | None:
    """What stands at the end of ``way``; None if nothing does, or null."""
    here: Answered | None = answer
    for name in way:
        if isinstance(here, msgspec.Raw):
            here = _inside(here)
        here = here.get(name) if isinstance(here, dict) else None
    if isinstance(here, dict):
        return msgspec.Raw(msgspec.json.encode(here))
    return None if here is None or bytes(here) == b"null" else here


def text_at(answer: Answered, way: Sequence[str]) -> str:
    """A text or number there, as text; "" if there is none. SourceError if it is something else."""
    value = _value(answer, way)
    if value is None or value is False:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise SourceError(f"{'.'.join(way)} of the answer is neither text nor a number; see paginate:")


def flag_at(answer: Answered, way: Sequence[str]) -> bool:
    """A yes or no there; nothing is no. SourceError if it is something else."""
    value = _value(answer, way)
    if value is None or isinstance(value, bool):
        return bool(value)
    if value in (0, 1, "true", "false", "True", "False", "Y", "N", ""):
        return value in (1, "true", "True", "Y")
    raise SourceError(f"{'.'.join(way)} of the answer is neither true nor false; see paginate:")


def count_at(answer: Answered, way: Sequence[str]) -> int:
    """A number of records there; -1 if there is none. SourceError if it is something else."""
    said = text_at(answer, way)
    if not said:
        return -1
    if not (said.isascii() and said.isdigit()):
        raise SourceError(f"{'.'.join(way)} of the answer is no number of records; see paginate.total")
    return int(said)


def records_at(answer: Answered, way: Sequence[str], shape: Shape) -> tuple[Sequence[Record], list[bytes]]:
    """The records there, and what stands among them without being one. SourceError if there is no list."""
    raw = answer if isinstance(answer, msgspec.Raw) and not way else found(answer, way)
    if raw is None and _is_null(answer, way):
        return [], []
    written = bytes(raw).lstrip() if raw is not None else b""
    if written[:1] != b"[":
        there = _holds(answer) if isinstance(answer, dict) else "it is a list itself"
        raise SourceError(f"the answer has no list at records: {'.'.join(way) or '(the whole answer)'}; {there}"[:300])
    try:
        return shape.read(written)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"the answer's records are not valid JSON: {error}"[:300]) from error


def _holds(answer: dict[str, msgspec.Raw]) -> str:
    """What stands in an answer: its lists, for one of them must be meant, or else its names."""
    lists: list[str] = []
    for name, raw in answer.items():
        within = _inside(raw) if bytes(raw).lstrip()[:1] == b"{" else None
        inner = within.items() if isinstance(within, dict) else ()
        lists += [name] if bytes(raw).lstrip()[:1] == b"[" else []
        lists += [f"{name}.{each}" for each, value in inner if bytes(value).lstrip()[:1] == b"["]
    return f"lists are at: {', '.join(lists[:_NAMED])}" if lists else f"it holds {', '.join(list(answer)[:_NAMED])}"


def _is_null(answer: Answered, way: Sequence[str]) -> bool:
    """Whether null stands where records belong: some sources write so when there are none."""
    holder = found(answer, way[:-1]) if len(way) > 1 else None
    within = _inside(holder) if holder is not None else answer
    return bool(way) and isinstance(within, dict) and way[-1] in within


def _inside(raw: msgspec.Raw) -> Answered | None:
    try:
        return _members(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _value(answer: Answered, way: Sequence[str]) -> object:
    raw = found(answer, way)
    if raw is None:
        return None
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"{'.'.join(way)} of the answer is not valid JSON: {error}"[:200]) from error
    return value
