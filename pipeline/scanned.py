"""Lines read by compiled code: those that are as ``wire.encode`` writes them, found in a batch and made into rows.

Whatever is not is handed on: lines to shared/lines.py, values to the decoder of one value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from flockiq.pipeline import parts
from flockiq.pipeline.compiled import Functions
from flockiq.pipeline.homes import Homes
from flockiq.pipeline.prints import SECRET
from flockiq.pipeline.types import TypeState
from flockiq.shared.errors import BadRecord
from flockiq.shared.ids import ids_of
from flockiq.shared.lanes import ABSENT, Int64s, Texts
from flockiq.shared.layout import Field
from flockiq.shared.positions import own_key
from flockiq.shared.rows import Rows
from flockiq.shared.stored_texts import PADDING

_KIND = b'"type":"flockiq.resolved"'
_HEAD = 512  # bytes in which a line that is taken here says its kind
_NEWLINE = 10

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
    """The lines of a batch's events that were taken: ``parts`` int64 [n, PARTS], see pipeline/parts.py.

    Of those that say what their records have said already, ``values`` has the lanes of what they say, by type,
    int64 [n, F], and ``key`` that of their record's key, int64 [n].
    """

    def __init__(self, module: Functions, texts: Sequence[bytes], types: Mapping[str, TypeState]) -> None:
        self.module, self.types = module, types
        sizes = np.array([len(text) + 1 for text in texts], np.int64)
        self.size = int(sizes.sum()) - 1
        self.text = np.empty(self.size + 1 + PADDING, np.uint8)
        self._events = np.zeros((len(texts), 2), np.int64)
        self.parts, self._left, lines = np.empty((0, parts.PARTS), np.int64), np.empty((0, 3), np.int64), 0
        self.values: Sequence[Int64s] = ()
        self.key = np.empty(0, np.int64)
        if texts:
            self._events[1:, 0] = np.cumsum(sizes[:-1])
            self._put(texts)
            lines = self._scan()
        self._firsts = np.append(self._events[:, 1], lines)  # the number of each event's first line

    def _put(self, texts: Sequence[bytes]) -> None:
        """Lay the texts out one after the other, with a newline between them."""
        put = memoryview(self.text)
        for text, at in zip(texts, self._events[:, 0].tolist(), strict=True):
            put[at : at + len(text)] = text
            put[at + len(text)] = _NEWLINE
        self.text[self.size + 1 :] = 0

    def _scan(self) -> int:
        """Find the lines; how many there are."""
        found, left = parts.room_for(self.size)
        counts, key = np.zeros(3, np.int64), np.empty(len(found), np.int64)
        homes = Homes(self.types, self.module.reindex, len(found))
        known = homes.rows, SECRET, key
        while not self.module.scan(self.text, self.size, self._events, found, left, counts, *known):
            left = np.empty((16 * len(left), 3), np.int64)  # as bytes may: most lines are short, and no records
        self.parts, self._left = found[: counts[0]], left[: counts[1]]
        self.values, self.key = [one[: counts[0]] for one in homes.values], key[: counts[0]]
        return int(counts[2])

    def left(self) -> Mapping[int, list[Left]]:
        """The lines that were not taken, by the number of their event."""
        found: dict[int, list[Left]] = {}
        event = np.searchsorted(self._firsts, self._left[:, 0], side="right") - 1
        for one, (where, first, last) in zip(event.tolist(), self._left.tolist(), strict=True):
            number = where - int(self._firsts[one]) + 1
            found.setdefault(one, []).append(Left(number, self.bytes(first, last)))
        return found

    def taken_of(self, event: int) -> bool:
        """Whether any line of an event was taken."""
        taken = np.searchsorted(self.parts[:, parts.LINE], self._firsts[[event, event + 1]])
        return bool(taken[1] > taken[0])

    def line(self, at: int) -> tuple[int, bytes]:
        """A line that was taken: its number in its event, and itself."""
        number, begin, end = self.parts[at, [parts.LINE, parts.BEGIN, parts.END]].tolist()
        first = int(self._firsts[np.searchsorted(self._firsts, number, side="right") - 1])
        return number - first + 1, self.bytes(begin, end)

    def bytes(self, begin: int, end: int) -> bytes:
        """A stretch of text."""
        return self.text[begin:end].tobytes()

    def said(self, at: int, column: int) -> str:
        """What a line says of something, as text."""
        begin, end = self.parts[at, column : column + 2].tolist()
        return self.bytes(begin, end).decode()


def scannable(text: bytes) -> bool:
    """Whether an event's text may be read here: it begins with a resolved record."""
    return text.find(_KIND, 0, _HEAD) >= 0


def rows_of_scanned(
    scanned: Scanned, texts: Texts, now_us: int, one_lane: OneLane
) -> tuple[dict[str, Rows], list[Wrong]]:
    """The rows of each entity type, and the lines that fit none."""
    which = scanned.parts[:, parts.TYPE_OF]
    wrong = [
        Wrong(*scanned.line(at), "entity", f"there is no entity type {_shown(scanned, at)} in config")
        for at in np.flatnonzero(which < 0).tolist()
    ]
    rows: dict[str, Rows] = {}
    for number, (name, state) in enumerate(scanned.types.items()):
        at = np.flatnonzero(which == number)
        if len(at):
            found, bad = _Reading(scanned, number, state, texts, one_lane).rows(at, now_us)
            wrong += bad
            if len(found):
                rows[name] = found
    return rows, wrong


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_SHOWN = 80  # characters of what somebody else wrote


