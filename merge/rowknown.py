"""Texts that are known by number, looked up and learnt by compiled code (merge/known.py).

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.lanetable import NOTHING
from flockiq.shared.machine.code import Array, Columns, Whole, borrowing
from flockiq.shared.machine.stretches import lane_of_bytes
from flockiq.shared.machine.tokens import SLASH, same

_NOTHING = np.int64(NOTHING)


@borrowing
def _find(keys: Array, key: int) -> Whole:
    """Where an open-addressing table holds a key, or -1. ``keys``: a power of two of them."""
    mask = len(keys) - 1
    at = (key * np.int64(-7046029254386353131)) >> np.int64(20) & mask
    while keys[at] != key:
        if keys[at] == _NOTHING:
            return -1
        at = (at + 1) & mask
    return at


@borrowing
def number_of(known: Columns, text: Array, begin: int, end: int) -> Whole:
    """The number by which a text is known, or -1."""
    at = _find(known.keys, lane_of_bytes(text.ctypes.data, begin, end))
    if at < 0:
        return -1
    number = known.numbers[at]
    first = known.ends[number - 1] if number else 0
    return number if same(text, begin, end, known.utf8, first, known.ends[number]) else -1


@borrowing
def learn(known: Columns, first: int) -> None:
    """Make the texts from number ``first`` on known: a table that has room takes their lanes.

    Of two texts with one lane the first is known, and the other never.
    """
    mask = len(known.keys) - 1
    for number in range(first, len(known.ends)):
        key = lane_of_bytes(known.utf8.ctypes.data, known.ends[number - 1] if number else 0, known.ends[number])
        at = (key * np.int64(-7046029254386353131)) >> np.int64(20) & mask
        while known.keys[at] != _NOTHING and known.keys[at] != key:
            at = (at + 1) & mask
        if known.keys[at] == _NOTHING:
            known.keys[at], known.numbers[at] = key, number


@borrowing
def records_of(
    text: Array, parts: Columns, at: Array, known: Columns, name: Array, scratch: Array, found: Array
) -> int:
    """The numbers of the records of the lines ``at``, which are of the stream ``name`` ("source/stream/").

    -1 where a record is new; how many are.
    """
    size = len(name)
    for i in range(size):
        scratch[i] = name[i]
    new = 0
    for i in range(len(at)):
        n, end = at[i], size
        for p in range(parts.key_begin[n], parts.key_end[n]):
            scratch[end] = text[p]
            end += 1
        found[i] = number_of(known, scratch, 0, end)
        new += found[i] < 0
    return new


@borrowing
def streams_of(text: Array, parts: Columns, count: int, names: Array, bounds: Array, found: Array) -> None:
    """The number of the stream ("source/stream") that each line is of, or -1."""
    last = 0
    streams = len(bounds) - 1
    for n in range(count):
        found[n] = -1
        for turn in range(streams):
            number = last + turn
            if number >= streams:
                number -= streams
            middle = bounds[number] + parts.source_end[n] - parts.source_begin[n]
            if (
                middle < bounds[number + 1]
                and names[middle] == SLASH
                and same(text, parts.source_begin[n], parts.source_end[n], names, bounds[number], middle)
                and same(text, parts.stream_begin[n], parts.stream_end[n], names, middle + 1, bounds[number + 1])
            ):
                found[n] = last = number
                break
