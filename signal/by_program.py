"""Conditions evaluated by machine code: those of all rules in one pass over rows, deltas and scores.

What it can't find out (texts that are looked into in ways it does not know) numpy does, and it begins again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol, Self

import numpy as np

from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.cel.program import BLOCK, Given, registers
from flockiq.shared.laneindex import Reindex
from flockiq.shared.lanes import NULL, Bools, Floats, Int64s, Texts
from flockiq.signal.columns import Columns, FieldDeltas
from flockiq.signal.hits import Hits
from flockiq.signal.programs import CHANGES, STATES
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Seen
from flockiq.signal.table import Asked, Tabled
from flockiq.signal.watch import floats


class Machine(Protocol):
    """The compiled functions that judging needs."""

    @property
    def reindex(self) -> Reindex: ...  # noqa: D102
    @property
    def judge(self) -> Callable[..., int]: ...  # noqa: D102


class SeenColumns(NamedTuple):
    """What machine code reads of ``Seen``; of what baselines say: field, row, and the numbers."""

    previous: Int64s
    key: Int64s
    golden: Int64s
    fresh: Bools
    drift: Bools
    delta_row: Int64s
    delta_field: Int64s
    delta_old: Int64s
    delta_new: Int64s
    delta_source: Int64s
    score_field: Int64s
    score_row: Int64s
    number: Floats
    score: Floats
    expected: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, seen: Seen) -> Self:
        """Those columns."""
        rows = seen.previous, seen.key, seen.golden, seen.fresh, np.ascontiguousarray(seen.drift)
        deltas = seen.delta_row, seen.delta_field, seen.delta_old, seen.delta_new, seen.delta_source
        field, row, *numbers = seen.observed
        return cls(*rows, *deltas, field, row, *numbers)


class Room(NamedTuple):
    """Where machine code works, over at most r rows, d deltas and k scores of F fields; what it leaves.

    whole, real, truth, null: registers [P, B]; words, items, rows: int64 [B], extra: int64 [K, B], of a block's items;
    held: int64 [max(r, d, k)]. by_field: int64 [d], deltas_from: int64 [F + 1], the deltas by field, and where those
    of each begin; by_score, scores_from: likewise. asked, shown, after: int64 [r], words of states; begins: int64
    [r + 1].
    """

    whole: Int64s
    real: Floats
    truth: Bools
    null: Bools
    words: Int64s
    items: Int64s
    rows: Int64s
    extra: Int64s
    held: Int64s
    by_field: Int64s
    deltas_from: Int64s
    by_score: Int64s
    scores_from: Int64s
    asked: Int64s
    shown: Int64s
    after: Int64s
    begins: Int64s

    @classmethod
    def of(cls, told: Tabled, rows: int, deltas: int, scores: int, fields: int) -> Self:
        """Room to judge so many."""
        most = max(rows, deltas, scores)
        sizes = (BLOCK, BLOCK, BLOCK, (told.columns, BLOCK), most, deltas, fields + 1, scores, fields + 1)
        of_rows = (rows, rows, rows, rows + 1)
        columns = (np.empty(size, np.int64) for size in (*sizes, *of_rows))
        return cls(*registers(told.instructions, BLOCK), *columns)

    def fits(self, rows: int, deltas: int, scores: int) -> bool:
        """Whether there is room for so many."""
        return rows <= len(self.asked) and deltas <= len(self.by_field) and scores <= len(self.by_score)


class HitRoom(NamedTuple):
    """Where hits go: found, int64 [h, 4], before they are in order; row, key, what, item: int64 [h]."""

    found: Int64s
    row: Int64s
    key: Int64s
    what: Int64s
    item: Int64s

    @classmethod
    def of(cls, most: int) -> Self:
        """Room for so many."""
        return cls(np.empty((most, 4), np.int64), *(np.empty(most, np.int64) for _ in range(4)))


_SPARE = 1 << 16  # rows, deltas or scores: room for more is not kept for the next that a ruleset is to judge
_SOME = 64
_NONE, _NONE_REAL = np.array([NULL], np.int64), np.array([np.nan])
_OF_A_SCORE = {"score": "score", "new": "value", "expected": "expected", "low": "low", "high": "high"}


def by_program(rules: Ruleset, seen: Seen, before: Int64s, texts: Texts, machine: Machine) -> tuple[Int64s, Hits]:
    """The words of the states that hold after each row, int64 [r], and what is told of it."""
    told, columns, room = rules.tabled, SeenColumns.of(seen), _room(rules, seen)
    hits = HitRoom.of(len(seen.row) + _SOME)
    given, made = np.empty((len(told.given), 0), np.int64), np.zeros(len(told.given), np.bool_)
    while True:
        left, stored = np.zeros(len(made), np.bool_), texts.columns(machine.reindex)
        count = machine.judge(columns, before, told.table, given, made, left, stored, room, hits)
        if count > len(hits.row):
            hits = HitRoom.of(count)
        elif count >= 0:
            break
        else:
            golden = Columns(rules.layout, seen.golden, seen.key, texts)
            if not given.size:
                given = np.empty((len(told.given), len(room.held)), np.int64)
            for number in np.flatnonzero(left).tolist():
                one = told.given[number]
                n, rows, read = _asked(one, rules, seen, room.asked[: len(seen.row)], golden, texts)
                given[number, :n] = _made(one.given, n, rows, _Lazily(read))
            made |= left
    order, after = hits.key[:count] // rules.width, room.after[: len(seen.row)].copy()
    if len(room.held) <= _SPARE:
        rules.spare[:] = [room]
    return after, Hits(hits.row[:count], order, hits.what[:count], hits.item[:count])


def _room(rules: Ruleset, seen: Seen) -> Room:
    """Room to judge these: what judging before has left, if it is enough.

    It is one thread's alone: a snapshot may replay rows of one partition while those of another are folded.
    """
    sizes = len(seen.row), len(seen.delta_row), len(seen.observed.row)
    with contextlib.suppress(IndexError):
        spare = rules.spare.pop()
        if isinstance(spare, Room) and spare.fits(*sizes):
            return spare
    return Room.of(rules.tabled, *sizes, seen.golden.shape[1])


def _asked(
    one: Asked, rules: Ruleset, seen: Seen, asked: Int64s, golden: Columns, texts: Texts
) -> tuple[int, Int64s, Callable[[str], Column]]:
    """How many items a given column has, of which of them it is asked, and the columns that it is made from."""
    if one.part.asked_of == STATES:
        rows = np.flatnonzero(asked & np.int64(one.given.bits))
        return len(asked), rows, lambda name: golden.of((name,), rows)[name]
    if one.part.asked_of == CHANGES:
        deltas = FieldDeltas.of(one.part.field, rules.layout, seen, golden, texts)
        return len(deltas.row), np.arange(len(deltas.row)), lambda name: deltas.columns((name,))[name]
    scores = seen.observed.take(np.flatnonzero(seen.observed.field == one.part.field))

    def read(name: str) -> Column:
        own = _OF_A_SCORE.get(name)
        return golden.of((name,), scores.row)[name] if own is None else floats(getattr(scores, own))

    return len(scores.row), np.arange(len(scores.row)), read


class _Lazily(Mapping[str, Column]):
    """Columns that are made when they are read."""

    def __init__(self, made: Callable[[str], Column]) -> None:
        self._made = made

    def __getitem__(self, name: str) -> Column:
        return self._made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _made(given: Given, n: int, rows: Int64s, columns: Mapping[str, Column]) -> Int64s:
    """What numpy makes of some of n items, as lanes (of a double: its own bits); the others' are null."""
    with np.errstate(all="ignore"):
        values, null, _ = given.run(columns)
    if given.kind is Kind.DOUBLE:
        reals = _NONE_REAL.repeat(n)
        reals[rows] = np.where(null, np.nan, values)
        return reals.view(np.int64)
    lanes = _NONE.repeat(n)
    lanes[rows] = np.where(null, NULL, values)
    return lanes