def _shown(scanned: Scanned, at: int) -> str:
    return repr(scanned.said(at, parts.TYPE)[:_SHOWN])


class _Reading:
    """Makes rows of one entity type of the lines of a batch."""

    def __init__(self, scanned: Scanned, number: int, state: TypeState, texts: Texts, one_lane: OneLane) -> None:
        self.scanned, self.number, self.state, self.texts, self.one_lane = scanned, number, state, texts, one_lane
        self.module, self.text = scanned.module, scanned.text
        self.scratch = np.empty(len(scanned.text), np.uint8)

    def rows(self, at: Int64s, now_us: int) -> tuple[Rows, list[Wrong]]:
        """The rows of the lines ``at``, and the lines that are wrong."""
        line = self.scanned.line
        source = self.scanned.parts[at, parts.SOURCE_OF]
        wrong = [Wrong(*line(one), "source", self._unmapped(one)) for one in at[source < 0].tolist()]
        if wrong:
            at, source = at[source >= 0], source[source >= 0]
        value, key = self.scanned.values[self.number], self.scanned.key
        if len(at) < len(value):
            value, key = value[at], key[at]
        bad = self._read(at, value)
        if bad:
            wrong += [Wrong(*line(int(at[row])), *why) for row, why in sorted(bad.items())]
            keep = np.ones(len(at), np.bool_)
            keep[list(bad)] = False
            at, source, value, key = at[keep], source[keep], value[keep], key[keep]
        entered = self._enter(at, source, value, key)
        return Rows(
            entity=entered[parts.ENTITY_OF],
            group=entered[parts.GROUP_OF],
            source=source,
            op=entered[parts.OP_OF].astype(np.int8),
            us=entered[parts.US_OF],
            rr=entered[parts.RR_OF],
            key=entered[parts.KEY_LANE],
            shown=entered[parts.SHOWN],
            event=entered[parts.EVENT],
            value=value,
            arrived_us=np.full(len(at), now_us, np.int64),
            revision=entered[parts.REVISION_OF],
        ), wrong

    def _unmapped(self, at: int) -> str:
        source = self.scanned.said(at, parts.SOURCE)[:_SHOWN]
        return f"no stream of source {source!r} is mapped to {self.state.plan.layout.entity!r}"

    def _read(self, at: Int64s, value: Int64s) -> dict[int, tuple[str, str]]:
        """Read the lanes of those rows that are not known; those of which one does not fit: {row: (field, reason)}."""
        layout = self.state.plan.layout
        left = np.empty((value.size + len(at), 4), np.int64)
        texts = self.texts.columns(self.module.reindex, len(at) * self._texts_a_line(), len(self.text))
        said = self.scanned.parts
        count = self.module.read_fields(self.text, said, at, parts.shape(layout), texts, value, left, self.scratch)
        bad: dict[int, tuple[str, str]] = {}
        left = left[:count]
        for row, number, begin, end in left[np.lexsort(left[:, 1::-1].T)].tolist():  # of a record's, the first is told
            if number < 0:
                self._record(row, int(at[row]), value, bad)
            else:
                self._value(row, number, msgspec.Raw(self.scanned.bytes(begin, end)), value, bad)
        return bad

    def _texts_a_line(self) -> int:
        return sum(field.kind in ("string", "json") for field in self.state.plan.layout.fields)

    def _record(self, row: int, at: int, value: Int64s, bad: dict[int, tuple[str, str]]) -> None:
        """A whole record, value by value."""
        begin, end = self.scanned.parts[at, [parts.FIELDS, parts.END]].tolist()
        said = _fields(b"{" + self.scanned.bytes(begin, end - len("}}")))
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

    def _enter(self, at: Int64s, source: Int64s, value: Int64s, key: Int64s) -> npt.NDArray[np.int64]:
        """Entities, groups and texts of the lines, int64 [ENTERED, n]; what is new is remembered."""
        n, size, reindex = len(at), len(self.text), self.module.reindex
        entered, left = np.empty((parts.ENTERED, n), np.int64), np.empty(n, np.int64)
        entities = self.state.entities.columns(n, size, reindex)
        texts, ids = self.texts.columns(reindex, 2 * n, 2 * size), self.texts.id_columns(reindex, n)
        self.state.prints.room(len(self.state.ids) + n)
        rows = self.state.prints.of, SECRET, source, value, key
        count = self.module.enter(
            self.text, self.scanned.parts, at, entities, texts, ids, *rows, entered, left, self.scratch
        )
        for row in left[:count].tolist():
            entity = self._entity(int(at[row]))
            entered[parts.ENTITY_OF, row] = entity
            entered[parts.GROUP_OF, row] = self.state.group_of[entity]
            entered[parts.SHOWN, row] = self.state.shown[entity]
        return entered

    def _entity(self, at: int) -> int:
        """The number of one line's entity, which is remembered."""
        said = self.scanned.said
        whole = self.scanned.parts[at, [parts.ENTITY_HIGH, parts.ENTITY_LOW]]
        (entity_id,) = ids_of(whole[:1], whole[1:])
        match_key = said(at, parts.MATCH)
        group = entity_id if self.scanned.parts[at, parts.GROUP] < 0 else said(at, parts.GROUP)
        key, source, stream = (said(at, column) for column in (parts.KEY, parts.SOURCE, parts.STREAM))
        shown = key if match_key == own_key(source, stream, key) else match_key
        return self.state.entities.add(entity_id, match_key, group, self.texts.lane(shown))
