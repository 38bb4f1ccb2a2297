"""Lines read by compiled code: those that are as ``wire.encode`` writes them, found in a batch and made into rows.

Whatever is not is handed on: lines to shared/lines.py, values to the decoder of one value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.pipeline.codes import Parts, named, others, parts, shape
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.types import TypeState
from flockiq.shared.errors import BadRecord
from flockiq.shared.lanes import ABSENT, Int64s, Texts
from flockiq.shared.layout import Field
from flockiq.shared.positions import event_lane, own_key
from flockiq.shared.rows import Rows

_KIND = b'"type":"flockiq.resolved"'
_HEAD = 512  # bytes in which a line that is taken here says its kind

OneLane = Callable[[Field, msgspec.Raw, Texts], int]
"""The lane of one value, or BadRecord."""


class Left(NamedTuple):
    """A line that was not taken: its number in its event, from 1, and itself."""

    number: int
    line: bytes


class Wrong(NamedTuple):
    """A line that fits no entity type: its number in its event, itself, the field and the reason."""

    number: int
    line: bytes
    field: str
    reason: str


class Scanned:
    """The lines of a batch's events that were taken."""

    def __init__(self, module: Functions, texts: Sequence[bytes]) -> None:
        self.module = module
        self.bytes = b"\n".join(texts)
        self.text = np.frombuffer(self.bytes, np.uint8)
        self._firsts = np.cumsum([0, *(text.count(b"\n") + 1 for text in texts)])
        self.parts: Parts = parts(int(self._firsts[-1]) + 1)
        self.count = int(module.scan(self.text, self.parts)) if self.bytes else 0

    def left(self) -> Mapping[int, list[Left]]:
        """The lines that were not taken, by the number of their event."""
        found: dict[int, list[Left]] = {}
        count = int(self.parts.counts[0])
        line, begin, end = (column[:count] for column in (self.parts.left, self.parts.left_begin, self.parts.left_end))
        event = np.searchsorted(self._firsts, line, side="right") - 1
        for one, where, first, last in zip(event.tolist(), line.tolist(), begin.tolist(), end.tolist(), strict=True):
            found.setdefault(one, []).append(Left(where - int(self._firsts[one]) + 1, self.bytes[first:last]))
        return found

    def taken_of(self, event: int) -> bool:
        """Whether any line of an event was taken."""
        taken = np.searchsorted(self.parts.line[: self.count], self._firsts[[event, event + 1]])
        return bool(taken[1] > taken[0])

    def line(self, at: int) -> tuple[int, bytes]:
        """A line that was taken: its number in its event, and itself."""
        number = int(self.parts.line[at])
        first = int(self._firsts[np.searchsorted(self._firsts, number, side="right") - 1])
        return number - first + 1, self.bytes[self.parts.begin[at] : self.parts.end[at]]

    def said(self, begin: Int64s, end: Int64s, at: int) -> str:
        """A stretch of text."""
        return self.bytes[begin[at] : end[at]].decode()

    def which(self, begin: Int64s, end: Int64s, names: tuple[str, ...]) -> Int64s:
        """The index of the name that each stretch is, or -1."""
        found = np.empty(len(begin), np.int64)
        self.module.which(self.text, begin, end, *named(names), found)
        return found


def scannable(text: bytes) -> bool:
    """Whether an event's text may be read here: it is UTF-8 and begins with a resolved record."""
    if text.find(_KIND, 0, _HEAD) < 0:
        return False
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            return False
    return True


def rows_of_scanned(
    scanned: Scanned, types: Mapping[str, TypeState], texts: Texts, now_us: int, one_lane: OneLane
) -> tuple[dict[str, Rows], list[Wrong]]:
    """The rows of each entity type, and the lines that fit none."""
    every, count = scanned.parts, scanned.count
    names = tuple(types)
    which = scanned.which(every.entity_begin[:count], every.entity_end[:count], names)
    wrong = [
        Wrong(*scanned.line(at), "entity", f"there is no entity type {_shown(scanned, every, at)} in config")
        for at in np.flatnonzero(which < 0).tolist()
    ]
    rows: dict[str, Rows] = {}
    for number, name in enumerate(names):
        at = np.flatnonzero(which == number)
        if len(at):
            found, bad = _Reading(scanned, types[name], texts, one_lane).rows(at, now_us)
            wrong += bad
            if len(found):
                rows[name] = found
    return rows, wrong


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_SHOWN = 80  # characters of what somebody else wrote


