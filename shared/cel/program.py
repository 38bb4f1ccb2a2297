"""Programs: the terms of many conditions as one list of instructions, each different operation once.

An instruction is (op, out, a, b, c): a register to write and up to three to read. A register holds a block of
rows' values, as int64, float64 or bool, and where they are null. What is the same for all rows comes first and is
done once; then come the rest, block by block. Which conditions hold is told as a word a row, with a bit for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum, auto
from typing import NamedTuple, cast

import numpy as np

from flockiq.shared.cel.kinds import Kind
from flockiq.shared.cel.terms import Look, Run, Term
from flockiq.shared.lanes import Bools, Floats, Int64s, LaneType

BLOCK = 256
"""Rows that are done at once: few enough for all registers to stay in the cache."""


class Op(IntEnum):
    """What an instruction does; WHOLE, REAL or TRUTH say with int64, float64 or bool."""

    CONST_WHOLE = 0  # a: the number of the constant; b: 1 where it is null
    CONST_REAL = auto()
    CONST_TRUTH = auto()  # a: the constant itself
    LOAD_WHOLE = auto()  # a: the number of the column; lanes as they are
    LOAD_DAY = auto()  # lanes that are days, in µs
    LOAD_SCALED = auto()  # lanes over the constant float64 number b
    LOAD_BITS = auto()  # lanes of float64
    LOAD_TRUTH = auto()
    LOAD_REAL = auto()  # float64; NaN is null
    HOLDS = auto()  # where a is true: bit b of the word
    DOUBLE = auto()
    NULL = auto()
    NOT = auto()
    AND = auto()
    OR = auto()
    CHOOSE_WHOLE = auto()
    CHOOSE_REAL = auto()
    CHOOSE_TRUTH = auto()
    EQ_TRUTH = auto()
    NE_TRUTH = auto()
    LT_TRUTH = auto()
    LE_TRUTH = auto()
    EQ_WHOLE = auto()
    NE_WHOLE = auto()
    LT_WHOLE = auto()
    LE_WHOLE = auto()
    ADD_WHOLE = auto()
    SUB_WHOLE = auto()
    MUL_WHOLE = auto()
    DIV_WHOLE = auto()
    MOD_WHOLE = auto()
    MINUS_WHOLE = auto()
    ABS_WHOLE = auto()
    EQ_REAL = auto()
    NE_REAL = auto()
    LT_REAL = auto()
    LE_REAL = auto()
    ADD_REAL = auto()
    SUB_REAL = auto()
    MUL_REAL = auto()
    DIV_REAL = auto()
    MINUS_REAL = auto()
    ABS_REAL = auto()


class Lanes(NamedTuple):
    """How a column of int64 is read: lanes of a type, or, where ``real``, float64 with NaN for null."""

    kind: LaneType
    scale: int = 0
    real: bool = False


class Given(NamedTuple):
    """A column that no instruction makes: ``bits`` are those of the conditions that need it.

    ``look``: what it asks of the texts of column ``of``, if that is all.
    """

    run: Run
    kind: Kind
    bits: int
    look: Look | None
    of: int


class Program(NamedTuple):
    """Instructions, int64 [P, 5], the first ``steady`` of which are done once, and their constants.

    ``extra``: the columns that stand behind those that the writer was told of: by name, or given.
    """

    code: Int64s
    steady: int
    wholes: Int64s
    reals: Floats
    extra: tuple[str | Given, ...]

    def shifted(self, wholes: int, reals: int) -> Int64s:
        """The instructions, to stand where so many constants of others stand before theirs."""
        code, op = self.code.copy(), self.code[:, 0]
        code[op == Op.CONST_WHOLE, 2] += wholes
        code[op == Op.CONST_REAL, 2] += reals
        code[op == Op.LOAD_SCALED, 3] += reals
        return code


def program(conditions: Sequence[tuple[int, Term]], columns: Sequence[str], read: Mapping[str, Lanes]) -> Program:
    """A program that tells where conditions, each with its bit, hold. KeyError if a name is not in ``read``."""
    writing = _Writing(columns, read)
    for bit, term in conditions:
        writing.holds(writing.register(term, bit), bit)
    return writing.program()


_SORTS: Mapping[Kind, str] = {Kind.DOUBLE: "REAL", Kind.BOOL: "TRUTH"}
_ORDERS = {"==": "EQ", "!=": "NE", "<": "LT", "<=": "LE", ">": "LT", ">=": "LE"}
_SUMS = {"+": "ADD", "-": "SUB", "*": "MUL", "/": "DIV", "%": "MOD", "minus": "MINUS", "abs": "ABS"}
_PLAIN = {"null": Op.NULL, "double": Op.DOUBLE, "!": Op.NOT, "&&": Op.AND, "||": Op.OR}
_LOADS: Mapping[LaneType, Op] = {
    "float": Op.LOAD_BITS,
    "boolean": Op.LOAD_TRUTH,
    "date": Op.LOAD_DAY,
}
_OF_GIVEN = {Kind.DOUBLE: Lanes("float", real=True), Kind.BOOL: Lanes("boolean")}


class _Writing:
    """A program as it is written: a register an instruction."""

    def __init__(self, columns: Sequence[str], read: Mapping[str, Lanes]) -> None:
        self._columns: dict[str | Term, int] = {name: number for number, name in enumerate(columns)}
        self._first, self._read = len(self._columns), read
        self._code: list[tuple[int, int, int, int, int]] = []
        self._steady: set[int] = set()
        self._wholes: list[int] = []
        self._reals: list[float] = []
        self._made: dict[Term, int] = {}
        self._bits: dict[Term, int] = {}

    def register(self, term: Term, bit: int) -> int:
        """The register of a term that the condition with this bit needs."""
        if term.op == "given":
            self._bits[term] = self._bits.get(term, 0) | 1 << bit
        of = [self.register(one, bit) for one in term.arguments]
        if term not in self._made:
            self._made[term] = self._write(term, of)
        return self._made[term]

    def holds(self, register: int, bit: int) -> None:
        """Tell where a register is true."""
        self._add(Op.HOLDS, register, bit)

    def program(self) -> Program:
        """What was written: what is the same for all rows comes first."""
        order = sorted(range(len(self._code)), key=lambda at: at not in self._steady)
        extra = [one for one, number in self._columns.items() if number >= self._first]
        return Program(
            np.array([self._code[at] for at in order], np.int64).reshape(-1, 5),
            len(self._steady),
            np.array(self._wholes, np.int64),
            np.array(self._reals, np.float64),
            tuple(one if isinstance(one, str) else self._given(one) for one in extra),
        )

    def _given(self, one: Term) -> Given:
        look = one.look
        of = self._columns[look.name] if look is not None else -1
        return Given(cast("Run", one.run), one.kind, self._bits[one], look, of)

    def _add(self, op: Op, a: int, b: int = 0, c: int = 0, *, steady: bool = False) -> int:
        out = len(self._code)
        self._code.append((op, out, a, b, c))
        if steady:
            self._steady.add(out)
        return out

    def _write(self, term: Term, of: Sequence[int]) -> int:
        if term.op == "const":
            return self._constant(term)
        if term.op in ("name", "given"):
            return self._load(term)
        steady = self._steady.issuperset(of)
        if term.op in (">", ">="):
            of = of[::-1]
        return self._add(_operation(term), *of, steady=steady)

    def _constant(self, term: Term) -> int:
        null, value = term.value is None, term.value or 0
        if term.kind is Kind.DOUBLE:
            self._reals.append(float(value))
            return self._add(Op.CONST_REAL, len(self._reals) - 1, null, steady=True)
        if term.kind is Kind.BOOL:
            return self._add(Op.CONST_TRUTH, bool(value), null, steady=True)
        self._wholes.append(int(value))
        return self._add(Op.CONST_WHOLE, len(self._wholes) - 1, null, steady=True)

    def _load(self, term: Term) -> int:
        if term.op == "given":
            if term.look is not None:  # what it looks at stands before it
                self._columns.setdefault(term.look.name, len(self._columns))
            lanes = _OF_GIVEN.get(term.kind, Lanes("integer"))
            column = self._columns.setdefault(term, len(self._columns))
        else:
            name = str(term.value)
            lanes, column = self._read[name], self._columns.setdefault(name, len(self._columns))
        if lanes.real:
            return self._add(Op.LOAD_REAL, column)
        if lanes.kind == "decimal":
            self._reals.append(10.0**lanes.scale)
            return self._add(Op.LOAD_SCALED, column, len(self._reals) - 1)
        return self._add(_LOADS.get(lanes.kind, Op.LOAD_WHOLE), column)


def _operation(term: Term) -> Op:
    """The instruction of an operation."""
    plain = _PLAIN.get(term.op)
    if plain is not None:
        return plain
    if term.op == "?:":
        return Op[f"CHOOSE_{_SORTS.get(term.kind, 'WHOLE')}"]
    sort = _SORTS.get(term.arguments[0].kind, "WHOLE")
    return Op[f"{_ORDERS.get(term.op) or _SUMS[term.op]}_{sort}"]


class Registers(NamedTuple):
    """Room for a block's registers: int64, float64, bool and, where they are null, bool [P, B]."""

    whole: Int64s
    real: Floats
    truth: Bools
    null: Bools


def registers(instructions: int, n: int) -> Registers:
    """Room for a program of so many instructions over n items."""
    shape = instructions, min(max(n, 1), BLOCK)
    return Registers(
        np.empty(shape, np.int64), np.empty(shape, np.float64), np.empty(shape, np.bool_), np.empty(shape, np.bool_)
    )
