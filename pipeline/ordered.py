"""Rows by group and position, and deltas that two histories share: by compiled code where it is ready."""

from __future__ import annotations

import numpy as np

from flockiq.pipeline import compiled
from flockiq.pipeline.codes import DeltaColumns
from flockiq.pipeline.world import DeltaRows
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.rows import Rows, in_order


def order_of(rows: Rows) -> Int64s:
    """The permutation that puts rows by group, then by position."""
    functions = compiled.ready()
    if functions is None:
        return in_order(rows)
    order = np.empty(len(rows), np.int64)
    functions.put_in_order(rows.group, rows.us, rows.rr, rows.event, order)
    return order


def ordered(rows: Rows) -> Rows:
    """Rows by group, then by position: the rows themselves where they are so."""
    order = order_of(rows)
    return rows if bool((order[1:] > order[:-1]).all()) else rows.take(order)


def shared(old: DeltaRows, new: DeltaRows) -> tuple[Bools, Bools]:
    """Which of the old deltas are among the new, and which of the new among the old."""
    functions = compiled.ready()
    if functions is None:
        return plainly_shared(old, new)
    of_old, of_new = np.empty(len(old.entity), np.bool_), np.empty(len(new.entity), np.bool_)
    columns = [DeltaColumns._make(getattr(told, name) for name in DeltaColumns._fields) for told in (old, new)]
    functions.shared(*columns, of_old, of_new)
    return of_old, of_new


def plainly_shared(old: DeltaRows, new: DeltaRows) -> tuple[Bools, Bools]:
    """The same by numpy."""
    columns = [np.concatenate([getattr(old, name), getattr(new, name)]) for name in DeltaColumns._fields]
    order = np.lexsort(columns[::-1])
    differs = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    which = np.empty(len(order), np.int64)
    which[order] = np.cumsum(np.r_[False, differs]) if len(order) else which
    of_old, of_new = which[: len(old.entity)], which[len(old.entity) :]
    return np.isin(of_old, of_new), np.isin(of_new, of_old)
