"""How the rows of a batch came: on time, again, late, too late, or to take the place of one that is logged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.pipeline import compiled
from flockiq.pipeline.codes import LATE, ON_TIME, REPEATED, REVISING, TOO_LATE
from flockiq.pipeline.history import History, beyond
from flockiq.pipeline.ordered import order_of
from flockiq.shared.lanes import Bools
from flockiq.shared.rows import VOID, Rows


class Arrived(NamedTuple):
    """A batch sorted out.

    rows: each once, by group and position, those first that are to be folded as they come, ``at_once`` of
    them; then those that a replay folds, or nothing does. late, too_late, revises: bool [n]; repeated: how many
    rows went.

    A row of a group in which a row is late, or revises, is late itself; it is too late where the log
    does not reach back to it.
    """

    rows: Rows
    at_once: int
    late: Bools
    too_late: Bools
    revises: Bools
    repeated: int


def arrived(history: History, rows: Rows) -> Arrived:
    """Sort out a batch."""
    came = _came(history, rows)
    order = order_of(rows)
    at_once = ((came == ON_TIME) | (came == TOO_LATE)) & (rows.op != VOID)
    later = (came != REPEATED) & ~at_once
    order = np.concatenate([order[at_once[order]], order[later[order]]])
    came = came[order]
    return Arrived(
        rows=rows.take(order),
        at_once=int(at_once.sum()),
        late=came != ON_TIME,
        too_late=came == TOO_LATE,
        revises=came == REVISING,
        repeated=len(rows) - len(came),
    )


def _came(history: History, rows: Rows) -> npt.NDArray[np.int8]:
    functions = compiled.ready()
    if functions is None:
        return plainly(history, rows)
    came = np.empty(len(rows), np.int8)
    functions.sort_out(*history.searched(rows), came)
    return came


def plainly(history: History, rows: Rows) -> npt.NDArray[np.int8]:
    """How each row came, int8 [n], by numpy."""
    came = np.full(len(rows), ON_TIME, np.int8)
    order = np.lexsort((rows.revision, rows.entity, rows.rr, rows.us, rows.event))
    columns = [column[order] for column in (rows.event, rows.us, rows.rr, rows.entity)]
    last = np.r_[np.any([column[1:] != column[:-1] for column in columns], axis=0), True] if len(rows) else []
    came[order[~np.array(last, np.bool_)]] = REPEATED

    marks, group = history.marks, rows.group
    behind = (came != REPEATED) & ~beyond(rows, marks.last_us[group], marks.last_rr[group], marks.last_hash[group])
    known = np.flatnonzero(behind)
    if len(known):
        at = history.find(rows.take(known))
        there = at >= 0
        revises = there.copy()
        revises[there] = rows.revision[known[there]] > history.revisions(at[there])
        came[known[there & ~revises]] = REPEATED
        came[known[revises]] = REVISING
    behind &= came != REPEATED
    behind |= (came == ON_TIME) & (rows.us < marks.clock_us[group])
    late = (came == ON_TIME) & np.isin(group, np.unique(group[behind]))
    within = beyond(rows, marks.floor_us[group], marks.floor_rr[group], marks.floor_hash[group])
    came[late & within] = LATE
    came[late & ~within] = TOO_LATE
    return came
