"""The fold: per entity, source and field the value with the greatest position wins.

Everything here is columns in, columns out. A ``Golden`` holds the state of many entities of one
type; ``fold`` takes one round of rows, at most one for an entity, and says how the golden records
changed.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flockiq.merge.ages import NEVER, NEWEST, NOWHERE, OLDER, Older, Places
from flockiq.merge.survivorship import survivors
from flockiq.shared.arrays import Array, Arrays, Packed, Whole
from flockiq.shared.lanes import ABSENT, NULL, Bools, Int64s, Texts
from flockiq.shared.layout import Layout
from flockiq.shared.rows import DELETE, ENDS, Rows
from flockiq.shared.structs import Structs, Words

UNSEEN, PRESENT, DELETED = 0, 1, 2  # of a source's record


class Golden(Structs):
    """The merge state of n entities of one type with S tellers (sources, people) and F fields.

    value: int64 [n, S, F], each source's value of each field. age: int8 [n, S, F], when it was said:
    NEVER, with the source's NEWEST row, or OLDER; then its position is at place older, int32 [n, S],
    of table ``aged``. ``positions`` puts that together.
    seen_us, seen_rr, event: int64 [n, S], the greatest position of any row of that source; its last part is
    the text lane of that row's id.
    state: int8 [n, S] (UNSEEN, PRESENT, DELETED); key: int64 [n, S], the record key's text lane.
    golden: int64 [n, F]; winner: int8 [n, F], source index or -1; rule: int8 [n, F], the index in
    the field's cascade of the rule that decided. settled: bool [n], False where they were chosen by rules
    of another config.
    """

    value: Int64s
    age: npt.NDArray[np.int8]
    older: Places
    seen_us: Int64s
    seen_rr: Int64s
    event: Int64s
    state: npt.NDArray[np.int8]
    key: Int64s
    golden: Int64s
    winner: npt.NDArray[np.int8]
    rule: npt.NDArray[np.int8]
    settled: Bools

    def __init__(self, aged: Older | None = None, **columns: Array) -> None:
        super().__init__(**columns)
        self.aged = Older.empty(self.value.shape[2]) if aged is None else aged

    def _like(self, rows: Words) -> Self:
        """Others of the same columns, of which nobody has a place in ``aged``."""
        made = super()._like(rows)
        made.aged = Older.empty(self.value.shape[2])
        return made

    @classmethod
    def empty(cls, layout: Layout, n: int) -> Self:
        """State of ``n`` entities of which nothing is known."""
        sources, fields = len(layout.tellers), len(layout.fields)
        cube, face, flat = (n, sources, fields), (n, sources), (n, fields)
        return cls(
            value=np.full(cube, ABSENT, np.int64),
            age=np.full(cube, NEVER, np.int8),
            older=np.full(face, NOWHERE, np.int32),
            seen_us=np.full(face, ABSENT, np.int64),
            seen_rr=np.full(face, ABSENT, np.int64),
            state=np.zeros(face, np.int8),
            key=np.full(face, NULL, np.int64),
            event=np.full(face, NULL, np.int64),
            golden=np.full(flat, ABSENT, np.int64),
            winner=np.full(flat, -1, np.int8),
            rule=np.full(flat, -1, np.int8),
            settled=np.ones(n, np.bool_),
        )

    def positions(self, entity: Int64s, source: Int64s | int, field: Int64s) -> Positions:
        """The positions (us, rr, hash) of fields of sources of entities, in the shape that the three broadcast to."""
        entity, source, field = np.broadcast_arrays(entity, source, field)
        age = self.age[entity, source, field]
        newest, older = age == NEWEST, age == OLDER
        of_newest = entity[newest], source[newest]
        of_older = self.older[entity[older], source[older]], field[older]
        found = []
        for seen, aged in (
            (self.seen_us, self.aged.us),
            (self.seen_rr, self.aged.rr),
            (self.event, self.aged.hash),
        ):
            column = np.full(age.shape, ABSENT, np.int64)
            column[newest], column[older] = seen[of_newest], aged[of_older]
            found.append(column)
        return found[0], found[1], found[2]

    def said_us(self, entity: Int64s) -> Int64s:
        """When the winners said what they say of these entities' fields, int64 [r, F]; NULL where none has."""
        winner = self.winner[entity]
        us, _, _ = self.positions(entity[:, None], np.maximum(winner, 0), np.arange(winner.shape[1]))
        return np.where((winner < 0) | (us == ABSENT), NULL, us)

    def take(self, rows: Whole | Bools) -> Self:
        """A copy of these rows."""
        part = super().take(rows)
        there = part.older != NOWHERE
        places = part.aged.given(int(there.sum()))
        part.aged.put(places, self.aged.take(part.older[there]))
        part.older[there] = places
        return part

    def put(self, rows: Whole, other: Self) -> None:
        """Overwrite these rows, each given once, with ``other``'s."""
        mine, theirs = self.older[rows], other.older
        self.aged.freed(mine[mine != NOWHERE])
        super().put(rows, other)
        there = theirs != NOWHERE
        places = self.aged.given(int(there.sum()))
        self.aged.put(places, other.aged.take(theirs[there]))
        mine = theirs.copy()
        mine[there] = places
        self.older[rows] = mine

    def packed(self, rows: Int64s | None = None) -> Packed:
        """These rows (all by default) and what belongs to them of ``aged``."""
        part = self.take(np.arange(len(self)) if rows is None else rows)
        aged = part.aged.take(np.arange(len(part.aged) - part.aged.left))
        return {**Arrays.packed(part), **{_OLDER + name: column for name, column in aged.packed().items()}}

    @classmethod
    def unpacked(cls, packed: Packed) -> Self:
        """The rows that ``packed`` gave."""
        aged = Older.unpacked({name: packed[_OLDER + name] for name in Older.names})
        rows = super().unpacked({name: packed[name] for name in cls.names})
        rows.aged = aged
        return rows


