"""What compiled code tells deltas and golden records from, and where it writes them, as arrays."""

from __future__ import annotations

from collections.abc import Buffer, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.pipeline.entities import EntityColumns
from flockiq.pipeline.placing import Partitions, Placing
from flockiq.shared.ids import IdColumns
from flockiq.shared.lanes import Bools, Floats, Int64s
from flockiq.shared.pool import Rows, rows_of
from flockiq.shared.stored_texts import PADDING, TextColumns, Utf8
from flockiq.shared.tabular import Columns

FIXED_ROOM = 36
"""Bytes that no value but a text is longer than, in quotes; nor is an id."""

Int32s = npt.NDArray[np.int32]

BEGIN, TIME, SUBJECT, DATA, ENTITY, MATCH_KEY, NEW, RELATIVE, SOURCE_TIME, RETRACTS, END, RETRACTED, NOTHING = range(13)
OLD_TIME, NEW_TIME, DELTA_KINDS, DELTA_FIELDS = 13, 14, 15, 18
"""The literals of a delta's line, by number: one for each kind from DELTA_KINDS on, for each field from DELTA_FIELDS
on; then each field's name as a part of what an id is the hash of, then one for each teller. RETRACTED: the end of what
a retraction's id is the hash of; NOTHING: null."""

OF_TIME, OF_GONE, OF_FIELDS, OF_PROVENANCE, OF_SOURCES, SAID_STREAM = 4, 6, 7, 8, 9, 11
SAID_GONE, SAID_US, SAID_EVENT, SAID_VALUES, PLACE_US, PLACE_RUN, PLACE_ROW, GOLDEN_FIELDS = range(13, 21)
"""The literals of a golden record's line, where they are others than a delta's: behind the match key; before what a
source said and a value's position; one for each field from GOLDEN_FIELDS on, then for each source, then the beginnings
of a field's provenance, by field, teller and rule, then those that are people's."""

OTHER_RULES = ("first", "only", "together")
"""What a provenance calls its rule where none of the field's cascade decided: no rule told the sources apart, one alone
had a value, or the field goes with another."""

OLD_ROOM, NEW_ROOM, KEYS_ROOM, CAUSES_ROOM, HASHED_ROOM, LINES_ROOM = range(6)
"""How much room deltas need, by number; from LINES_ROOM on, by partition: bytes of lines, then how many lines."""

FIELDS_ROOM, SAID_ROOM, NAMES_ROOM, GOLDEN_ROOM = range(4)
"""The same of golden records, beyond what each needs: values, what sources say, match keys; then lines, as above."""


class About(NamedTuple):
    """What all that a commit tells has in common; ``version``: of golden records, µs, greater than the last."""

    tenant: str
    commit: int
    version: int
    now_us: int
    placing: Placing


class Told(NamedTuple):
    """What is told: the rows of a table, and lines by partition of a hub, each with its newline."""

    columns: Columns
    lines: Sequence[tuple[int, Rows]]


class Known(NamedTuple):
    """What lanes and numbers stand for: texts, ids, entities; partition, int16 [g], by group (pipeline/placing.py).

    kind int8 [F] and scale int64 [F]: of the fields (pipeline/parts.py).
    """

    texts: TextColumns
    ids: IdColumns
    entities: EntityColumns
    partition: Partitions
    kind: npt.NDArray[np.int8]
    scale: Int64s


class Literals(NamedTuple):
    """Texts that are written as they are: UTF-8 with PADDING behind, and where each begins, int64 [n + 1]."""

    utf8: Utf8
    bounds: Int64s


def literals(texts: Sequence[str]) -> Literals:
    """Texts for compiled code, by number."""
    rows = rows_of(texts)
    return Literals(padded(rows.utf8), np.concatenate([_BEGINNING, rows.ends]))


_BEGINNING = np.zeros(1, np.int64)


def padded(utf8: Buffer) -> Utf8:
    """Bytes that compiled code may read: a copy with PADDING behind them."""
    given = np.frombuffer(utf8, np.uint8)
    whole = np.empty(len(given) + PADDING, np.uint8)
    whole[: len(given)] = given
    return whole


def room_for(count: int, size: int) -> Rows:
    """Room for so many texts of so many bytes, and what may be written behind them."""
    return Rows(np.empty(size + PADDING, np.uint8), np.empty(count, np.int64))


