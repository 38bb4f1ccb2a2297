"""A row's values into the state, compiled: what ``merge.golden.fold`` does before it chooses, one row at a time.

Imported only by pipeline/compiled.py, through pipeline/rowwise.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.merge.ages import NEWEST, NOWHERE, OLDER
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.machine.code import Array, Truth, Whole, lent, newer

SAME, SAID, MOVED = 0, 1, 2  # of a field: nothing was said of it, the same was said again, it has another value


@lent
def said_at(
    e: int,
    source: int,
    field: int,
    age: Array,
    older: Array,
    seen_us: Array,
    seen_rr: Array,
    seen_tie: Array,
    older_us: Array,
    older_rr: Array,
    older_tie: Array,
) -> tuple[Whole, Whole, Whole]:
    """The position of a source's field."""
    when = age[e, source, field]
    if when == NEWEST:
        return seen_us[e, source], seen_rr[e, source], seen_tie[e, source]
    if when == OLDER:
        place = older[e, source]
        return older_us[place, field], older_rr[place, field], older_tie[place, field]
    return np.int64(ABSENT), np.int64(ABSENT), np.int64(ABSENT)


@lent
def time_of(e: int, source: int, field: int, age: Array, older: Array, seen_us: Array, older_us: Array) -> Whole:
    """The time of a source's field; NULL where it has said nothing of it."""
    when = age[e, source, field]
    if when == NEWEST:
        return seen_us[e, source]
    if when == OLDER:
        return older_us[older[e, source], field]
    return np.int64(NULL)


@lent
def again(i: int, e: int, s: int, said: Array, value: Array) -> Truth:
    """Whether row i says every field, and what its source says of each already.

    As the newest row, where no field is OLDER, it moves the source's position, and nothing else: each
    field has a value, so it was said, so it is NEWEST, and stays so.
    """
    for field in range(said.shape[1]):
        if said[i, field] == ABSENT or said[i, field] != value[e, s, field]:
            return False
    return True


@lent
def take(
    i: int,
    e: int,
    s: int,
    deleted: bool,
    newest: bool,
    said: Array,
    said_us: Array,
    said_rr: Array,
    said_tie: Array,
    value: Array,
    age: Array,
    older: Array,
    seen_us: Array,
    seen_rr: Array,
    seen_tie: Array,
    older_us: Array,
    older_rr: Array,
    older_tie: Array,
    free: Array,
    left: int,
    news: Array,
) -> tuple[Truth, Whole, Whole]:
    """Fold row i's values; ``news`` says of each field what changed.

    Returns whether a value of its source changed, how many more of its fields have a value now, and
    how many places of older positions are left.
    """
    moved, more = False, np.int64(0)
    place = np.int64(older[e, s])
    behind = False
    for field in range(said.shape[1]):
        lane, when = said[i, field], age[e, s, field]
        news[field] = SAME
        if lane == ABSENT and not deleted:
            if newest and when == NEWEST:  # it stays where the row before stood
                if place == NOWHERE:
                    left -= 1
                    place = np.int64(free[left])
                older_us[place, field], older_rr[place, field] = seen_us[e, s], seen_rr[e, s]
                older_tie[place, field] = seen_tie[e, s]
                age[e, s, field] = OLDER
                behind = True
            else:
                behind = behind or when == OLDER
            continue
        if not newest:
            us, rr, tie = said_at(e, s, field, age, older, seen_us, seen_rr, seen_tie, older_us, older_rr, older_tie)
            if not newer(said_us[i], said_rr[i], said_tie[i], us, rr, tie):
                behind = behind or when == OLDER
                continue
            if place == NOWHERE:
                left -= 1
                place = np.int64(free[left])
                older[e, s] = place
            older_us[place, field], older_rr[place, field] = said_us[i], said_rr[i]
            older_tie[place, field] = said_tie[i]
            age[e, s, field] = OLDER
            behind = True
        elif when != NEWEST:
            age[e, s, field] = NEWEST
        news[field] = SAID
        known = value[e, s, field]
        if known != lane:
            moved = True
            news[field] = MOVED
            more += np.int64(lane != ABSENT and lane != NULL) - np.int64(known != ABSENT and known != NULL)
            value[e, s, field] = lane
    if place != NOWHERE and not behind:
        free[left] = place
        left += 1
        place = np.int64(NOWHERE)
    older[e, s] = place
    return moved, more, left


@lent
def end_override(
    i: int,
    e: int,
    s: int,
    override: int,
    said: Array,
    value: Array,
    age: Array,
    older: Array,
    seen_us: Array,
    seen_rr: Array,
    seen_tie: Array,
    older_us: Array,
    older_rr: Array,
    older_tie: Array,
    news: Array,
) -> Truth:
    """End the override that row i names, where it is what a person says last; returns whether it was."""
    ended = False
    for field in range(said.shape[1]):
        news[field] = SAME
        if said[i, field] == ABSENT or value[e, s, field] == ABSENT:
            continue
        _, _, tie = said_at(e, s, field, age, older, seen_us, seen_rr, seen_tie, older_us, older_rr, older_tie)
        if tie == override:
            value[e, s, field] = ABSENT
            news[field] = MOVED
            ended = True
    return ended
