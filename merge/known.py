"""Texts that are known by number, for compiled code to look up: a table of their hashes, and themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import Int64s
from flockiq.shared.lanetable import places

Bytes = npt.NDArray[np.uint8]


class Table(NamedTuple):
    """What compiled code reads (merge/rowknown.py).

    keys, numbers: the table, from a text's lane to its number. ends: int64 [n], where each ends in utf8: uint8.
    """

    keys: Int64s
    numbers: Int64s
    ends: Int64s
    utf8: Bytes


class Known:
    """Texts, numbered from 0 as they come; each is told apart by all of its bytes, not by a hash alone."""

    def __init__(self) -> None:
        self._keys, self._numbers = places(0)
        self._ends = np.zeros(256, np.int64)
        self._utf8 = np.zeros(4096, np.uint8)
        self._count = 0
        self._learnt = 0

    def __len__(self) -> int:
        return self._count

    def add(self, texts: Sequence[bytes]) -> None:
        """Give texts the next numbers."""
        new = np.frombuffer(b"".join(texts), np.uint8)
        first = self._size
        count, size = self._count + len(texts), first + len(new)
        self._ends, self._utf8 = roomy(self._ends, count), roomy(self._utf8, size)
        self._utf8[first:size] = new
        self._ends[self._count : count] = first + np.cumsum([len(text) for text in texts], dtype=np.int64)
        self._count = count

    def table(self, learn: Callable[[Table, int], None]) -> Table:
        """The table of all of them; ``learn`` puts those from a number on into one."""
        if 2 * self._count > len(self._keys):
            self._keys, self._numbers = places(2 * self._count)
            self._learnt = 0
        table = self.texts()
        if self._learnt < self._count:
            learn(table, self._learnt)
            self._learnt = self._count
        return table

    def texts(self) -> Table:
        """All of them by number, not to be looked up."""
        return Table(self._keys, self._numbers, self._ends[: self._count], self._utf8[: self._size])

    def text(self, number: int) -> bytes:
        """The text with a number."""
        begin = int(self._ends[number - 1]) if number else 0
        return self._utf8[begin : int(self._ends[number])].tobytes()

    @property
    def _size(self) -> int:
        return int(self._ends[self._count - 1]) if self._count else 0


def roomy[Kind: np.generic](column: npt.NDArray[Kind], size: int) -> npt.NDArray[Kind]:
    """The column, or one twice as long that begins with it, so that it has room for ``size``."""
    if size <= len(column):
        return column
    grown = np.zeros(max(size, 2 * len(column)), column.dtype)
    grown[: len(column)] = column
    return grown