_ID = 32  # bytes


def room_for_ids(count: int) -> Rows:
    """Room for so many ids."""
    return Rows(np.empty(_ID * count + PADDING, np.uint8), np.arange(_ID, _ID * count + 1, _ID))


def first(rows: Rows, count: int) -> Rows:
    """The texts that have been written."""
    ends = rows.ends[:count]
    return Rows(rows.utf8[: ends[-1]], ends)


class Lines(NamedTuple):
    """Room for lines by partition p: their bytes from begin[p] on, and where they end from there from first[p] on.

    begin, first: int64 [P]; at, written: int64 [P], how many bytes and lines have been written.
    """

    utf8: Utf8
    ends: Int64s
    begin: Int64s
    first: Int64s
    at: Int64s
    written: Int64s

    def told(self) -> list[tuple[int, Rows]]:
        """What has been written."""
        places = zip(*(column.tolist() for column in self[2:]), strict=True)
        return [
            (partition, Rows(self.utf8[begin : begin + size], self.ends[first : first + count]))
            for partition, (begin, first, size, count) in enumerate(places)
            if count
        ]


def lines_room(sizes: Int64s, counts: Int64s) -> Lines:
    """Room for lines of at most so many bytes, and so many of them, by partition."""
    room = sizes + PADDING
    ends, last = np.cumsum(room), np.cumsum(counts)
    at = np.zeros((2, len(sizes)), np.int64)
    bytes_, lines = (int(one[-1]) if len(one) else 0 for one in (ends, last))
    return Lines(np.empty(bytes_, np.uint8), np.empty(lines, np.int64), ends - room, last - counts, *at)


class ToldColumns(NamedTuple):
    """The columns of ``pipeline.world.DeltaRows``, all int64."""

    entity: Int64s
    field: Int64s
    kind: Int64s
    old: Int64s
    new: Int64s
    event: Int64s
    us: Int64s
    source: Int64s
    old_us: Int64s
    new_us: Int64s


class DeltaRoom(NamedTuple):
    """Room for n deltas: lines and columns, of which ids and retracts have 32 bytes a text.

    entity, cause: int32 [n], places among entities and match keys, and among causes; counts: int64 [2], how many of
    these there are; hashed: what an id is the hash of; state: uint64 [8] to hash with.
    """

    lines: Lines
    ids: Rows
    retracts: Rows
    old: Rows
    new: Rows
    entity: Int32s
    entities: Rows
    match_keys: Rows
    cause: Int32s
    causes: Rows
    counts: Int64s
    hashed: Utf8
    state: npt.NDArray[np.uint64]


class Said(NamedTuple):
    """Numbers that Python writes out, a line each in the order of their use: values, and relative changes.

    relative: float64 [n], NaN where there is none.
    """

    floats: Utf8
    ratios: Utf8
    relative: Floats


class GoldenForm(NamedTuple):
    """How many sources there are; by field, int64 [F]: how many rules, and its first literal."""

    sources: int
    rules: Int64s
    heads: Int64s


class GoldenTaken(NamedTuple):
    """Golden records: their entities, times (µs) and whether they are deleted, [n], and columns of ``Golden``.

    older_us, older_rr: int64 [m, F], positions by place (merge/ages.py).
    """

    entity: Int64s
    us: Int64s
    deleted: Bools
    golden: Int64s
    winner: npt.NDArray[np.int8]
    rule: npt.NDArray[np.int8]
    value: Int64s
    age: npt.NDArray[np.int8]
    older: Int32s
    seen_us: Int64s
    seen_rr: Int64s
    event: Int64s
    key: Int64s
    state: npt.NDArray[np.int8]
    older_us: Int64s
    older_rr: Int64s


class SaidGolden(NamedTuple):
    """Values that are floats, as in ``Said``; by_people: int64 [k, 2], fields (row * F + field) that people have set.

    And the literal of each, which is all of its provenance.
    """

    floats: Utf8
    by_people: Int64s


class GoldenRoom(NamedTuple):
    """Room for n golden records: lines and columns.

    float_at: int64 [1], zero; last: int64 [T, 4], zeros, the position written last of each teller.
    """

    lines: Lines
    ids: Rows
    match_keys: Rows
    fields: Rows
    provenance: Rows
    sources: Rows
    float_at: Int64s
    last: Int64s
