"""An entity type's conditions as programs (shared/cel/program.py): of all states, and of the events of each field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import batched, chain
from typing import NamedTuple

from flockiq.shared.cel.kinds import Kind
from flockiq.shared.cel.program import Lanes, Program, program
from flockiq.shared.cel.terms import Term
from flockiq.shared.layout import Field, Layout
from flockiq.signal.watch import BEYOND, KEY, Watch

STATES, CHANGES, SCORES = range(3)
"""What a program is asked of: rows, deltas of its field, or what a baseline says of its field."""

_BITS = 62  # of a word that are used
_TEXT, _REAL = Lanes("string"), Lanes("float", real=True)
_OF_A_DELTA = {"field": _TEXT, "source": _TEXT}
_OF_A_SCORE = dict.fromkeys(("score", "new", "expected", "low", "high"), _REAL)
_ALWAYS = Term("const", Kind.BOOL, value=True)
_NEVER = Term("const", Kind.BOOL, value=False)
_SCORE = Term("name", Kind.DOUBLE, value="score")
_ORDERED = {"change": CHANGES, "anomaly": SCORES}


class Part(NamedTuple):
    """A program, what it is asked of, and the field of that; its bit number i is of the rule of ``orders[i]``.

    ``ranks``: as which of its fields each rule is told of this one: changes as the rule names them, scores as the
    baselines stand.
    """

    program: Program
    asked_of: int
    field: int
    orders: tuple[int, ...]
    ranks: tuple[int, ...]


def parts(watches: Sequence[Watch], layout: Layout) -> tuple[Part, ...]:
    """The programs of some rules, that of the states, whose bits are the rules' numbers, first."""
    names = [field.name for field in layout.fields]
    read = {field.name: Lanes(field.kind, field.scale) for field in layout.fields} | {KEY: _TEXT}
    drifts = {drifts_on(number): Lanes("boolean") for number in range(len(layout.tolerances))}
    states = [(watch.number, _state(watch, layout)) for watch in watches if watch.is_state]
    of_states = Part(program(states, names, read | drifts), STATES, -1, (), ())
    return of_states, *chain(
        _of_events(watches, "change", layout, names, read),
        _of_events(watches, "anomaly", layout, names, read),
    )


def drifts_on(tolerance: int) -> str:
    """What the column is called that says where a tolerance is exceeded."""
    return f"drift {tolerance}"


def _of_events(
    watches: Iterable[Watch], kind: str, layout: Layout, names: Sequence[str], read: Mapping[str, Lanes]
) -> Iterator[Part]:
    """The programs of the rules of a kind of event, field by field."""
    learning = [one.field for one in layout.baselines]
    by_field: dict[int, list[tuple[int, int, Watch]]] = defaultdict(list)
    for order, watch in enumerate(watches):
        if watch.kind == kind:
            asked = watch.fields if kind == "change" else [field for field in learning if field in watch.fields]
            for rank, number in enumerate(dict.fromkeys(asked)):
                by_field[number].append((order, rank, watch))
    for number, told in by_field.items():
        field = layout.fields[number]
        changed = _OF_A_DELTA | dict.fromkeys(("old", "new"), Lanes(field.kind, field.scale))
        own, condition = (changed, _changed(field)) if kind == "change" else (_OF_A_SCORE, _unusual)
        for some in batched(told, _BITS, strict=False):
            conditions = [(bit, condition(watch)) for bit, (_, _, watch) in enumerate(some)]
            orders, ranks, _ = zip(*some, strict=True)
            yield Part(program(conditions, names, {**read, **own}), _ORDERED[kind], number, orders, ranks)


def _state(watch: Watch, layout: Layout) -> Term:
    """Where a state holds."""
    if watch.kind == "threshold":
        return _condition(watch)
    drifts = (
        Term("name", Kind.BOOL, value=drifts_on(number))
        for number, tolerance in enumerate(layout.tolerances)
        if tolerance.field in watch.fields
    )
    return _and(reduce(_or, drifts, _NEVER), _condition(watch))


def _condition(watch: Watch) -> Term:
    """Where a rule's condition is true; without one, everywhere."""
    term = watch.condition.term if watch.condition is not None else _ALWAYS
    if term is None:
        raise AssertionError(f"{watch.name}: a condition is always a term")
    return term


def _changed(field: Field) -> Callable[[Watch], Term]:
    """Where a change of a field is one that a rule watches for."""
    kind = Kind.INT if field.kind == "integer" else Kind.DOUBLE
    old, new = (Term("name", kind, value=name) for name in ("old", "new"))
    if kind is Kind.INT:
        old, new = (Term("double", Kind.DOUBLE, (one,)) for one in (old, new))
    more = Term("-", Kind.DOUBLE, (new, old))
    relative = Term("/", Kind.DOUBLE, (more, Term("abs", Kind.DOUBLE, (old,))))
    return lambda watch: _with(_condition(watch), "relative_change", relative)


def _with(term: Term, name: str, meant: Term) -> Term:
    """A term in which a name stands for another term."""
    if term.op == "name" and term.value == name:
        return meant
    return term._replace(arguments=tuple(_with(one, name, meant) for one in term.arguments))


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
