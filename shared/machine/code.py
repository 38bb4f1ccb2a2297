"""What compiled code shares: how it is compiled, and tables it can look into.

Imported only where machine code is loaded (shared/machine/loading.py), which gives it a folder of its own to be
kept in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit

from flockiq.shared.lanetable import NOTHING


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


Columns = Any  # a NamedTuple of arrays
Array = Any
Whole = Any  # an int64
Real = Any  # a float64
Truth = Any  # a boolean

_NOTHING = np.int64(NOTHING)


@compiled
def newer(us: int, rr: int, tie: int, than_us: int, than_rr: int, than_tie: int) -> bool:
    """Whether a position is greater than another."""
    if us != than_us:
        return us > than_us
    if rr != than_rr:
        return rr > than_rr
    return tie > than_tie


@compiled
def find(keys: Array, key: int) -> Whole:
    """Where an open-addressing table holds a key, or -1. ``keys``: a power of two of them."""
    mask = len(keys) - 1
    at = (key * np.int64(-7046029254386353131)) >> np.int64(20) & mask
    while True:
        there = keys[at]
        if there == key:
            return at
        if there == _NOTHING:
            return -1
        at = (at + 1) & mask


@compiled
def insert(keys: Array, values: Array, new_keys: Array, new_values: Array) -> Whole:
    """Put keys with their values into an open-addressing table that has room; how many were new."""
    mask = len(keys) - 1
    added = 0
    for i in range(len(new_keys)):
        key = new_keys[i]
        at = (key * np.int64(-7046029254386353131)) >> np.int64(20) & mask
        while keys[at] != _NOTHING and keys[at] != key:
            at = (at + 1) & mask
        added += keys[at] == _NOTHING
        keys[at], values[at] = key, new_values[i]
    return added
