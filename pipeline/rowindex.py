"""Texts and ids found and added by compiled code, in the columns that Python keeps them in.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flockiq.shared.laneindex import FREE
from flockiq.shared.machine.code import Columns, Whole, begin_at, inlined
from flockiq.shared.machine.memory import ask_for_place, copy, load, load_place, store, store_place

Held = Any  # a tuple of addresses, and how many places an index has, less one

NEW, TAKEN = -1, -2


@inlined
def sought(places: int, lanes: int, mask: int, lane: int) -> tuple[Whole, Whole]:
    """Where a LaneIndex has a lane, or would have it, and its number or -1: ``machine.number_of`` for addresses."""
    at = begin_at(lane, mask)
    number = load_place(places, at)
    while number != FREE and load(lanes, number) != lane:
        at = (at + 1) & mask
        number = load_place(places, at)
    return at, number


@inlined
def ask_place(places: int, mask: int, lane: int) -> None:
    """Ask for the place where a LaneIndex looks for a lane first."""
    ask_for_place(places, begin_at(lane, mask))


@inlined
def likely(places: int, mask: int, lane: int) -> Whole:
    """The number that a lane has unless another has taken its first place; -1 where that is free."""
    return load_place(places, begin_at(lane, mask))


@inlined
def added(places: int, lanes: int, counts: int, at: int, lane: int) -> Whole:
    """Give a lane that is new its number, at its place ``at``."""
    number = load(counts, 0)
    store_place(places, at, number)
    store(lanes, number, lane)
    store(counts, 0, number + 1)
    return number


@inlined
def held(texts: Columns) -> Held:
    """The addresses of ``stored_texts.TextColumns``, and how many places there are, less one."""
    return (
        texts.places.ctypes.data,
        texts.lanes.ctypes.data,
        texts.counts.ctypes.data,
        texts.bounds.ctypes.data,
        texts.utf8.ctypes.data,
        len(texts.places) - 1,
    )


@inlined
def keep(texts: Held, lane: int, text: int, p: int, end: int) -> None:
    """Keep a text under its lane, if it is new; ``texts``: see ``held``."""
    places, lanes, counts, bounds, utf8, mask = texts
    at, number = sought(places, lanes, mask, lane)
    if number >= 0:
        return
    number = added(places, lanes, counts, at, lane)
    begin = load(bounds, number)
    copy(utf8, begin, text, p, end - p)
    store(bounds, number + 1, begin + end - p)


@inlined
def held_ids(ids: Columns) -> Held:
    """The addresses of ``ids.IdColumns``."""
    return (
        ids.places.ctypes.data,
        ids.lanes.ctypes.data,
        ids.counts.ctypes.data,
        ids.rest.ctypes.data,
        len(ids.places) - 1,
    )


@inlined
def id_number(names: Held, high: int, low: int, new: bool) -> Whole:
    """The number of an id among names, or NEW; TAKEN: another has its first word. One that is ``new`` is added."""
    places, lanes, counts, rest, mask = names
    at, number = sought(places, lanes, mask, high)
    if number >= 0:
        return number if load(rest, number) == low else np.int64(TAKEN)
    if new:
        number = added(places, lanes, counts, at, high)
        store(rest, number, low)
    return number
