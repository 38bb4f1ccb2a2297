"""Structs of arrays: state as columns that grow, are gathered, scattered and stored together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from flockiq.shared.stretching import stretch

Array = npt.NDArray[Any]
Whole = npt.NDArray[np.integer[Any]]
Packed = Mapping[str, tuple[str, list[int], bytes]]

_FEW = 64


def roomier(needed: int, there: int, times: float = 1.25) -> int:
    """How many rows to make room for, so that growing row by row costs little a row and leaves little idle."""
    return max(needed, int(times * there), _FEW)


def distinct(numbers: npt.NDArray[np.int64], below: int) -> npt.NDArray[np.int64]:
    """Each of the dense numbers once, ascending; all are from 0 and less than ``below``."""
    if below > _SPARSE * len(numbers):
        return distinct_of(numbers)
    there = np.zeros(below, np.bool_)
    there[numbers] = True
    return np.flatnonzero(there)


_SPARSE = 32  # where less than one number in so many is asked for, sorting them is less work


def distinct_of(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Each of the numbers once, ascending: many times as fast as np.unique where they are in order here and there."""
    if not len(numbers):
        return numbers.copy()
    ordered = np.sort(numbers, kind="stable")
    new = np.empty(len(ordered), np.bool_)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


class Arrays:
    """Columns that share their first axis; a subclass names them by annotation."""

    names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.names = tuple(name for name in cls.__annotations__ if name != "names")

    def __init__(self, **columns: Array) -> None:
        for name in self.names:
            setattr(self, name, columns[name])

    def __len__(self) -> int:
        return len(getattr(self, self.names[0]))

    def take(self, rows: Whole | npt.NDArray[np.bool_]) -> Self:
        """A copy of these rows."""
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        taken = {name: getattr(self, name).take(at, axis=0) for name in self.names}  # [at] takes several times as long
        return type(self)(**taken)

    def first(self, count: int) -> Self:
        """The first rows, as they stand here: no copy."""
        return type(self)(**{name: getattr(self, name)[:count] for name in self.names})

    def put(self, rows: Whole, other: Self) -> None:
        """Overwrite these rows with ``other``'s."""
        for name in self.names:
            getattr(self, name)[rows] = getattr(other, name)

    def lengthen(self, size: int) -> None:
        """Make room for ``size`` rows in all, the new ones of any content."""
        for name in self.names:
            stretch(self, name, size)

    def extend(self, blank: Self, size: int) -> None:
        """Make room for ``size`` rows in all, the new ones as the one row of ``blank``."""
        before = len(self)
        self.lengthen(size)
        for name in self.names:
            getattr(self, name)[before:] = getattr(blank, name)

    def grown(self, blank: Self, size: int) -> Self:
        """The same rows followed by ``blank``'s, ``size`` in all; ``blank`` holds size - len(self)."""
        grown = type(self)(**{name: np.concatenate([getattr(self, name), getattr(blank, name)]) for name in self.names})
        if len(grown) != size:
            raise ValueError(f"{len(grown)} rows where {size} were meant")
        return grown

    def packed(self, rows: npt.NDArray[np.int64] | None = None) -> Packed:
        """These rows (all by default) as named bytes with dtype and shape, for a state log."""
        columns = {name: getattr(self, name) if rows is None else getattr(self, name)[rows] for name in self.names}
        return {
            name: (column.dtype.str, list(column.shape), np.ascontiguousarray(column).tobytes())
            for name, column in columns.items()
        }

    @classmethod
    def unpacked(cls, packed: Packed) -> Self:
        """The rows that ``packed`` gave."""
        return cls(
            **{
                name: np.frombuffer(body, np.dtype(dtype)).reshape(shape).copy()
                for name, (dtype, shape, body) in packed.items()
            }
        )
