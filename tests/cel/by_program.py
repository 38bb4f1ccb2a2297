"""Expressions run as programs by machine code."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flockiq.pipeline import compiled
from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.compile import Expression
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.cel.program import BLOCK, Given, Lanes, Op, program, registers
from flockiq.shared.cel.terms import Term
from flockiq.shared.lanes import ABSENT, NULL, Int64s

_LANES = {Kind.INT: Lanes("integer"), Kind.STRING: Lanes("string"), Kind.BOOL: Lanes("boolean")}


def by_program(
    expression: Expression, kinds: Mapping[str, Kind], columns: Mapping[str, Column], n: int
) -> tuple[Int64s, Column]:
    """Which of n rows (those that lanes can tell), and the expression's values for them; texts stand as lanes.

    Columns that no lane can hold are made apart, as doubles are.
    """
    if expression.term is None:
        raise AssertionError("texts that are made are no term")
    tells = np.ones(n, np.bool_)
    for name, column in columns.items():
        if kinds[name] is Kind.INT:
            tells &= column.null | ((column.values != ABSENT) & (column.values != NULL))
    rows = np.flatnonzero(tells)
    some = {name: column.take(rows) for name, column in columns.items()}
    read = {name: _LANES.get(kind, Lanes("float", real=True)) for name, kind in kinds.items()}
    written = program([(3, Term("null", Kind.BOOL, (expression.term,)))], [], read)
    extra = [_given(one, some) if isinstance(one, Given) else _lanes(some[one]) for one in written.extra]
    blocks = []
    for begin in range(0, len(rows), BLOCK):  # the registers hold what was made of the last block
        at = np.arange(begin, min(begin + BLOCK, len(rows)))
        room, words = registers(len(written.code), len(at)), np.zeros(len(at), np.int64)
        functions = compiled.ready()
        if functions is None:
            raise AssertionError("machine code can't be loaded") from compiled.failure()
        code, _, wholes, reals, _ = written
        behind = np.array([one[at] for one in extra], np.int64).reshape(len(extra), len(at))
        nothing = np.empty((0, 0), np.int64)
        functions.run_block(code, 0, len(code), wholes, reals, nothing, at - begin, behind, len(at), *room, words)
        (register,) = code[code[:, 0] == Op.NULL][-1:, 2]
        values = {Kind.DOUBLE: room.real, Kind.BOOL: room.truth}.get(expression.kind, room.whole)[register]
        null = room.null[register]
        assert ((words == 1 << 3) == null).all()
        blocks.append((values, null))
    values, null = (np.concatenate(parts) for parts in zip(*blocks, strict=True)) if blocks else (rows, rows > 0)
    return rows, Column(values, null)


def _lanes(column: Column) -> Int64s:
    if column.values.dtype == np.float64:
        return np.where(column.null, np.nan, column.values).view(np.int64)
    return np.where(column.null, NULL, column.values).astype(np.int64)


def _given(given: Given, columns: Mapping[str, Column]) -> Int64s:
    n = len(next(iter(columns.values())).null)
    with np.errstate(all="ignore"):
        values, null, _ = given.run(columns)
    return _lanes(Column(np.broadcast_to(values, n), np.broadcast_to(null, n)))
