"""What the stages before give to signal: rows as conditions read them."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import Bools, Floats, Int64s
from flockiq.signal.watch import Watch


class Observed(NamedTuple):
    """What baselines say of k numbers, by row and baseline: ``field`` and ``row`` int64 [k], the rest float64 [k]."""

    field: Int64s
    row: Int64s
    value: Floats
    score: Floats
    expected: Floats
    low: Floats
    high: Floats

    @classmethod
    def none(cls) -> Self:
        """Of no number."""
        whole, real = np.zeros(0, np.int64), np.zeros(0, np.float64)
        return cls(whole, whole, real, real, real, real, real)

    def take(self, at: Int64s) -> Observed:
        """Some of them."""
        columns: tuple[npt.NDArray[Any], ...] = tuple(self)
        return Observed._make(column[at] for column in columns)


class Seen(NamedTuple):
    """r rows as the conditions read them, each entity's in the order they happened.

    row: int64 [r], ascending: where it stands among all rows, acts included; previous: int64 [r], the
    row of the same entity before it, or -1. entity, us, event: int64 [r]; key: text lanes int64 [r];
    golden: int64 [r, F] after the fold; fresh: bool [r], nothing was known of the entity before;
    drift: bool [r, T]; the deltas' row (in these r, ascending), field, old, new, source: int64 [d].
    """

    row: Int64s
    previous: Int64s
    entity: Int64s
    us: Int64s
    event: Int64s
    key: Int64s
    golden: Int64s
    fresh: Bools
    drift: Bools
    delta_row: Int64s
    delta_field: Int64s
    delta_old: Int64s
    delta_new: Int64s
    delta_source: Int64s
    observed: Observed


class Act(NamedTuple):
    """A person resolved a rule's alert: where it stands among the rows, of which entity, when."""

    row: int
    entity: int
    watch: Watch
    us: int