_OLDER = "older_"  # what the columns of ``aged`` are written as

Positions = tuple[Int64s, Int64s, Int64s]


class Folded(NamedTuple):
    """What a round did: rows align with the round's.

    before, after: int64 [r, F] golden values; before_us, after_us: int64 [r, F] when their winners had said them,
    NULL where none had; source: int8 [r, F] the winner now; moved: bool [r], whether the row changed a value of its
    source.
    """

    before: Int64s
    after: Int64s
    before_us: Int64s
    after_us: Int64s
    source: npt.NDArray[np.int8]
    moved: Bools


def _newer(us: Int64s, rr: Int64s, tie: Int64s, than_us: Int64s, than_rr: Int64s, than_tie: Int64s) -> Bools:
    """Whether each position is greater than the other: by time, then run and row, then content hash."""
    same = us == than_us
    newer: Bools = (us > than_us) | (same & ((rr > than_rr) | ((rr == than_rr) & (tie > than_tie))))
    return newer


def fold(golden: Golden, layout: Layout, rows: Rows, texts: Texts) -> Folded:
    """Fold a round of rows into ``golden`` in place; ``rows.entity`` must not repeat."""
    entity, source = rows.entity, rows.source
    before, before_us = golden.golden[entity], golden.said_us(entity)
    delete, ends = rows.op == DELETE, rows.op == ENDS
    newest = ~ends & _newer(
        rows.us,
        rows.rr,
        rows.event,
        golden.seen_us[entity, source],
        golden.seen_rr[entity, source],
        golden.event[entity, source],
    )
    said = ((rows.value != ABSENT) | delete[:, None]) & ~ends[:, None]
    moved = _fold_fields(golden, rows, said, newest)
    if ends.any():
        moved[ends] = _end(golden, rows.take(ends))
    _fold_records(golden, rows, delete, newest)

    place = entity[:, None]

    def positions(fields: Int64s) -> Positions:
        return golden.positions(place[:, :, None], np.arange(len(layout.sources))[None, :, None], fields)

    chosen = survivors(golden.value[entity], positions, layout, texts)
    golden.golden[entity] = chosen.value
    golden.winner[entity] = chosen.source
    golden.rule[entity] = chosen.rule
    golden.settled[entity] = True
    return Folded(
        before=before,
        after=chosen.value,
        before_us=before_us,
        after_us=golden.said_us(entity),
        source=chosen.source,
        moved=moved,
    )


def _fold_fields(golden: Golden, rows: Rows, said: Bools, newest: Bools) -> Bools:
    """Each field that a row says something of, if nothing newer is known; which rows changed a value, bool [r]."""
    entity, source = rows.entity, rows.source
    take = said
    if not newest.all():  # only then can a field know something newer than its row
        field = np.arange(said.shape[1])
        than = golden.positions(entity[:, None], source[:, None], field)
        take = said & _newer(rows.us[:, None], rows.rr[:, None], rows.event[:, None], *than)
    known = golden.value[entity, source]
    moved: Bools = (take & (known != rows.value)).any(axis=1)
    golden.value[entity, source] = np.where(take, rows.value, known)
    _age(golden, rows, take, newest)
    return moved


def _age(golden: Golden, rows: Rows, take: Bools, newest: Bools) -> None:
    """Note when fields were said: those taken with their row, and those that their source's newest row left out."""
    entity, source = rows.entity, rows.source
    was, place = golden.age[entity, source], golden.older[entity, source]
    newest = newest[:, None]
    passed, behind = newest & ~take & (was == NEWEST), ~newest & take
    age = np.where(take & newest, NEWEST, np.where(passed | behind, OLDER, was)).astype(np.int8)
    golden.age[entity, source] = age
    needed = (age == OLDER).any(axis=1)
    gone, new = ~needed & (place != NOWHERE), needed & (place == NOWHERE)
    golden.aged.freed(place[gone])
    place[gone] = NOWHERE
    place[new] = golden.aged.given(int(new.sum()))
    golden.older[entity, source] = place
    seen = golden.seen_us[entity, source], golden.seen_rr[entity, source], golden.event[entity, source]
    for name, given, before in zip(Older.names, (rows.us, rows.rr, rows.event), seen, strict=True):
        column = getattr(golden.aged, name)
        for which, position in ((passed, before), (behind, given)):
            row, field = np.nonzero(which)
            column[place[row], field] = position[row]


def _end(golden: Golden, rows: Rows) -> Bools:
    """End the overrides that rows name, where they are still what a person says last; which rows did, bool [r].

    The position stays, so that the override is not taken for news when it is told again.
    """
    entity, teller = rows.entity, rows.source
    value = golden.value[entity, teller]
    _, _, said_by = golden.positions(entity[:, None], teller[:, None], np.arange(value.shape[1]))
    over = (rows.value != ABSENT) & (said_by == rows.key[:, None]) & (value != ABSENT)
    golden.value[entity, teller] = np.where(over, ABSENT, value)
    ended: Bools = over.any(axis=1)
    return ended


def _fold_records(golden: Golden, rows: Rows, delete: Bools, newest: Bools) -> None:
    """What is known of the source's record as a whole."""
    e, s = rows.entity[newest], rows.source[newest]
    golden.seen_us[e, s], golden.seen_rr[e, s] = rows.us[newest], rows.rr[newest]
    golden.event[e, s] = rows.event[newest]
    golden.state[e, s] = np.where(delete[newest], DELETED, PRESENT)
    golden.key[e, s] = rows.key[newest]
