"""Which lines of JSON can travel as their source wrote them, found for a whole page at a time.

Conservative: a line that is not told to be plain is looked at by ``records.Reader``, which decides. That a
plain one comes out of there unchanged is held by a test.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_CONTROL, _QUOTE, _OPEN, _SPACE, _AT, _BREAK, _ESCAPE = 1, 2, 4, 8, 16, 32, 64
_KINDS: Final = bytes(
    _BREAK
    if byte == ord("\n")
    else _CONTROL
    if byte < ord(" ")
    else {ord('"'): _QUOTE, ord("["): _OPEN, ord("{"): _OPEN, ord(" "): _SPACE, ord("@"): _AT, ord("\\"): _ESCAPE}.get(
        byte, 0
    )
    for byte in range(256)
)
_NOISE: Final = b'"__'  # begins the names of the protocol's own fields

type Flags = npt.NDArray[np.bool_]
type Places = npt.NDArray[np.intp]

PLAIN, ESCAPED, ODD = 0, 1, 2
"""Nothing to look at; only whether its escapes are valid; anything else."""


def kinds_of(lines: bytes, count: int, nesting: int) -> npt.NDArray[np.uint8] | None:
    """PLAIN, ESCAPED or ODD for each of ``count`` objects, one a line, each line ended.

    None if the lines are not as many, because a value holds a line break. Odd is an object with a control
    character, and one that nests and has more than ``nesting`` brackets, escapes, space between
    tokens, or fields of the protocol's own.
    """
    read = np.frombuffer(lines.translate(_KINDS), np.uint8)
    ends = np.flatnonzero(read == _BREAK)
    if len(ends) != count:
        return None
    odd, escaped = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    odd[_rows(ends, np.flatnonzero(read == _CONTROL))] = True
    escaped[_rows(ends, np.flatnonzero(read == _ESCAPE))] = True
    opened = np.flatnonzero(read == _OPEN)
    if len(opened) > count:
        brackets = np.bincount(_rows(ends, opened), minlength=count) - 1
        nested = brackets > 0
        odd |= (brackets > nesting) | (nested & (escaped | _untidy(lines, read, ends)))
    return np.where(odd, ODD, np.where(escaped, ESCAPED, PLAIN)).astype(np.uint8)


def _rows(ends: Places, places: Places) -> Places:
    """The lines in which places are."""
    return np.searchsorted(ends, places)


def _untidy(lines: bytes, read: npt.NDArray[np.uint8], ends: Places) -> Flags:
    """Lines with space between tokens, or with a field of the protocol's own; of lines without escapes."""
    found = np.zeros(len(ends), np.bool_)
    quotes = np.flatnonzero(read == _QUOTE)
    before = np.concatenate(([0], np.searchsorted(quotes, ends)[:-1]))  # quotes before each line
    spaces = np.flatnonzero(read == _SPACE)
    rows = _rows(ends, spaces)
    found[rows[(np.searchsorted(quotes, spaces) - before[rows]) % 2 == 0]] = True
    marks = np.flatnonzero(read == _AT)
    closing = np.searchsorted(quotes, marks)
    marks, closing = marks[closing < len(quotes)], closing[closing < len(quotes)]
    after = np.frombuffer(lines, np.uint8)[quotes[closing] + 1]  # what follows the text that a mark is in
    found[_rows(ends, marks[after == ord(":")])] = True
    place = lines.find(_NOISE)
    while place >= 0:
        found[np.searchsorted(ends, place)] = True
        place = lines.find(_NOISE, place + 1)
    return found
