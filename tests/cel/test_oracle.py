"""Compiled expressions agree with an independent implementation of CEL, row by row.

Null has no counterpart in CEL: for the oracle a null variable is one that is not defined, so that
whatever depends on it fails. What we call null must be exactly what fails there. Two differences
are on purpose, and written into what the oracle is asked: int and double mix freely, and doubles
divided by zero are null.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import cel
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.compile import compile_cel
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.lanes import NULL, Texts
from tests.cel.by_program import by_program

SCHEMA = {
    "i": Kind.INT, "j": Kind.INT, "x": Kind.DOUBLE, "y": Kind.DOUBLE,
    "s": Kind.STRING, "t": Kind.STRING, "p": Kind.BOOL, "q": Kind.BOOL,
}  # fmt: skip
DTYPES = {Kind.INT: np.int64, Kind.DOUBLE: np.float64, Kind.STRING: object, Kind.BOOL: np.bool_}
UNDEFINED = "nothing"
LONGEST = 3_000  # characters; the oracle writes a divisor twice

Value = int | float | str | bool | None
Row = Mapping[str, Value]


class Pair(NamedTuple):
    """An expression as we write it, and as the oracle is asked; ``{null:x}`` there is whether x is null."""

    ours: str
    theirs: str


def both(text: str) -> Pair:
    """The same on both sides."""
    return Pair(text, text)


def joined(template: str, *parts: Pair) -> Pair:
    """Both sides of a template filled with pairs."""
    return Pair(template.format(*(part.ours for part in parts)), template.format(*(part.theirs for part in parts)))


def quoted(text: str) -> str:
    """A text as a CEL literal."""
    return "'" + "".join(f"\\u{ord(character):04x}" if character in "'\\" else character for character in text) + "'"


TEXTS = ["", "a", "ab", "B", "-", "'", "\\", "a b", "zz"]
WHOLE = [0, 1, -1, 2, 7, -7, 9, 2**62, -(2**62), 2**63 - 1, -(2**63)]
REAL = [0.0, 1.0, -1.5, 2.0, 7.25, -7.0, 1e6]
PATTERNS = ["^a", "b$", "[A-Z]+", "a.*b", "^$"]
ORDERS = ["==", "!=", "<", "<=", ">", ">="]
EDGES: Mapping[Kind, list[Value]] = {
    Kind.INT: [None, *WHOLE], Kind.DOUBLE: [None, *REAL], Kind.STRING: [None, *TEXTS], Kind.BOOL: [None, True, False]
}  # fmt: skip


class Grammar:
    """Random expressions of a kind, every alternative equally likely."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def of(self, kind: Kind, depth: int) -> Pair:
        """An expression of ``kind``, at most ``depth`` operators deep."""
        if depth == 0 or self._random.random() < 0.1:
            return self._leaf(kind)
        choose = {
            Kind.INT: (self._int_operation, self._minus, self._choice, self._size),
            Kind.DOUBLE: (self._double_operation, self._mixed_operation, self._quotient, self._choice),
            Kind.STRING: (self._concatenation, self._choice),
            Kind.BOOL: (
                self._logic, self._logic, self._logic, self._not, self._comparison, self._mixed_comparison,
                self._membership, self._asking, self._matching, self._null, self._choice,
            ),
        }[kind]  # fmt: skip
        return self._random.choice(choose)(kind, depth - 1)

    def row(self) -> Row:
        """Values for every variable; about one in four is null."""
        pick = self._random.choice
        return {name: None if pick(range(4)) == 0 else pick(EDGES[kind][1:]) for name, kind in SCHEMA.items()}

    def _leaf(self, kind: Kind) -> Pair:
        pick = self._random.choice
        if pick((True, True, False)):
            return both(pick([name for name, other in SCHEMA.items() if other is kind]))
        value = pick(EDGES[kind][1:])
        return both(quoted(value) if isinstance(value, str) else f"({str(value).lower()})")

    def _two(self, kind: Kind, depth: int) -> tuple[Pair, Pair]:
        return self.of(kind, depth), self.of(kind, depth)

    def _int_operation(self, kind: Kind, depth: int) -> Pair:
        return joined(f"({{}} {self._random.choice('+-*/%')} {{}})", *self._two(kind, depth))

    def _minus(self, kind: Kind, depth: int) -> Pair:
        of = self.of(kind, depth)
        return Pair(f"(-({of.ours}))", f"(0 - ({of.theirs}))")  # the oracle lets the least int wrap around

    def _size(self, _: Kind, depth: int) -> Pair:
        return joined("size({})", self.of(Kind.STRING, depth))

    def _double_operation(self, kind: Kind, depth: int) -> Pair:
        return joined(f"({{}} {self._random.choice('+-*')} {{}})", *self._two(kind, depth))

    def _mixed_operation(self, _: Kind, depth: int) -> Pair:
        return self._mixed(self._random.choice("+-*"), depth)

    def _mixed(self, operator: str, depth: int) -> Pair:
        left, right = self.of(Kind.INT, depth), self.of(Kind.DOUBLE, depth)
        return Pair(f"({left.ours} {operator} {right.ours})", f"(double({left.theirs}) {operator} {right.theirs})")

    def _quotient(self, kind: Kind, depth: int) -> Pair:
        over, under = self._two(kind, depth)
        theirs = f"({under.theirs} == 0.0 ? {UNDEFINED} : {over.theirs} / {under.theirs})"
        return Pair(f"({over.ours} / {under.ours})", theirs)

    def _concatenation(self, kind: Kind, depth: int) -> Pair:
        return joined("({} + {})", *self._two(kind, depth))

    def _choice(self, kind: Kind, depth: int) -> Pair:
        return joined("({} ? {} : {})", self.of(Kind.BOOL, depth), *self._two(kind, depth))

    def _logic(self, kind: Kind, depth: int) -> Pair:
        return joined(f"({{}} {self._random.choice(('&&', '||'))} {{}})", *self._two(kind, depth))

    def _not(self, kind: Kind, depth: int) -> Pair:
        return joined("(!{})", self.of(kind, depth))

    def _comparison(self, _: Kind, depth: int) -> Pair:
        kind = self._random.choice((Kind.INT, Kind.DOUBLE, Kind.STRING))
        return joined(f"({{}} {self._random.choice(ORDERS)} {{}})", *self._two(kind, depth))

    def _mixed_comparison(self, _: Kind, depth: int) -> Pair:
        return self._mixed(self._random.choice(ORDERS), depth)

    def _membership(self, _: Kind, depth: int) -> Pair:
        listed = ", ".join(map(quoted, self._random.choices(TEXTS, k=3)))
        return joined(f"({{}} in [{listed}])", self.of(Kind.STRING, depth))

    def _asking(self, _: Kind, depth: int) -> Pair:
        name = self._random.choice(("startsWith", "endsWith", "contains"))
        return joined(f"{{}}.{name}({{}})", *self._two(Kind.STRING, depth))

    def _matching(self, _: Kind, depth: int) -> Pair:
        return joined(f"{{}}.matches('{self._random.choice(PATTERNS)}')", self.of(Kind.STRING, depth))

    def _null(self, _: Kind, __: int) -> Pair:
        name = self._random.choice(list(SCHEMA))
        return self._random.choice(
            (
                Pair(f"({name} == null)", f"IS_NULL_{name}"),
                Pair(f"(null != {name})", f"(!IS_NULL_{name})"),
                Pair(f"has({name})", f"(!IS_NULL_{name})"),
            )
        )


