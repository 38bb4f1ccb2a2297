"""The lines of packed events, decoded; what can't be is told apart, line by line, with field and reason.

An event whose lines are all well is decoded in one call. One that holds a line that is not is read
again line by line: the others count, wherever the bad one stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import zstandard

from flockiq.shared import wire
from flockiq.shared.errors import BadRecord
from flockiq.shared.faults import UNREADABLE, Whose, fault_of, whose

type Decoders = Mapping[str, msgspec.json.Decoder[Any]]
"""What decodes the lines of each kind that a hub takes."""

_SHOWN = 80  # characters of a kind that nobody knows


class Bad(NamedTuple):
    """Bytes that are no line: which, why, and themselves."""

    line: int  # its number in its event, from 1; 0 when the event as a whole can't be read
    field: str  # dotted; "" when it is no JSON at all
    reason: str
    body: bytes
    whose: Whose = Whose()


class Decoded:
    """The decoded lines of a batch's events by kind, and what could not be decoded."""

    def __init__(self) -> None:
        self.bad: list[Bad] = []
        self._events: dict[str, list[tuple[list[Any], Sequence[int]]]] = defaultdict(list)

    def add(self, kind: str, lines: list[Any], numbers: Sequence[int]) -> None:
        """Take lines of one event, with their numbers in it."""
        self._events[kind].append((lines, numbers))

    def of(self, kind: str) -> list[Any]:
        """All lines of one kind, in order."""
        return [line for lines, _ in self._events[kind] for line in lines]

    def numbered(self, kind: str) -> list[tuple[int, Any]]:
        """All lines of one kind, in order, each behind its number in its event."""
        return [pair for lines, numbers in self._events[kind] for pair in zip(numbers, lines, strict=True)]

    def take(self, other: Decoded) -> None:
        """Take all that another holds."""
        self.bad += other.bad
        for kind, events in other._events.items():
            self._events[kind] += events

    def numbers(self, kind: str) -> dict[int, int]:
        """{``id(line)``: its number in its event} of the lines of one kind; only worth asking when one is bad."""
        return {
            id(line): number
            for lines, numbers in self._events[kind]
            for line, number in zip(lines, numbers, strict=True)
        }


def decoded(bodies: Iterable[bytes], decoders: Decoders) -> Decoded:
    """Unpack and decode events. Nothing that is in them stops the others, or is lost without a word."""
    found = Decoded()
    decode_into(found, bodies, decoders)
    return found


def decode_into(found: Decoded, bodies: Iterable[bytes], decoders: Decoders) -> None:
    """Unpack and decode events into ``found``."""
    for text, body in unpacked(bodies, found):
        decode_text(text, body, decoders, found)


def unpacked(bodies: Iterable[bytes], found: Decoded) -> Iterator[tuple[bytes, bytes]]:
    """The text of each event beside its body; what is no event is told in ``found``."""
    by = zstandard.ZstdDecompressor()
    for body in bodies:
        try:
            text = wire.unpack(body, by)
        except BadRecord as error:
            found.bad.append(Bad(0, "", str(error), body))
        else:
            yield text, body


def decode_text(text: bytes, body: bytes, decoders: Decoders, found: Decoded) -> None:
    """Decode the text of the event ``body`` into ``found``."""
    if _at_once(text, decoders, found):
        return
    good, bad = decode_lines(enumerate(text.split(b"\n"), 1), decoders, found)
    if good or len(bad) == 1:
        found.bad += bad
    else:  # one letter holds an event of which no line is of use
        first = f"none of its {len(bad):,} lines can be read; the first: {bad[0].reason}" if bad else "it is empty"
        found.bad.append(Bad(0, bad[0].field if bad else "", first, body))


_kind = msgspec.json.Decoder(wire.Kind).decode


def _at_once(text: bytes, decoders: Decoders, found: Decoded) -> bool:
    """Decode an event whose lines are all of its first line's kind; False if they are not, or one is bad."""
    end = text.find(b"\n")
    try:
        kind = _kind(text if end < 0 else text[:end]).type
        if kind not in decoders or b"\n\n" in text:  # lines would be numbered wrongly past an empty one
            return False
        lines = decoders[kind].decode_lines(text)
    except UNREADABLE:
        return False
    found.add(kind, lines, range(1, len(lines) + 1))
    return True


def decode_lines(numbered: Iterable[tuple[int, bytes]], decoders: Decoders, found: Decoded) -> tuple[bool, list[Bad]]:
    """Decode lines with their numbers in their event into ``found``; whether any is good, and those that are bad."""
    good: dict[str, tuple[list[Any], list[int]]] = defaultdict(lambda: ([], []))
    bad: list[Bad] = []
    for number, line in numbered:
        if not line or line.isspace():
            continue
        try:
            kind = _kind(line).type
            if kind not in decoders:
                reason = f"{kind[:_SHOWN]!r} is none of {', '.join(decoders)}"
                bad.append(Bad(number, "type", reason, line, whose(line)))
                continue
            lines, numbers = good[kind]
            lines.append(decoders[kind].decode(line))
            numbers.append(number)
        except UNREADABLE as error:
            fault = fault_of(line, error)
            bad.append(Bad(number, fault.field, fault.reason, line, fault.whose))
    for kind, (lines, numbers) in good.items():
        found.add(kind, lines, numbers)
    return any(numbers for _, numbers in good.values()), bad
