"""Changes read by compiled code: lines found in a batch's events, and their records mapped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from flockiq.merge.arrived import Arrived, Rows
from flockiq.merge.book import Stream
from flockiq.merge.codes import Mapped, Parts, Scratch, mapped_room, parts, scratch, texts
from flockiq.merge.compiled import Functions
from flockiq.merge.known import Bytes, roomy
from flockiq.merge.mapping import mapped_columns
from flockiq.merge.records import Records
from flockiq.shared.lanes import Int64s
from flockiq.shared.tombstones import Tombstones

_KIND = b'"type":"flockiq.change"'
_HEAD = 512  # bytes in which a line that is taken here says its kind
_DELETED = ord("d")
_PARTIAL = ord("u")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Event(Protocol):
    """An unpacked event."""

    @property
    def first(self) -> int:
        """The number of its first line in the batch."""
        ...

    @property
    def lines(self) -> int:
        """How many lines it has."""
        ...

    @property
    def text(self) -> bytes:
        """Its lines."""
        ...


class Scanned[E: Event]:
    """The lines of a batch's events that were taken."""

    def __init__(self, functions: Functions, events: Sequence[E], tenant: str) -> None:
        self._functions = functions
        self._events: list[E] = []
        self._unscanned: list[E] = []
        for event in events:
            (self._events if _scannable(event.text) else self._unscanned).append(event)
        self._text = np.frombuffer(bytearray(b"\n").join([event.text for event in self._events]), np.uint8)
        self._firsts = np.cumsum([0, *(event.lines for event in self._events)])
        self._moved = np.array([event.first for event in self._events], np.int64) - self._firsts[:-1]
        self._parts = parts(int(self._firsts[-1]) + 1)
        self._count = 0
        self._scratch = scratch()
        if len(self._text):
            said = np.frombuffer(_encode(tenant)[1:-1] or b" ", np.uint8)[: len(_encode(tenant)) - 2]
            self._count = int(functions.scan_changes(self._text, said, self._scratch, self._parts))
        self._taken = np.ones(self._count, np.bool_)

    def mapped(
        self, streams: Mapping[tuple[str, str], Stream], records: Records, tombstones: Tombstones
    ) -> dict[tuple[str, str], Arrived]:
        """The changes of each stream that are as most are, and that no erasure may forbid."""
        fit = {name: stream for name, stream in streams.items() if stream.shape is not None}
        which = np.empty(self._count, np.int64)
        names = texts(stream.plan.name for stream in fit.values())
        self._functions.streams_of(self._text, self._parts, self._count, *names, which)
        if tombstones:
            of = self._parts
            asked = np.minimum(of.us, of.captured_us)[: self._count] <= tombstones.latest_us
            which[asked | (of.op[: self._count] == _DELETED)] = -1
        self._taken &= which >= 0
        found = {}
        for number, (name, stream) in enumerate(fit.items()):
            at = np.flatnonzero(which == number)
            if len(at):
                some = _Mapping(self._functions, self._text, self._parts, stream, self._scratch).rows(at, records)
                left = np.setdiff1d(at, some.rows.at)
                self._taken[left] = False
                line = self._parts.line[some.rows.at]
                if len(line):
                    found[name] = some._replace(rows=some.rows._replace(at=line + self._moved[self._event(line)]))
        return found

    def left(self) -> Iterator[tuple[E, list[tuple[int, bytes]] | None]]:
        """Every event of which lines are not as capture writes them, and these, each behind its number; None: all."""
        yield from ((event, None) for event in self._unscanned)
        count, of = int(self._parts.counts[0]), self._parts
        scanned = np.bincount(self._event(of.line[: self._count]), minlength=len(self._events))
        for one, lines in self._lines(of.left[:count], of.left_begin[:count], of.left_end[:count]).items():
            yield self._events[one], lines if scanned[one] else None

    def unmapped(self) -> Iterator[tuple[E, list[tuple[int, bytes]]]]:
        """Every event of which lines are in order but were not ``mapped``, and these, each behind its number."""
        again = np.flatnonzero(~self._taken)
        of = self._parts
        for one, lines in self._lines(of.line[again], of.begin[again], of.end[again]).items():
            yield self._events[one], lines

    def _event(self, line: Int64s) -> Int64s:
        """The event that each line is in."""
        return np.searchsorted(self._firsts, line, side="right") - 1

    def _lines(self, line: Int64s, begin: Int64s, end: Int64s) -> dict[int, list[tuple[int, bytes]]]:
        """Lines by their event, each behind its number there."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        for one, number, a, b in zip(
            self._event(line).tolist(), line.tolist(), begin.tolist(), end.tolist(), strict=True
        ):
            found.setdefault(one, []).append((number - int(self._firsts[one]) + 1, bytes(self._text.data[a:b])))
        return found


def _scannable(text: bytes) -> bool:
    """Whether an event's text may be read here: it is UTF-8 and begins with a change."""
    if text.find(_KIND, 0, _HEAD) < 0:
        return False
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            return False
    return True


