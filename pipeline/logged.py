"""A row of the late-data log: words that lie together, what it is known by first."""

from __future__ import annotations

import numpy as np

from flockiq.shared.lanes import Int64s
from flockiq.shared.rows import Rows
from flockiq.shared.structs import Words

EVENT, LINK, US, RR, WHO, REVISION, KEY, SHOWN, ARRIVED_US, VALUE = range(10)
"""The words of ``shared.rows.Rows``; the values of its fields are VALUE and those behind it.

WHO is the entity above the group. LINK says from its low end on: one more than the place of the row of its group
that was logged before it, or 0; above that what it does, and above that its source.
"""
ABOVE, SOURCE_ABOVE = 32, 40  # bits below what is above
LOW, OP = (1 << ABOVE) - 1, (1 << SOURCE_ABOVE - ABOVE) - 1


def words_of(rows: Rows) -> Words:
    """Rows as they are logged, int64 [n, VALUE + F], none behind another."""
    words = np.empty((len(rows), VALUE + rows.value.shape[1]), np.int64)
    words[:, EVENT], words[:, US], words[:, RR] = rows.event, rows.us, rows.rr
    words[:, LINK] = (rows.source << SOURCE_ABOVE) | (rows.op.astype(np.int64) << ABOVE)
    words[:, WHO] = (rows.entity << ABOVE) | rows.group
    words[:, REVISION], words[:, KEY], words[:, SHOWN] = rows.revision, rows.key, rows.shown
    words[:, ARRIVED_US] = rows.arrived_us
    words[:, VALUE:] = rows.value
    return words


def rows_of(words: Words) -> Rows:
    """What was logged, as columns of their own."""
    column = words[:, :VALUE].T.copy()
    return Rows(
        entity=column[WHO] >> ABOVE,
        group=column[WHO] & LOW,
        source=column[LINK] >> SOURCE_ABOVE,
        op=((column[LINK] >> ABOVE) & OP).astype(np.int8),
        us=column[US],
        rr=column[RR],
        event=column[EVENT],
        key=column[KEY],
        shown=column[SHOWN],
        value=words[:, VALUE:].copy(),
        arrived_us=column[ARRIVED_US],
        revision=column[REVISION],
    )


def before(link: Int64s) -> Int64s:
    """Where the row of its group logged before each is, or -1."""
    place: Int64s = (link & LOW) - 1
    return place
