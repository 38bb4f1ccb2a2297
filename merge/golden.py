"""The fold: per entity, source and field the value with the greatest position wins.

Everything here is columns in, columns out. A ``Golden`` holds the state of many entities of one
type; ``fold`` takes one round of rows, at most one for an entity, and says how the golden records
changed.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flockiq.merge.survivorship import survivors
from flockiq.shared.arrays import Arrays
from flockiq.shared.lanes import ABSENT, NULL, Bools, Int64s, Texts
from flockiq.shared.layout import Layout
from flockiq.shared.rows import DELETE, ENDS, Rows

UNSEEN, PRESENT, DELETED = 0, 1, 2  # of a source's record


class Golden(Arrays):
    """The merge state of n entities of one type with S tellers (sources, people) and F fields.

    value, us, rr, hash: int64 [n, S, F], each source's value of each field and its position.
    seen_us, seen_rr, seen_hash: int64 [n, S], the greatest position of any row of that source.
    state: int8 [n, S] (UNSEEN, PRESENT, DELETED); key: int64 [n, S], the record key's text lane.
    golden: int64 [n, F]; winner: int8 [n, F], source index or -1; rule: int8 [n, F], the index in
    the field's cascade of the rule that decided; event: int64 [n, S], text lane of the id of the
    source's newest row.
    """

    value: Int64s
    us: Int64s
    rr: Int64s
    hash: Int64s
    seen_us: Int64s
    seen_rr: Int64s
    seen_hash: Int64s
    state: npt.NDArray[np.int8]
    key: Int64s
    event: Int64s
    golden: Int64s
    winner: npt.NDArray[np.int8]
    rule: npt.NDArray[np.int8]

    @classmethod
    def empty(cls, layout: Layout, n: int) -> Self:
        """State of ``n`` entities of which nothing is known."""
        sources, fields = len(layout.tellers), len(layout.fields)
        cube, face, flat = (n, sources, fields), (n, sources), (n, fields)
        return cls(
            value=np.full(cube, ABSENT, np.int64),
            us=np.full(cube, ABSENT, np.int64),
            rr=np.full(cube, ABSENT, np.int64),
            hash=np.full(cube, ABSENT, np.int64),
            seen_us=np.full(face, ABSENT, np.int64),
            seen_rr=np.full(face, ABSENT, np.int64),
            seen_hash=np.full(face, ABSENT, np.int64),
            state=np.zeros(face, np.int8),
            key=np.full(face, NULL, np.int64),
            event=np.full(face, NULL, np.int64),
            golden=np.full(flat, ABSENT, np.int64),
            winner=np.full(flat, -1, np.int8),
            rule=np.full(flat, -1, np.int8),
        )


class Folded(NamedTuple):
    """What a round did: rows align with the round's.

    before, after: int64 [r, F] golden values; source: int8 [r, F] the winner now; moved: bool [r],
    whether the row changed a value of its source.
    """

    before: Int64s
    after: Int64s
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
    delete, ends = rows.op == DELETE, rows.op == ENDS
    newest = ~ends & _newer(
        rows.us,
        rows.rr,
        rows.hash,
        golden.seen_us[entity, source],
        golden.seen_rr[entity, source],
        golden.seen_hash[entity, source],
    )
    said = ((rows.value != ABSENT) | delete[:, None]) & ~ends[:, None]
    moved = _fold_fields(golden, rows, said, newest)
    if ends.any():
        moved[ends] = _end(golden, rows.take(ends))
    _fold_records(golden, rows, delete, newest)

    before = golden.golden[entity]
    place = entity[:, None]

    def positions(fields: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        at = (place[:, :, None], np.arange(len(layout.sources))[None, :, None], fields[None, None, :])
        return golden.us[at], golden.rr[at], golden.hash[at]

    chosen = survivors(golden.value[entity], positions, layout, texts)
    golden.golden[entity] = chosen.value
    golden.winner[entity] = chosen.source
    golden.rule[entity] = chosen.rule
    return Folded(before=before, after=chosen.value, source=chosen.source, moved=moved)


def _fold_fields(golden: Golden, rows: Rows, said: Bools, newest: Bools) -> Bools:
    """Each field that a row says something of, if nothing newer is known; which rows changed a value, bool [r]."""
    entity, source = rows.entity, rows.source
    us, rr, tie = rows.us[:, None], rows.rr[:, None], rows.hash[:, None]
    take = said
    if not newest.all():  # only then can a field know something newer than its row
        take = said & _newer(
            us, rr, tie, golden.us[entity, source], golden.rr[entity, source], golden.hash[entity, source]
        )
    known = golden.value[entity, source]
    moved: Bools = (take & (known != rows.value)).any(axis=1)
    whole = bool(take.all())
    for state, given in ((golden.value, rows.value), (golden.us, us), (golden.rr, rr), (golden.hash, tie)):
        state[entity, source] = given if whole else np.where(take, given, state[entity, source])
    return moved


def _end(golden: Golden, rows: Rows) -> Bools:
    """End the overrides that rows name, where they are still what a person says last; which rows did, bool [r].

    The position stays, so that the override is not taken for news when it is told again.
    """
    entity, teller = rows.entity, rows.source
    value = golden.value[entity, teller]
    over = (rows.value != ABSENT) & (golden.hash[entity, teller] == rows.key[:, None]) & (value != ABSENT)
    golden.value[entity, teller] = np.where(over, ABSENT, value)
    ended: Bools = over.any(axis=1)
    return ended


def _fold_records(golden: Golden, rows: Rows, delete: Bools, newest: Bools) -> None:
    """What is known of the source's record as a whole."""
    e, s = rows.entity[newest], rows.source[newest]
    golden.seen_us[e, s], golden.seen_rr[e, s] = rows.us[newest], rows.rr[newest]
    golden.seen_hash[e, s] = rows.hash[newest]
    golden.state[e, s] = np.where(delete[newest], DELETED, PRESENT)
    golden.key[e, s] = rows.key[newest]
    golden.event[e, s] = rows.event[newest]
