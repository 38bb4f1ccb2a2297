"""Programs (shared/cel/program.py) as machine code: one interpreter for all, so that no condition is compiled.

Each instruction is a loop over a block of rows, which LLVM makes vectors of; the block's registers stay in the
cache. It gives what shared/cel/operators.py gives, nulls included, and what a null stands on is no matter here either.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.cel.program import Op
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.machine.code import Array, borrowing, inlined
from flockiq.shared.machine.memory import real_of

_BELOW_SIGN = np.int64((1 << 63) - 1)
_LEAST = np.int64(-(1 << 63))
_DAY_US = np.int64(86_400_000_000)


@borrowing
def run_block(
    code: Array,
    first: int,
    end: int,
    wholes: Array,
    reals: Array,
    golden: Array,
    rows: Array,
    extra: Array,
    size: int,
    whole: Array,
    real: Array,
    truth: Array,
    null: Array,
    words: Array,
) -> None:
    """Do instructions ``first`` up to ``end`` for ``size`` items, adding what holds to their ``words``, int64 [B].

    ``golden``: int64 [m, F], the columns that the program was written for, of which item i reads row ``rows[i]``
    (int64 [B]); ``extra``: int64 [K, B], the others. ``whole``, ``real``, ``truth``, ``null``: int64, float64, bool
    and bool [P, B], the registers, of any content; what is the same for all rows may be done once for many blocks.
    """
    for at in range(first, end):
        _step(code, at, wholes, reals, golden, rows, extra, size, whole, real, truth, null, words)


@inlined
def _step(
    code: Array,
    at: int,
    wholes: Array,
    reals: Array,
    golden: Array,
    rows: Array,
    extra: Array,
    size: int,
    whole: Array,
    real: Array,
    truth: Array,
    null: Array,
    words: Array,
) -> None:
    """One instruction for ``size`` items."""
    op, o, a, b, c = code[at, 0], code[at, 1], code[at, 2], code[at, 3], code[at, 4]
    if op >= Op.EQ_REAL:
        _reals(op, o, a, b, size, real, truth, null)
    elif op >= Op.EQ_WHOLE:
        _wholes(op, o, a, b, size, whole, truth, null)
    elif op > Op.HOLDS:
        _truths(op, o, a, b, c, size, whole, real, truth, null)
    elif op == Op.HOLDS:
        for j in range(size):
            words[j] |= np.int64(truth[a, j] & (not null[a, j])) << b
    elif op >= Op.LOAD_WHOLE:
        _load(op, o, a, b, reals, golden, rows, extra, size, whole, real, truth, null)
    else:
        for j in range(size):
            null[o, j] = b != 0
            if op == Op.CONST_WHOLE:
                whole[o, j] = wholes[a]
            elif op == Op.CONST_REAL:
                real[o, j] = reals[a]
            else:
                truth[o, j] = a != 0


@inlined
def _load(
    op: int,
    o: int,
    column: int,
    power: int,
    reals: Array,
    golden: Array,
    rows: Array,
    extra: Array,
    size: int,
    whole: Array,
    real: Array,
    truth: Array,
    null: Array,
) -> None:
    """A column into a register."""
    fields = golden.shape[1]
    for j in range(size):
        whole[o, j] = golden[rows[j], column] if column < fields else extra[column - fields, j]
    if op == Op.LOAD_REAL:
        for j in range(size):
            real[o, j] = real_of(whole[o, j])
            null[o, j] = np.isnan(real[o, j])
        return
    for j in range(size):
        null[o, j] = (whole[o, j] == NULL) | (whole[o, j] == ABSENT)
    if op == Op.LOAD_DAY:
        for j in range(size):
            whole[o, j] *= _DAY_US
    elif op == Op.LOAD_SCALED:
        for j in range(size):
            real[o, j] = whole[o, j] / reals[power]
    elif op == Op.LOAD_BITS:
        for j in range(size):
            lane = whole[o, j]
            real[o, j] = real_of(lane ^ (_BELOW_SIGN & (lane >> 63)))
    elif op == Op.LOAD_TRUTH:
        for j in range(size):
            truth[o, j] = whole[o, j] == 1


@inlined
def _truths(
    op: int, o: int, a: int, b: int, c: int, size: int, whole: Array, real: Array, truth: Array, null: Array
) -> None:
    """What is about nulls and truth."""
    if op == Op.NULL:
        for j in range(size):
            truth[o, j] = null[a, j]
            null[o, j] = False
    elif op == Op.NOT:
        for j in range(size):
            truth[o, j] = not truth[a, j]
            null[o, j] = null[a, j]
    elif op == Op.AND:
        for j in range(size):
            true = truth[a, j] & truth[b, j] & (not (null[a, j] | null[b, j]))
            false = (not (truth[a, j] | null[a, j])) | (not (truth[b, j] | null[b, j]))
            truth[o, j] = true
            null[o, j] = not (true | false)
    elif op == Op.OR:
        for j in range(size):
            true = (truth[a, j] & (not null[a, j])) | (truth[b, j] & (not null[b, j]))
            false = not (truth[a, j] | null[a, j] | truth[b, j] | null[b, j])
            truth[o, j] = true
            null[o, j] = not (true | false)
    elif op == Op.DOUBLE:
        for j in range(size):
            real[o, j] = np.float64(whole[a, j])
            null[o, j] = null[a, j]
    elif op >= Op.EQ_TRUTH:
        for j in range(size):
            one, other = truth[a, j], truth[b, j]
            null[o, j] = null[a, j] | null[b, j]
            if op == Op.EQ_TRUTH:
                truth[o, j] = one == other
            elif op == Op.NE_TRUTH:
                truth[o, j] = one != other
            elif op == Op.LT_TRUTH:
                truth[o, j] = (not one) & other
            else:
                truth[o, j] = (not one) | other
    else:
        for j in range(size):
            at = b if truth[a, j] & (not null[a, j]) else c
            null[o, j] = null[a, j] | null[at, j]
            if op == Op.CHOOSE_WHOLE:
                whole[o, j] = whole[at, j]
            elif op == Op.CHOOSE_REAL:
                real[o, j] = real[at, j]
            else:
                truth[o, j] = truth[at, j]


@inlined
def _wholes(op: int, o: int, a: int, b: int, size: int, whole: Array, truth: Array, null: Array) -> None:
    """Integers: what is beyond 64 bits, or divided by zero, is null."""
    if op >= Op.MINUS_WHOLE:
        for j in range(size):
            one = whole[a, j]
            whole[o, j] = -one if (op == Op.MINUS_WHOLE) | (one < 0) else one
            null[o, j] = null[a, j] | (one == _LEAST)
        return
    for j in range(size):
        null[o, j] = null[a, j] | null[b, j]
    if op == Op.EQ_WHOLE:
        for j in range(size):
            truth[o, j] = whole[a, j] == whole[b, j]
    elif op == Op.NE_WHOLE:
        for j in range(size):
            truth[o, j] = whole[a, j] != whole[b, j]
    elif op == Op.LT_WHOLE:
        for j in range(size):
            truth[o, j] = whole[a, j] < whole[b, j]
    elif op == Op.LE_WHOLE:
        for j in range(size):
            truth[o, j] = whole[a, j] <= whole[b, j]
    elif op == Op.ADD_WHOLE:
        for j in range(size):
            one, other = whole[a, j], whole[b, j]
            total = one + other
            whole[o, j] = total
            null[o, j] |= ((one ^ total) & (other ^ total)) < 0
    elif op == Op.SUB_WHOLE:
        for j in range(size):
            one, other = whole[a, j], whole[b, j]
            total = one - other
            whole[o, j] = total
            null[o, j] |= ((one ^ other) & (one ^ total)) < 0
    else:
        _quotients(op, o, a, b, size, whole, null)


@borrowing
def _quotients(op: int, o: int, a: int, b: int, size: int, whole: Array, null: Array) -> None:
    """Products, quotients towards zero, and remainders of integers; their nulls are known as far as they come from."""
    for j in range(size):
        one, other = whole[a, j], whole[b, j]
        wraps = (one == _LEAST) & (other == -1)
        divisor = np.int64(1) if wraps | (other == 0) else other
        if op == Op.MUL_WHOLE:
            product = one * other
            whole[o, j] = product
            back = product // divisor
            null[o, j] |= wraps | ((other != 0) & ((back != one) | (back * divisor != product)))
            continue
        quotient = one // divisor
        rest = one - quotient * divisor
        if (rest != 0) & ((one < 0) != (divisor < 0)):  # it was rounded down, not towards zero
            quotient, rest = quotient + 1, rest - divisor
        whole[o, j] = quotient if op == Op.DIV_WHOLE else rest
        null[o, j] |= wraps | (other == 0)


@inlined
def _reals(op: int, o: int, a: int, b: int, size: int, real: Array, truth: Array, null: Array) -> None:
    """Doubles: what is not finite is null."""
    if op >= Op.MINUS_REAL:
        for j in range(size):
            real[o, j] = -real[a, j] if op == Op.MINUS_REAL else abs(real[a, j])
            null[o, j] = null[a, j]
        return
    for j in range(size):
        null[o, j] = null[a, j] | null[b, j]
    if op == Op.EQ_REAL:
        for j in range(size):
            truth[o, j] = real[a, j] == real[b, j]
    elif op == Op.NE_REAL:
        for j in range(size):
            truth[o, j] = real[a, j] != real[b, j]
    elif op == Op.LT_REAL:
        for j in range(size):
            truth[o, j] = real[a, j] < real[b, j]
    elif op == Op.LE_REAL:
        for j in range(size):
            truth[o, j] = real[a, j] <= real[b, j]
    else:
        for j in range(size):
            one, other = real[a, j], real[b, j]
            if op == Op.ADD_REAL:
                found = one + other
            elif op == Op.SUB_REAL:
                found = one - other
            elif op == Op.MUL_REAL:
                found = one * other
            else:
                found = one / other
            real[o, j] = found
            null[o, j] |= not np.isfinite(found)
