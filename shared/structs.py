"""Columns whose rows lie together: what is known of one thing is in a few lines of memory, and is copied in one go.

Columns each for themselves are right for what is read from end to end. What is looked into here and there,
a row at a time, costs a line of memory (and a page) for each column, however short its value is.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flockiq.shared.arrays import Array, Arrays, Whole
from flockiq.shared.stretching import stretch

_WORD = 8
_FAR = 512  # bytes: what is wider lies behind what is not, so that the rest stays together

Words = npt.NDArray[np.int64]


class Member(NamedTuple):
    """A column: its name, the type of a value, the shape of a row's, and its bytes from where a row begins."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    at: int


class Structs(Arrays):
    """``Arrays`` as an array of structs, ``rows``: int64 [n, W]. Columns are views of it: write into them, never over.

    ``members``: where each column is; the longest values come first, so that all are aligned and little lies idle.
    """

    def __init__(self, **columns: Array) -> None:
        members, size = _placed({name: columns[name] for name in self.names})
        self._see(np.zeros((len(columns[self.names[0]]), -(-size // _WORD)), np.int64), members)
        for name in self.names:
            getattr(self, name)[...] = columns[name]

    def _see(self, rows: Words, members: tuple[Member, ...]) -> None:
        """Have these rows, and the columns in them."""
        self.rows, self.members = rows, members
        n, step = len(rows), rows.strides[0]
        for name, dtype, shape, at in members:
            if n and math.prod(shape):
                strides = [dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
                column: Array = np.ndarray((n, *shape), dtype, rows, at, (step, *strides))
            else:
                column = np.empty((n, *shape), dtype)
            vars(self)[name] = column

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse to write over a column: what is in the table would stay as it was."""
        if name in self.names:
            raise AttributeError(f"{name} is a column of {type(self).__name__}: write into it, {name}[...] = ...")
        super().__setattr__(name, value)

    def _like(self, rows: Words) -> Self:
        """Others of the same columns."""
        made = type(self).__new__(type(self))
        made._see(rows, self.members)  # noqa: SLF001  # its own class
        return made

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Whole | npt.NDArray[np.bool_]) -> Self:
        """A copy of these rows."""
        return self._like(self.rows.take(np.flatnonzero(rows) if rows.dtype == np.bool_ else rows, axis=0))

    def first(self, count: int) -> Self:
        """The first rows, as they stand here: no copy."""
        return self._like(self.rows[:count])

    def put(self, rows: Whole, other: Self) -> None:
        """Overwrite these rows with ``other``'s, whose columns may be of other types."""
        if other.members == self.members:
            self.rows[rows] = other.rows
        else:
            super().put(rows, other)

    def lengthen(self, size: int) -> None:
        """Make room for ``size`` rows in all, the new ones of any content."""
        for name in self.names:
            del vars(self)[name]  # what looks at rows keeps them where they are
        stretch(self, "rows", size)
        self._see(self.rows, self.members)

    def extend(self, blank: Self, size: int) -> None:
        """Make room for ``size`` rows in all, the new ones as the one row of ``blank``."""
        before = len(self)
        self.lengthen(size)
        self.rows[before:] = blank.rows


def _placed(columns: dict[str, Array]) -> tuple[tuple[Member, ...], int]:
    """Where each column is in a row, in their order, and the size of a row."""
    at = 0
    members: dict[str, Member] = {}
    sizes = {name: column.dtype.itemsize * math.prod(column.shape[1:]) for name, column in columns.items()}
    for name, column in sorted(columns.items(), key=lambda one: (sizes[one[0]] > _FAR, -one[1].dtype.itemsize)):
        at = -(-at // column.dtype.itemsize) * column.dtype.itemsize
        members[name] = Member(name, column.dtype, column.shape[1:], at)
        at += sizes[name]
    return tuple(members[name] for name in columns), at
