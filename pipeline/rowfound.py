"""Where drift begins and ends, row by row, compiled: the same results as compare/findings.py.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.codes import SINCE
from flockiq.shared.lanes import NULL
from flockiq.shared.machine.code import Array, Columns, Whole, begin_at, borrowing
from flockiq.shared.machine.structs import face_of_words


@borrowing
def turn_drift(
    judged: Array,
    entity: Array,
    event: Array,
    drift: Array,
    before: Array,
    signs: Columns,
    places: Array,
    previous: Array,
    turns: Columns,
) -> Whole:
    """Find where tolerances begin or cease to be exceeded; returns how many ``turns`` there are.

    ``judged``: int64 [m], rows, ascending; ``entity``, ``event``: int64 [n], of all rows; ``drift``: bool [m, T], of
    the judged; ``before``: bool [n, T], of all rows' entities before them. ``signs``: see pipeline.codes.StructColumns;
    the event that each entity's drift began with is brought up to date. ``places``: int32 [p], of any content, p a
    power of two above m. ``previous``: int64 [m], which of the judged is the same entity's before, or -1.
    ``turns``: see pipeline.findings.Turned.
    """
    since = face_of_words(signs.rows, signs.at[SINCE], drift.shape[1])
    count = np.int64(0)
    for place in range(len(places)):
        places[place] = -1
    for i in range(len(judged)):
        row = judged[i]
        e, cause = entity[row], event[row]
        place = begin_at(e, len(places) - 1)
        while places[place] >= 0 and entity[judged[places[place]]] != e:
            place = (place + 1) & (len(places) - 1)
        last = np.int64(places[place])
        previous[i], places[place] = last, i
        for number in range(drift.shape[1]):
            now = drift[i, number]
            was = drift[last, number] if last >= 0 else before[row, number]
            if was == now:
                continue
            turns.row[count], turns.number[count], turns.began[count] = row, number, now
            turns.begun[count] = cause if now else since[e, number]
            since[e, number] = cause if now else NULL
            count += 1
    return count