def columns(table: Sequence[Row]) -> dict[str, Column]:
    """The rows as columns; what stands where a value is null is not zero, so that using it would show."""
    filler = {Kind.INT: 7, Kind.DOUBLE: np.nan, Kind.STRING: None, Kind.BOOL: True}
    made = {}
    for name, kind in SCHEMA.items():
        values: npt.NDArray[Any] = np.empty(len(table), DTYPES[kind])
        values[:] = [filler[kind] if row[name] is None else row[name] for row in table]
        made[name] = Column(values, np.array([row[name] is None for row in table], np.bool_))
    return made


def ask_oracle(text: str, row: Row) -> object:
    """The oracle's answer; None if it fails."""
    variables = {name: value for name, value in row.items() if value is not None}
    variables |= {f"IS_NULL_{name}": value is None for name, value in row.items()}
    try:
        return cel.evaluate(text, variables)
    except (RuntimeError, TypeError, ZeroDivisionError, OverflowError):
        return None


def in_lanes(given_: Mapping[str, Column]) -> dict[str, Column]:
    """The same columns with texts as their lanes."""
    texts, found = Texts(), dict(given_)
    for name, (values, null, _) in given_.items():
        if values.dtype == object:
            lanes = [NULL if none else texts.lane(text) for text, none in zip(values, null, strict=True)]
            found[name] = Column(np.array(lanes, np.int64), null, texts)
    return found


def either_way(text: str, kind: Kind, given_: Mapping[str, Column], n: int) -> Column:
    """Our answer, which is the same whether texts are objects or lanes, and from a program."""
    expression, lanes = compile_cel(text, SCHEMA, expect=kind), in_lanes(given_)
    answer, by_lanes = expression(given_, n), expression(lanes, n)
    if kind is not Kind.STRING:
        rows, by_machine = by_program(expression, SCHEMA, lanes, n)
        told = ~answer.null[rows]
        assert by_machine.null.tolist() == (~told).tolist(), text
        assert by_machine.values[told].tolist() == answer.values[rows][told].tolist(), text
    said = ~answer.null
    assert by_lanes.null.tolist() == answer.null.tolist(), text
    assert by_lanes.values[said].tolist() == answer.values[said].tolist(), text
    return answer


