"""Conditions evaluated by machine code: those of all states in one pass over the rows, those of events field by field.

What no instruction does (texts that are looked into) numpy does beforehand, of the rows on which it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.cel.program import Given, Program, registers
from flockiq.shared.lanes import NULL, Int64s
from flockiq.signal.columns import Columns, FieldDeltas
from flockiq.signal.hits import Hits
from flockiq.signal.programs import Part, drifts_on
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Observed, Seen
from flockiq.signal.watch import KEY, floats


class Machine(Protocol):
    """The compiled functions of shared/cel/rowprogram.py and signal/rowturns.py."""

    @property
    def run_program(self) -> Callable[..., None]: ...  # noqa: D102
    @property
    def ask(self) -> Callable[..., None]: ...  # noqa: D102
    @property
    def turn(self) -> Callable[..., int]: ...  # noqa: D102
    @property
    def tell(self) -> Callable[..., None]: ...  # noqa: D102


Read = Callable[[str], npt.NDArray[Any]]
"""The values of a named column of n items: lanes, or float64 with NaN for null."""

Some = Callable[[Given], tuple[Int64s, Mapping[str, Column]]]
"""Of which items something is to be given, and their columns."""


class ByProgram:
    """Some rows under judgement by machine code."""

    def __init__(self, rules: Ruleset, seen: Seen, columns: Columns, machine: Machine) -> None:
        self._rules, self._seen, self._columns, self._machine = rules, seen, columns, machine
        self._found: dict[tuple[str, int], dict[int, Int64s]] = {}

    def asked(self) -> tuple[Int64s, Int64s]:
        """The bits of the states that are asked of each row, and of those that show what is new there: int64 [r]."""
        rules, seen = self._rules, self._seen
        asked, shown = np.empty(len(seen.fresh), np.int64), np.empty(len(seen.fresh), np.int64)
        words = rules.reads, rules.shows, rules.asked_first, rules.always, rules.renamed
        self._machine.ask(seen.delta_row, seen.delta_field, seen.fresh, *words, asked, shown)
        return asked, shown

    def turned(self, before: Int64s, asked: Int64s, held: Int64s, shown: Int64s) -> tuple[Int64s, Hits]:
        """The bits that hold after each row, and what of it is told."""
        previous, rules = self._seen.previous, self._rules
        after, told = np.empty(len(asked), np.int64), np.empty(len(asked), np.int64)
        count = self._machine.turn(previous, before, asked, held, shown, rules.waiting, after, told)
        hits = Hits(np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64))
        if count:
            self._machine.tell(previous, before, after, told, shown, rules.order_of, hits.row, hits.order, hits.what)
        return after, hits

    def held(self, asked: Int64s) -> Int64s:
        """The bits of the states that hold on a row they are asked of, int64 [r]; of others nothing is said."""
        drift = self._seen.drift
        columns = {drifts_on(number): drift[:, number] for number in range(drift.shape[1])} | {KEY: self._seen.key}

        def some(given: Given) -> tuple[Int64s, Mapping[str, Column]]:
            rows = np.flatnonzero(asked & np.int64(given.bits))
            return rows, _Lazily(lambda name: self._columns.of((name,), rows)[name])

        return self._words(self._rules.programs.states, np.arange(len(asked)), columns.__getitem__, some)

    def changed(self, order: int, found: FieldDeltas) -> Int64s:
        """Which deltas of a field a change rule watches for."""
        known = self._found.get(("change", found.number))
        if known is None:
            every = np.arange(len(found.row))
            columns = _Lazily(lambda name: found.columns((name,))[name])
            parts = self._rules.programs.changes[found.number]
            words = [self._words(part.program, found.row, found.lanes, lambda _: (every, columns)) for part in parts]
            known = self._found["change", found.number] = dict(_by_rule(parts, words))
        return known.get(order, _NOTHING)

    def unusual(self, order: int, observed: Observed) -> Int64s:
        """Which values are unlike their own history by an anomaly rule."""
        known = self._found.get(("score", observed.field))
        if known is None:
            row, every = observed.row, np.arange(len(observed.row))
            own = {"new": observed.value} | {name: getattr(observed, name) for name in _OF_A_SCORE}

            def column(name: str) -> Column:
                return floats(own[name]) if name in own else self._columns.of((name,), row)[name]

            def read(name: str) -> npt.NDArray[Any]:
                return self._seen.key[row] if name == KEY else own[name]

            parts = self._rules.programs.scores[observed.field]
            columns = _Lazily(column)
            words = [self._words(part.program, row, read, lambda _: (every, columns)) for part in parts]
            known = self._found["score", observed.field] = dict(_by_rule(parts, words))
        return known.get(order, _NOTHING)

    def _words(self, program: Program, rows: Int64s, read: Read, some: Some) -> Int64s:
        """The words that a program gives for items, each of which reads a row."""
        n = len(rows)
        extra = np.empty((len(program.extra), n), np.int64)
        for number, one in enumerate(program.extra):
            if isinstance(one, Given):
                extra[number] = _given(one, n, *some(one))
            else:
                values = read(one)
                extra[number] = values.view(np.int64) if values.dtype == np.float64 else values
        words = np.empty(n, np.int64)
        code, steady, wholes, reals, _ = program
        self._machine.run_program(
            code, steady, wholes, reals, self._seen.golden, rows, extra, *registers(program, n), words
        )
        return words


_OF_A_SCORE = ("score", "expected", "low", "high")
_NOTHING = np.zeros(0, np.int64)
_NONE, _NONE_REAL = np.array([NULL], np.int64), np.array([np.nan])


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


def _given(given: Given, n: int, rows: Int64s, columns: Mapping[str, Column]) -> Int64s:
    """What numpy makes of some of n items, as lanes (of a double: its own bits); the others' are null."""
    if not len(rows):
        return _NONE_REAL.repeat(n).view(np.int64) if given.kind is Kind.DOUBLE else _NONE.repeat(n)
    with np.errstate(all="ignore"):
        values, null, _ = given.run(columns)
    if given.kind is Kind.DOUBLE:
        reals = _NONE_REAL.repeat(n)
        reals[rows] = np.where(null, np.nan, values)
        return reals.view(np.int64)
    lanes = _NONE.repeat(n)
    lanes[rows] = np.where(null, NULL, values)
    return lanes


def _by_rule(parts: Sequence[Part], words: Sequence[Int64s]) -> Iterator[tuple[int, Int64s]]:
    """Which items each rule holds of, for those that hold of any."""
    for part, word in zip(parts, words, strict=True):
        at = np.flatnonzero(word)
        if len(at):
            some = word[at]
            for bit, order in enumerate(part.orders):
                yield order, at[some >> bit & 1 != 0]
