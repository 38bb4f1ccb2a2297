"""What texts hold, begin with, end with, and how long they are: compiled, as shared/cel/texts.py has it of most texts.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.machine.code import Array, Columns, Whole, borrowing, number_of
from flockiq.signal.table import ENDS_WITH, LOWER, PLAIN, SIZE, STARTS_WITH, UPPER

LEFT = np.int64(-1)
"""Of a text that Python must look into."""


@borrowing
def look(lane: int, which: int, looks: Array, parts: Array, texts: Columns) -> Whole:
    """What a text is found to be, 0 or 1, or how long; NULL where there is none; LEFT for Python.

    In another case a text is taken where what its characters become cannot be more, or be ASCII, without being so
    before: of lower case, all but İ and the kelvin sign; of upper case, ASCII.
    """
    if lane == NULL or lane == ABSENT:
        return np.int64(NULL)
    number = number_of(texts.places, texts.lanes, lane)
    if number < 0:
        return LEFT
    how, case, ascii_ = looks[which, 0], looks[which, 1], looks[which, 6] != 0
    first, part_end = looks[which, 3], looks[which, 4]
    utf8, begin, end = texts.utf8, texts.bounds[number], texts.bounds[number + 1]
    if case != PLAIN:
        for at in range(begin, end):
            if utf8[at] >= 0x80 and (case == UPPER or not ascii_):
                return LEFT
            if utf8[at] == 0xC4 and utf8[at + 1] == 0xB0:
                return LEFT
            if utf8[at] == 0xE2 and utf8[at + 1] == 0x84 and utf8[at + 2] == 0xAA:
                return LEFT
    if how == SIZE:
        size = np.int64(0)
        for at in range(begin, end):
            size += (utf8[at] & 0xC0) != 0x80
        return size
    most = end - begin - (part_end - first)  # how much later than the text the part may begin
    if most < 0:
        return np.int64(0)
    from_, to = np.int64(0), most
    if how == STARTS_WITH:
        to = np.int64(0)
    elif how == ENDS_WITH:
        from_ = most
    for at in range(begin + from_, begin + to + 1):
        p = first
        while p < part_end and _cased(np.int64(utf8[at + p - first]), case) == parts[p]:
            p += 1
        if p == part_end:
            return np.int64(1)
    return np.int64(0)


@borrowing
def _cased(byte: Whole, case: int) -> Whole:
    """A byte as it is in a case."""
    if case == LOWER and 65 <= byte <= 90:
        return byte + 32
    if case == UPPER and 97 <= byte <= 122:
        return byte - 32
    return byte
