"""An entity type's conditions as programs (shared/cel/program.py): of all states, and of the events of each field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import batched
from typing import NamedTuple

from flockiq.shared.cel.kinds import Kind
from flockiq.shared.cel.program import Lanes, Program, program
from flockiq.shared.cel.terms import Term
from flockiq.shared.layout import Layout
from flockiq.signal.watch import BEYOND, KEY, Watch

_BITS = 62  # of a word that are used
_TEXT, _REAL = Lanes("string"), Lanes("float", real=True)
_OF_A_DELTA = {"relative_change": _REAL, "field": _TEXT, "source": _TEXT}
_OF_A_SCORE = dict.fromkeys(("score", "new", "expected", "low", "high"), _REAL)
_ALWAYS = Term("const", Kind.BOOL, value=True)
_NEVER = Term("const", Kind.BOOL, value=False)
_SCORE = Term("name", Kind.DOUBLE, value="score")


class Part(NamedTuple):
    """A program whose bit number i is of the rule of ``orders[i]``."""

    program: Program
    orders: tuple[int, ...]


class Programs:
    """``states``: by rules' numbers; ``changes``, ``scores``: by field, a program for each so many rules."""

    def __init__(self, watches: Sequence[Watch], layout: Layout) -> None:
        self._names = [field.name for field in layout.fields]
        self._read = {field.name: Lanes(field.kind, field.scale) for field in layout.fields} | {KEY: _TEXT}
        self._layout = layout
        drifts = {drifts_on(number): Lanes("boolean") for number in range(len(layout.tolerances))}
        states = [(watch.number, self._state(watch)) for watch in watches if watch.is_state]
        self.states = program(states, self._names, self._read | drifts)
        self.changes = self._of_events(watches, "change", _condition, self._of_a_delta)
        self.scores = self._of_events(watches, "anomaly", _unusual, lambda _: _OF_A_SCORE)

    def _state(self, watch: Watch) -> Term:
        """Where a state holds."""
        if watch.kind == "threshold":
            return _condition(watch)
        drifts = (
            Term("name", Kind.BOOL, value=drifts_on(number))
            for number, tolerance in enumerate(self._layout.tolerances)
            if tolerance.field in watch.fields
        )
        return _and(reduce(_or, drifts, _NEVER), _condition(watch))

    def _of_a_delta(self, number: int) -> dict[str, Lanes]:
        field = self._layout.fields[number]
        return _OF_A_DELTA | dict.fromkeys(("old", "new"), Lanes(field.kind, field.scale))

    def _of_events(
        self,
        watches: Iterable[Watch],
        kind: str,
        condition: Callable[[Watch], Term],
        names: Callable[[int], dict[str, Lanes]],
    ) -> Mapping[int, tuple[Part, ...]]:
        """The programs of the rules of a kind of event, by field."""
        by_field: dict[int, list[tuple[int, Term]]] = defaultdict(list)
        for order, watch in enumerate(watches):
            if watch.kind == kind:
                for number in dict.fromkeys(watch.fields):
                    by_field[number].append((order, condition(watch)))
        return {
            number: tuple(self._part(some, self._read | names(number)) for some in batched(asked, _BITS, strict=False))
            for number, asked in by_field.items()
        }

    def _part(self, some: Sequence[tuple[int, Term]], read: Mapping[str, Lanes]) -> Part:
        conditions = [(bit, term) for bit, (_, term) in enumerate(some)]
        return Part(program(conditions, self._names, read), tuple(order for order, _ in some))


def drifts_on(tolerance: int) -> str:
    """What the column is called that says where a tolerance is exceeded."""
    return f"drift {tolerance}"


def _condition(watch: Watch) -> Term:
    """Where a rule's condition is true; without one, everywhere."""
    term = watch.condition.term if watch.condition is not None else _ALWAYS
    if term is None:
        raise AssertionError(f"{watch.name}: a condition is always a term")
    return term


def _unusual(watch: Watch) -> Term:
    """Where a number is unlike its history by a rule's condition; without one, by the usual measure."""
    if watch.condition is None:
        size = Term("abs", Kind.DOUBLE, (_SCORE,))
        return Term(">", Kind.BOOL, (size, Term("const", Kind.DOUBLE, value=BEYOND)))
    return _and(Term("!", Kind.BOOL, (Term("null", Kind.BOOL, (_SCORE,)),)), _condition(watch))


def _and(one: Term, other: Term) -> Term:
    return Term("&&", Kind.BOOL, (one, other))


def _or(one: Term, other: Term) -> Term:
    return Term("||", Kind.BOOL, (one, other))
