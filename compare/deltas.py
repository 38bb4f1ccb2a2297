"""Deltas: how a golden field changed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import ABSENT, NULL, Int64s

ADDED, REMOVED, CHANGED = 0, 1, 2
KINDS = ("added", "removed", "changed")


class Deltas(NamedTuple):
    """d deltas: row int64 [d] (index in the round), field int64 [d], kind int8 [d], old and new int64 [d] lanes."""

    row: Int64s
    field: Int64s
    kind: npt.NDArray[np.int8]
    old: Int64s
    new: Int64s


def deltas(before: Int64s, after: Int64s) -> Deltas:
    """What changed between golden values, int64 [r, F]. Absent and null are both "no value"."""
    old = np.where(before == ABSENT, NULL, before)
    new = np.where(after == ABSENT, NULL, after)
    row, field = np.nonzero(old != new)
    was, now = old[row, field], new[row, field]
    kind = np.where(was == NULL, ADDED, np.where(now == NULL, REMOVED, CHANGED)).astype(np.int8)
    return Deltas(row=row.astype(np.int64), field=field.astype(np.int64), kind=kind, old=was, new=now)