def _values(raw: Iterable[bytes]) -> Iterator[tuple[bytes, object]]:
    """Values beside the bytes that say them; what is no JSON is left out."""
    for one in raw:
        try:
            yield one, _decode(one)
        except (msgspec.MsgspecError, RecursionError):
            continue


class _Mapping:
    """Maps the records of one stream's lines."""

    def __init__(self, functions: Functions, text: Bytes, of: Parts, stream: Stream, scratch: Scratch) -> None:
        self._functions, self._text, self._parts, self._stream, self._scratch = functions, text, of, stream, scratch

    def rows(self, at: Int64s, records: Records) -> Arrived:
        """The changes of the lines ``at`` that can be mapped here; ``at`` of the rows are the lines."""
        out, written = self._mapped(at)
        good = out.begin >= 0
        of = self._parts
        lines = at[good]
        key_begin, key_end = of.key_begin[lines], of.key_end[lines]
        begin, end, place = out.begin[good], out.end[good], out.place[good]
        said = out.said[:written]
        number = self._numbers(lines, records)
        op = of.op[lines]
        unknown = np.flatnonzero((place < 0) & (op != _DELETED) & (op != _PARTIAL))
        if len(unknown):
            bounds = (one[unknown] for one in (begin, end, key_begin, key_end))
            place[unknown] = self._places(number[unknown], said, *bounds)
        rows = Rows(
            at=lines,
            number=number,
            us=of.us[lines],
            rr=of.rr[lines],
            tie=of.tie[lines],
            rest=of.rest[lines],
            op=op,
            captured_us=of.captured_us[lines],
            key_begin=key_begin,
            key_end=key_end,
            trace_begin=of.trace_begin[lines],
            trace_end=of.trace_end[lines],
            after_begin=of.after_begin[lines],
            after_end=of.after_end[lines],
            begin=begin,
            end=end,
            content=out.content[good],
            place=place,
        )
        return Arrived(rows, self._text, said, {})

    def _numbers(self, lines: Int64s, records: Records) -> Int64s:
        """The numbers of the lines' records."""
        numbers = np.empty(len(lines), np.int64)
        prefix = f"{self._stream.plan.name}/"
        name = np.frombuffer(prefix.encode(), np.uint8)
        known = records.known.table(self._functions.learn)
        self._functions.records_of(self._text, self._parts, lines, known, name, self._scratch.text, numbers)
        new = np.flatnonzero(numbers < 0)
        if len(new):
            bounds = zip(
                self._parts.key_begin[lines[new]].tolist(), self._parts.key_end[lines[new]].tolist(), strict=True
            )
            whole = self._text.data
            numbers[new] = records.numbers_of([prefix + str(whole[a:b], "utf-8") for a, b in bounds])
        return numbers

    def _mapped(self, at: Int64s) -> tuple[Mapped, int]:
        """The records of the lines ``at`` mapped, and how much was written."""
        size = int((self._parts.after_end[at] - self._parts.after_begin[at]).sum())
        out, written = self._map(at, mapped_room(len(at), len(self._stream.plan.fields), size + (1 << 16)), 0)
        left = int(out.counts[0])
        if left:
            row, field = out.left_row[:left], out.left_field[:left]
            self._memorise(field, out.left_begin[:left], out.left_end[:left])
            again = np.setdiff1d(row, row[field < 0])
            room = mapped_room(len(again), len(self._stream.plan.fields), 0)._replace(said=out.said)
            redone, written = self._map(at[again], room, written)
            for mine, its in (
                (out.begin, redone.begin),
                (out.end, redone.end),
                (out.content, redone.content),
                (out.place, redone.place),
            ):
                mine[again] = its
            out = out._replace(said=redone.said)
        return out, written

    def _map(self, at: Int64s, out: Mapped, written: int) -> tuple[Mapped, int]:
        stream, functions, row = self._stream, self._functions, 0
        memo, results = stream.memo.table(functions.learn), stream.results.texts()
        placings = stream.placings.table(functions.learn)
        while True:
            row, written = functions.map_records(
                self._text, self._parts, at, row, stream.shape, memo, results, stream.longest, placings,
                stream.place_of, self._scratch, out, written,
            )  # fmt: skip
            if row == len(at) or stream.shape is None:
                return out, int(written)
            most = int((self._parts.after_end[at] - self._parts.after_begin[at]).max())
            spare = 2 * most + stream.shape.room + stream.longest * len(stream.plan.fields)
            out = out._replace(said=roomy(out.said, len(out.said) + spare))

    def _memorise(self, field: Int64s, begin: Int64s, end: Int64s) -> None:
        """Work out what the canonical forms of some values are; what fits no field stays unknown."""
        stream, whole = self._stream, self._text.data
        wanted: dict[int, set[bytes]] = defaultdict(set)
        for number, a, b in zip(field.tolist(), begin.tolist(), end.tolist(), strict=True):
            if number >= 0:
                wanted[number].add(bytes(whole[a:b]))
        for number, texts_ in wanted.items():
            told = list(_values(sorted(texts_)))
            given = [raw for raw, _ in told]
            one = stream.plan.fields[number]
            found = mapped_columns(
                stream.plan._replace(fields=(one,)), [[value for _, value in told]], [True] * len(told)
            )
            results = map(_encode, found.columns[one.field.name])
            fine = [
                (bytes([number]) + raw, result)
                for row, (raw, result) in enumerate(zip(given, results, strict=True))
                if row not in found.bad
            ]
            if fine:
                stream.memorise([raw for raw, _ in fine], [result for _, result in fine])

    def _places(
        self, number: Int64s, said: Bytes, begin: Int64s, end: Int64s, key_begin: Int64s, key_end: Int64s
    ) -> Int64s:
        """Where records belong of which that is not known."""
        stream, functions = self._stream, self._functions
        place = np.full(len(begin), -1, np.int64)
        _, first = np.unique(number, return_index=True)
        for some in (first, np.arange(len(begin))):  # first one version of each record, then what is left
            unknown = some[place[some] < 0]
            if not len(unknown):
                break
            bounds = (one[unknown].tolist() for one in (begin, end, key_begin, key_end))
            of = [
                (bytes(said.data[a:b]), str(self._text.data[c:d], "utf-8")) for a, b, c, d in zip(*bounds, strict=True)
            ]
            place[unknown] = stream.learn_places([key for _, key in of], [fields for fields, _ in of])
            rest = np.flatnonzero(place < 0)
            again = np.empty(len(rest), np.int64)
            functions.place_records(
                self._text, key_begin[rest], key_end[rest], said, begin[rest], end[rest], stream.shape,
                stream.placings.table(functions.learn), stream.place_of, self._scratch, again,
            )  # fmt: skip
            place[rest] = again
        return place
