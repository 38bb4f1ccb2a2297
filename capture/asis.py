"""Which lines of JSON can travel as their source wrote them, found for a whole page at a time.

Conservative: a line that is not told to be plain is looked at by ``records.Reader``, which decides. That a
plain one comes out of there unchanged is held by a test.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_BREAK, _CONTROL, _ESCAPE, _OPEN, _CLOSE, _SPACE, _AT = range(1, 8)
_TOLD: Final = {"\n": _BREAK, "\\": _ESCAPE, "[": _OPEN, "{": _OPEN, "]": _CLOSE, "}": _CLOSE, " ": _SPACE, "@": _AT}
_KINDS: Final = bytes(_TOLD.get(chr(byte), _CONTROL if byte < ord(" ") else 0) for byte in range(256))
_BETWEEN: Final = np.array([chr(byte) in "{}[]:," for byte in range(256)])  # what stands between tokens

type Flags = npt.NDArray[np.bool_]
type Places = npt.NDArray[np.intp]


def as_is(lines: bytes, count: int, nesting: int) -> Flags | None:
    """Which of ``count`` objects, valid JSON, one a line and each line ended, can travel as they are.

    None if the lines are not as many, because a value holds a line break. Not plain is what holds a control
    character, and what nests and has more than ``nesting`` brackets, escapes, space between tokens,
    or what may be a field of the protocol's own.
    """
    read = np.frombuffer(lines.translate(_KINDS), np.uint8)
    places = np.flatnonzero(read != 0)
    kinds = read[places]
    ends = places[kinds == _BREAK]
    if len(ends) != count:
        return None
    odd = np.zeros(count, np.bool_)
    odd[_rows(ends, places[kinds == _CONTROL])] = True
    opened = places[kinds == _OPEN]
    if len(opened) > count:
        brackets = np.bincount(_rows(ends, opened), minlength=count) - 1
        escaped = np.zeros(count, np.bool_)
        escaped[_rows(ends, places[kinds == _ESCAPE])] = True
        marked = _marked(ends, opened, places[kinds == _CLOSE], places[kinds == _AT])
        untidy = _untidy(lines, ends, places[kinds == _SPACE])
        odd |= (brackets > nesting) | ((brackets > 0) & (escaped | marked | untidy))
    return ~odd


def _rows(ends: Places, places: Places) -> Places:
    """The lines in which places are."""
    return np.searchsorted(ends, places)


def _begins(ends: Places) -> Places:
    return np.concatenate(([0], ends[:-1]))


def _marked(ends: Places, opened: Places, closed: Places, marks: Places) -> Flags:
    """Lines with an @, which may be the protocol's, between the first and the last bracket inside the object."""
    found = np.zeros(len(ends), np.bool_)
    first = opened[np.minimum(np.searchsorted(opened, _begins(ends)) + 1, len(opened) - 1)]
    last = closed[np.searchsorted(closed, ends) - 2]
    rows = _rows(ends, marks)
    found[rows[(marks > first[rows]) & (marks < last[rows])]] = True
    return found


def _untidy(lines: bytes, ends: Places, spaces: Places) -> Flags:
    """Lines with space between tokens, or a text that begins as the protocol's names do; of lines without escapes."""
    found = np.zeros(len(ends), np.bool_)
    text = np.frombuffer(lines, np.uint8)
    quotes = np.flatnonzero(text == ord('"'))
    spaces = spaces[_BETWEEN[text[spaces - 1]] | _BETWEEN[text[spaces + 1]]]
    rows = _rows(ends, spaces)
    inside = np.searchsorted(quotes, spaces) - np.searchsorted(quotes, _begins(ends)[rows])
    found[rows[inside % 2 == 0]] = True
    begun = quotes[text[quotes + 1] == ord("_")]
    noise = begun[text[begun + 2] == ord("_")]  # a line goes on for two characters after any quote
    found[_rows(ends, noise)] = True
    return found