def agree(pair: Pair, kind: Kind, table: Sequence[Row]) -> None:
    """Assert that our answer and the oracle's are the same for every row, whether texts are objects or lanes."""
    answer = either_way(pair.ours, kind, columns(table), len(table))
    ours = [None if null else value for value, null in zip(answer.values.tolist(), answer.null.tolist(), strict=True)]
    theirs = [ask_oracle(pair.theirs, row) for row in table]
    assert ours == theirs, (pair, [row for row, our, their in zip(table, ours, theirs, strict=True) if our != their])
    assert answer.values.dtype == np.dtype(DTYPES[kind])


EVERY_OPERATION = [
    *((Kind.INT, f"i {operator} j") for operator in "+-*/%"),
    *((Kind.DOUBLE, f"x {operator} y") for operator in "+-*"),
    *((Kind.BOOL, f"{pair[0]} {order} {pair[1]}") for order in ORDERS for pair in ("ij", "xy", "st", "pq")),
    *((Kind.BOOL, f"s.{name}(t)") for name in ("startsWith", "endsWith", "contains")),
    *((Kind.BOOL, f"s.{name}('{text}')") for name in ("startsWith", "endsWith", "contains") for text in ("", "a", "z")),
    *((Kind.BOOL, f"s.matches('{pattern}')") for pattern in PATTERNS),
    (Kind.BOOL, "p && q"), (Kind.BOOL, "p || q"), (Kind.BOOL, "!p"), (Kind.DOUBLE, "-x"),
    (Kind.STRING, "s + t"), (Kind.INT, "size(s)"), (Kind.DOUBLE, "double(i)"), (Kind.INT, "p ? i : j"),
    (Kind.STRING, "p ? s : t"), (Kind.BOOL, "i in [1, 7]"), (Kind.BOOL, "x in [1.0, 2.0]"),
    (Kind.BOOL, "s in ['a', 'zz']"), (Kind.BOOL, "p ? q : !q"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), EVERY_OPERATION, ids=[text for _, text in EVERY_OPERATION])
def test_every_operation_agrees_on_every_pair_of_edge_values(kind: Kind, text: str) -> None:
    """Zeros, signs, the ends of 64 bits, empty texts and nulls, each with each."""
    names = [name for name in SCHEMA if re.search(rf"\b{name}\b", text)]
    blank = dict.fromkeys(SCHEMA)
    table = [
        {**blank, **dict(zip(names, values, strict=True))}
        for values in itertools.product(*(EDGES[SCHEMA[name]] for name in names))
    ]
    agree(both(text), kind, table)


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(list(DTYPES)))
def test_a_compiled_expression_gives_what_cel_gives(seed: int, kind: Kind) -> None:
    """Over random expressions up to four operators deep and random rows, nulls included."""
    grammar = Grammar(Random(seed))
    pair = grammar.of(kind, depth=4)
    if len(pair.theirs) < LONGEST:
        agree(pair, kind, [grammar.row() for _ in range(8)])


SAID = ["", "a", "A", "ab", "ba", "DE 1", "straße", "ΑΣ", "Σ", "İi", "z\x1fa", "\ud800a", "aa" * 40]


@pytest.mark.parametrize("function", ["lower(s)", "upper(s)", "trim(s)", "upper(lower(s))", "s"])
@pytest.mark.parametrize("asking", ["contains", "startsWith", "endsWith"])
@pytest.mark.parametrize("separated", [True, False])
def test_texts_by_lanes_give_what_texts_give(function: str, asking: str, separated: bool) -> None:  # noqa: FBT001
    """Scripts, letters whose case is longer or depends on what follows, and what stands between texts."""
    said = [text for text in SAID if separated or "\x1f" not in text]
    table = [{**dict.fromkeys(SCHEMA), "s": text, "t": said[0]} for text in [*said, None]]
    for part in [*said, "a\x1f"]:
        if "\ud800" not in part:
            either_way(f"{function}.{asking}({quoted(part)})", Kind.BOOL, columns(table), len(table))
    for text in (f"{function} == t", f"{function} in ['a', 'STRASSE']", f"size({function}) > 1", f"{function} < 'b'"):
        either_way(text, Kind.BOOL, columns(table), len(table))
    either_way(f"{function} + s", Kind.STRING, columns(table), len(table))
