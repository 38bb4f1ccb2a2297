"""Which states are asked of each row, and what turns there: compiled, as signal/by_columns.py does it with numpy.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, borrowing
from flockiq.shared.machine.memory import lowest
from flockiq.signal.hits import BEGINS, ENDS, GOES_ON, PASSES


@borrowing
def ask(
    delta_row: Array,
    delta_field: Array,
    fresh: Array,
    reads: Array,
    shows: Array,
    first: int,
    always: int,
    renamed: int,
    asked: Array,
    shown: Array,
) -> None:
    """The words (signal/ruleset.py) of what is asked of each row, and of what shows something that is new there."""
    for row in range(len(fresh)):
        asked[row] = always | first if fresh[row] else always
        shown[row] = renamed
    for delta in range(len(delta_row)):
        row, field = delta_row[delta], delta_field[delta]
        asked[row] |= reads[field]
        shown[row] |= shows[field]


@borrowing
def turn(
    previous: Array, before: Array, asked: Array, held: Array, shown: Array, waiting: int, after: Array, told: Array
) -> int:
    """The bits that hold ``after`` each row, and of which of them something is ``told``; returns how many these are."""
    count = 0
    for row in range(len(previous)):
        was = after[previous[row]] if previous[row] >= 0 else before[row]
        now = (held[row] & asked[row]) | (was & ~asked[row])
        after[row] = now
        bits = (was ^ now) | (was & now & (shown[row] | waiting))
        told[row] = bits
        while bits:
            bits &= bits - 1
            count += 1
    return count


@borrowing
def tell(
    previous: Array,
    before: Array,
    after: Array,
    told: Array,
    shown: Array,
    order_of: Array,
    hit_row: Array,
    hit_order: Array,
    hit_what: Array,
) -> None:
    """What is told, one by one; ``order_of``: int64 [64], by number."""
    hit = 0
    for row in range(len(previous)):
        bits = told[row]
        if not bits:
            continue
        was = after[previous[row]] if previous[row] >= 0 else before[row]
        while bits:
            number = lowest(bits)
            bits &= bits - 1
            bit = np.int64(1) << number
            hit_row[hit], hit_order[hit] = row, order_of[number]
            if was & after[row] & bit:
                hit_what[hit] = GOES_ON if shown[row] & bit else PASSES
            else:
                hit_what[hit] = ENDS if was & bit else BEGINS
            hit += 1
