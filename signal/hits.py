"""Hits: what rows do to episodes, in the order in which it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flockiq.shared.lanes import Int64s

PASSES, GOES_ON, BEGINS, ENDS, HAPPENS = range(5)
"""What a hit is: time comes to a state that holds, its values may have changed, it begins, it ends; an event."""


class Hits(NamedTuple):
    """h things for episodes, in order: of the row in Seen, of the rule of that order, and which; int64 [h].

    ``item``: of what HAPPENS, which of Seen's deltas, or of its observed numbers, it is.
    """

    row: Int64s
    order: Int64s
    what: Int64s
    item: Int64s

    @classmethod
    def happening(cls, order: int, rows: Int64s, items: Int64s) -> Hits:
        """Events of one rule."""
        return cls(rows, np.full(len(rows), order), np.full(len(rows), HAPPENS), items)

    @classmethod
    def in_order(cls, parts: Sequence[Hits]) -> Hits:
        """Several as one: by row, of a row by rule, of a rule as they are given."""
        row, order, what, item = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        sorted_ = np.lexsort((order, row))
        return cls(row[sorted_], order[sorted_], what[sorted_], item[sorted_])
