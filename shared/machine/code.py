"""What compiled code shares: how it is compiled, and tables it can look into.

Imported only where machine code is loaded (shared/machine/loading.py), which gives it a folder of its own to be
kept in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit

from flockiq.shared.laneindex import FREE, SPREAD


def compiled[F: Callable[..., Any]](function: F) -> F:
    """The function as machine code."""
    return cast("F", njit(cache=True, nogil=True, error_model="numpy")(function))


def borrowing[F: Callable[..., Any]](function: F) -> F:
    """The function as machine code that counts no references to its arrays, and so can make none.

    For loops over rows: the arrays are their caller's and outlive them, and counting them row by row takes as
    long as the work.
    """
    how: Any = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
    return cast("F", njit(**how)(function))


def lent[F: Callable[..., Any]](function: F) -> F:
    """``borrowing``, and a part of what calls it: some dozen arrays are some hundred words to hand over."""
    how: Any = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False, "forceinline": True}
    return cast("F", njit(**how)(function))


def inlined[F: Callable[..., Any]](function: F) -> F:
    """The function as machine code that becomes a part of what calls it: its arrays need not be handed over."""
    return cast("F", njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function))


Columns = Any  # a NamedTuple of arrays
Array = Any
Whole = Any  # an int64
Real = Any  # a float64
Truth = Any  # a boolean

_SPREAD = np.uint64(SPREAD)


@inlined
def newer(us: int, rr: int, tie: int, than_us: int, than_rr: int, than_tie: int) -> bool:
    """Whether a position is greater than another."""
    if us != than_us:
        return us > than_us
    if rr != than_rr:
        return rr > than_rr
    return tie > than_tie


@inlined
def begin_at(lane: int, mask: int) -> Whole:
    """Where a LaneIndex looks for a lane first; ``mask``: how many places it has, less one."""
    return np.int64((np.uint64(lane) * _SPREAD) >> np.uint64(32)) & mask


@compiled
def number_of(places: Array, lanes: Array, lane: int) -> Whole:
    """The number that a LaneIndex has for a lane, or -1."""
    mask = len(places) - 1
    at = begin_at(lane, mask)
    while places[at] != FREE and lanes[places[at]] != lane:
        at = (at + 1) & mask
    return np.int64(places[at])


@compiled
def reindex(places: Array, lanes: Array, first: int, end: int) -> None:
    """Put lanes number ``first`` up to ``end`` into a table that has room for them (shared.laneindex.Reindex)."""
    for number in range(first, end):
        at = begin_at(lanes[number], len(places) - 1)
        while places[at] != FREE:
            at = (at + 1) & (len(places) - 1)
        places[at] = number