def _shown(scanned: Scanned, every: Parts, at: int) -> str:
    return repr(scanned.said(every.entity_begin, every.entity_end, at)[:_SHOWN])


class _Reading:
    """Makes rows of one entity type of the lines of a batch."""

    def __init__(self, scanned: Scanned, state: TypeState, texts: Texts, one_lane: OneLane) -> None:
        self.scanned, self.state, self.texts, self.one_lane = scanned, state, texts, one_lane
        self.module, self.text = scanned.module, scanned.text
        self.scratch = np.empty(len(scanned.text) + 1, np.uint8)

    def rows(self, at: Int64s, now_us: int) -> tuple[Rows, list[Wrong]]:
        """The rows of the lines ``at``, and the lines that are wrong."""
        every, layout = self.scanned.parts, self.state.plan.layout
        source = self.scanned.which(every.source_begin[at], every.source_end[at], layout.sources)
        wrong = [Wrong(*self.scanned.line(one), "source", self._unmapped(one)) for one in at[source < 0].tolist()]
        at, source = at[source >= 0], source[source >= 0]
        value, bad = self._values(at)
        if bad:
            wrong += [Wrong(*self.scanned.line(int(at[row])), *why) for row, why in sorted(bad.items())]
            keep = np.ones(len(at), np.bool_)
            keep[list(bad)] = False
            at, source, value = at[keep], source[keep], value[keep]
        entity = self._entities(at)
        event = self._events(at)
        return Rows(
            entity=entity,
            group=np.frombuffer(self.state.group_of, np.int64)[entity] if len(at) else entity,
            source=source,
            op=every.op[at],
            us=every.us[at],
            rr=every.rr[at],
            hash=event,
            key=self._keys(at),
            shown=np.frombuffer(self.state.shown, np.int64)[entity] if len(at) else entity,
            event=event,
            value=value,
            arrived_us=np.full(len(at), now_us, np.int64),
            revision=every.revision[at],
        ), wrong

    def _unmapped(self, at: int) -> str:
        every = self.scanned.parts
        source = self.scanned.said(every.source_begin, every.source_end, at)[:_SHOWN]
        return f"no stream of source {source!r} is mapped to {self.state.plan.layout.entity!r}"

    def _values(self, at: Int64s) -> tuple[Int64s, dict[int, tuple[str, str]]]:
        """int64 [n, F] lanes, and the rows of which a value does not fit: {row: (field, reason)}."""
        every, layout = self.scanned.parts, self.state.plan.layout
        value = np.empty((len(at), len(layout.fields)), np.int64)
        out = others(value.size + len(at))
        lengths = self.texts.table(self.module.insert)
        left, new = self.module.read_fields(
            self.text,
            every.fields_begin[at],
            every.fields_end[at],
            shape(layout),
            lengths.keys,
            value,
            out,
            self.scratch,
        )
        self._keep(out.new_lane[:new], out.new_begin[:new], out.new_end[:new])
        bad: dict[int, tuple[str, str]] = {}
        whole = self.scanned.bytes
        columns = [column[:left] for column in (out.row, out.field, out.begin, out.end)]
        in_order = np.lexsort(columns[1::-1])  # of a record's bad values the first in the layout is told
        for row, number, begin, end in zip(*(column[in_order].tolist() for column in columns), strict=True):
            if number < 0:
                self._record(row, int(at[row]), value, bad)
            else:
                self._value(row, number, msgspec.Raw(whole[begin:end]), value, bad)
        return value, bad

    def _record(self, row: int, at: int, value: Int64s, bad: dict[int, tuple[str, str]]) -> None:
        """A whole record, value by value."""
        every = self.scanned.parts
        said = _fields(b"{" + self.scanned.bytes[every.fields_begin[at] : every.fields_end[at]] + b"}")
        value[row] = ABSENT
        for number, field in enumerate(self.state.plan.layout.fields):
            if field.name in said:
                self._value(row, number, said[field.name], value, bad)

    def _value(self, row: int, number: int, raw: msgspec.Raw, value: Int64s, bad: dict[int, tuple[str, str]]) -> None:
        """One value."""
        field = self.state.plan.layout.fields[number]
        try:
            value[row, number] = self.one_lane(field, raw, self.texts)
        except BadRecord as error:
            bad.setdefault(row, (field.name, error.reason))

    def _keep(self, lanes: Int64s, begin: Int64s, end: Int64s) -> None:
        """Keep texts that are new, each once; they stand in quotes."""
        lanes, first = np.unique(lanes, return_index=True)
        whole, read = self.scanned.bytes, msgspec.json.decode
        self.texts.keep(
            {
                lane: read(whole[a:b], type=str)
                for lane, a, b in zip(lanes.tolist(), begin[first].tolist(), end[first].tolist(), strict=True)
            }
        )

    def _keys(self, at: Int64s) -> Int64s:
        every = self.scanned.parts
        lanes = np.empty(len(at), np.int64)
        self.module.keys_of(self.text, every, at, lanes, self.scratch)
        unknown = np.empty(len(at), np.int64)
        count = self.module.missing(lanes, self.texts.table(self.module.insert).keys, unknown)
        rows = unknown[:count]
        one = at[rows]
        whole = self.scanned.bytes
        bounds = (every.stream_begin, every.stream_end, every.key_begin, every.key_end)
        self.texts.keep(
            {
                lane: (whole[a:b] + b"/" + whole[c:d]).decode()
                for lane, a, b, c, d in zip(
                    lanes[rows].tolist(), *(column[one].tolist() for column in bounds), strict=True
                )
            }
        )
        return lanes

    def _events(self, at: Int64s) -> Int64s:
        every = self.scanned.parts
        halves = np.empty((2, len(at)), np.int64)
        lanes: Int64s = halves[0]
        odd = self.module.ids(self.text, every.id_begin[at], every.id_end[at], lanes, halves[1])
        if not odd:
            self.texts.keep_ids(halves.T.copy())
            return lanes
        is_id = lanes != ABSENT
        self.texts.keep_ids(halves[:, is_id].T.copy())
        for row in np.flatnonzero(~is_id).tolist():
            text = self.scanned.said(every.id_begin, every.id_end, int(at[row]))
            lanes[row] = event_lane(text)
            self.texts.keep({int(lanes[row]): text})
        return lanes

    def _entities(self, at: Int64s) -> Int64s:
        """The dense numbers of the lines' entities; new ones are remembered."""
        every, state = self.scanned.parts, self.state
        halves = np.empty((2, len(at)), np.int64)
        self.module.ids(self.text, every.entity_id_begin[at], every.entity_id_end[at], halves[0], halves[1])
        entity = np.empty(len(at), np.int64)
        table = state.table(self.module)
        self.module.known(halves[0], halves[1], table.keys, table.values, state.rest(), entity)
        new = np.flatnonzero(entity < 0)
        if len(new):  # many lines may be of one new entity
            if (halves[0, new] == ABSENT).any():
                first = which = np.arange(len(new))
            else:
                _, first, which = np.unique(halves[:, new], axis=1, return_index=True, return_inverse=True)
            made = np.empty(len(first), np.int64)
            for one in np.argsort(first).tolist():  # numbered as they come
                made[one] = self._entity(int(at[new[first[one]]]))
            entity[new] = made[which.reshape(-1)]
        return entity

    def _entity(self, at: int) -> int:
        every, said = self.scanned.parts, self.scanned.said
        entity_id = said(every.entity_id_begin, every.entity_id_end, at)
        known = self.state.ids.find(entity_id)
        if known is not None:
            return known
        match_key = said(every.match_begin, every.match_end, at)
        group = said(every.group_begin, every.group_end, at)
        shown = match_key
        if "/" in match_key:  # it may be the record's own
            key, source = said(every.key_begin, every.key_end, at), said(every.source_begin, every.source_end, at)
            if match_key == own_key(source, said(every.stream_begin, every.stream_end, at), key):
                shown = key
        return self.state.entity(entity_id, match_key, group, self.texts.lane(shown))[0]
