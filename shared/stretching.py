"""Columns that grow where they are: no byte of a large one is copied, and room takes no memory before it is used.

A large column lies in a mapping of its own. To make that longer the system gives its pages other
addresses; a copy would be new to the process, and memory that is new costs more than most of what is done with it.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_OWN = 1 << 20  # bytes from which a column has a mapping of its own
_HUGE = 1 << 22  # bytes from which it is asked to lie in huge pages, as numpy does
_PAGE = 1 << 21  # bytes of one: a mapping of whole ones begins with one wherever the system puts it, and keeps them
_LEAST = 16


def stretched(column: Array, size: int, used: int) -> Array:
    """A column with ``size`` rows, of which the first ``used`` are this one's and the others of any content.

    What was given may be used up. Where somebody else looks at it (or the system can't give pages other
    addresses), it is copied instead, and stays as it is.
    """
    shape, dtype, there = (size, *column.shape[1:]), column.dtype, column.shape
    room = math.prod(shape) * dtype.itemsize
    if room >= _HUGE:
        room = -(-room // _PAGE) * _PAGE
    mapping = _mapping(column)
    if mapping is not None and size >= len(column):
        del column
        try:
            mapping.resize(room)
        except (BufferError, SystemError):
            column = _seen(mapping, there, dtype)
        else:
            return _advised(mapping, shape, dtype, room)
    if room < _OWN:
        made = np.empty(shape, dtype)
    else:
        made = _advised(mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), shape, dtype, room)
    made[:used] = column[:used]
    return made


def stretch(owner: object, name: str, size: int) -> None:
    """Make a column of ``owner``'s ``size`` rows long, the new ones of any content."""
    columns = vars(owner)
    there = len(columns[name])
    columns[name] = stretched(columns.pop(name), size, there)  # popped: so nobody else looks at it


def double(owner: object, name: str, used: int, size: int) -> None:
    """See to it that a column of ``owner``'s has room for ``size`` rows; the first ``used`` are kept. Room doubles."""
    columns = vars(owner)
    if size > len(columns[name]):
        columns[name] = stretched(columns.pop(name), max(size, 2 * used, _LEAST), used)


def _mapping(column: Array) -> mmap.mmap | None:
    """The mapping that all of a column lies in, if it has one."""
    base: Any = column
    while isinstance(base, np.ndarray):
        base = base.base
    mine = isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap) and column.flags.c_contiguous
    return base.obj if mine and column.ctypes.data == np.frombuffer(base, np.uint8, 1).ctypes.data else None


def _advised(mapping: mmap.mmap, shape: tuple[int, ...], dtype: np.dtype[Any], room: int) -> Array:
    """A mapping as a column, in huge pages where it is large."""
    if room >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return _seen(mapping, shape, dtype)


def _seen(mapping: mmap.mmap, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The beginning of a mapping as a column."""
    return np.frombuffer(mapping, dtype, math.prod(shape)).reshape(shape)
