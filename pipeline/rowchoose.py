"""Survivorship, compiled: what ``merge.survivorship`` does, one field of one entity at a time.

Imported only by pipeline/compiled.py, through pipeline/rowwise.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.codes import COMPLETE, HIGHEST, LONGEST, LOWEST, RANK, RECENT
from flockiq.pipeline.rowtake import MOVED, SAME, said_at
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.machine.code import Array, Truth, Whole, lent, newer, number_of

ASK = -2

_NOTHING = np.int64(np.iinfo(np.int64).min)  # scores below every lane


@lent
def _filled(e: int, source: int, value: Array) -> Whole:
    """How many fields of a source's record have a value."""
    count = np.int64(0)
    for field in range(value.shape[2]):
        lane = value[e, source, field]
        count += lane != ABSENT and lane != NULL
    return count


@lent
def _same(e: int, source: int, field: int, value: Array, candidate: Array) -> Whole:
    """How many candidates say what a source says."""
    count = np.int64(0)
    for other in range(len(candidate)):
        count += candidate[other] and value[e, other, field] == value[e, source, field]
    return count


@lent
def _length(lane: int, places: Array, lanes: Array, bounds: Array, utf8: Array) -> Whole:
    """How many characters a text has; 0 where there is none."""
    number = number_of(places, lanes, lane)
    count = np.int64(0)
    if number >= 0:
        for at in range(bounds[number], bounds[number + 1]):
            count += utf8[at] & 0xC0 != 0x80  # no later byte of a character
    return count


@lent
def _recent(
    e: int,
    field: int,
    age: Array,
    older: Array,
    seen_us: Array,
    seen_rr: Array,
    seen_tie: Array,
    older_us: Array,
    older_rr: Array,
    older_tie: Array,
    candidate: Array,
) -> Whole:
    """Keep the candidates of the greatest position; how many stay."""
    left = 0
    best_us: Whole = ABSENT
    best_rr: Whole = ABSENT
    best_tie: Whole = ABSENT
    for source in range(len(candidate)):
        if not candidate[source]:
            continue
        us, rr, tie = said_at(e, source, field, age, older, seen_us, seen_rr, seen_tie, older_us, older_rr, older_tie)
        if not left or newer(us, rr, tie, best_us, best_rr, best_tie):
            for other in range(source):
                candidate[other] = False
            best_us, best_rr, best_tie = us, rr, tie
            left = 1
        elif us == best_us and rr == best_rr and tie == best_tie:
            left += 1
        else:
            candidate[source] = False
    return left


@lent
def _keep_best(candidate: Array, score: Array) -> Whole:
    """Keep the candidates of the greatest score; how many stay."""
    best = _NOTHING
    for source in range(len(candidate)):
        if candidate[source]:
            best = max(best, score[source])
    left = 0
    for source in range(len(candidate)):
        candidate[source] = candidate[source] and score[source] == best
        left += candidate[source]
    return left


@lent
def _candidates(e: int, field: int, value: Array, candidate: Array) -> Whole:
    """Which sources' values may win: those that are not empty, else those that say anything; how many."""
    left = 0
    for source in range(len(candidate)):
        lane = value[e, source, field]
        candidate[source] = lane != ABSENT and lane != NULL
        left += candidate[source]
    if not left:
        for source in range(len(candidate)):
            candidate[source] = value[e, source, field] != ABSENT
            left += candidate[source]
    return left


@lent
def stays(news: int, s: int, winner: int, rule: int, recent: int) -> Truth:
    """Whether a field's golden value stays, source and rule included, after a row of source s.

    A value that is said again can only win, or win otherwise, by being more recent.
    """
    if news == MOVED:
        return False
    return news == SAME or recent < 0 or rule < recent or (rule == recent and winner == s)


@lent
def overtaken(
    news: int,
    e: int,
    s: int,
    field: int,
    winner: int,
    recent: int,
    value: Array,
    age: Array,
    older: Array,
    seen_us: Array,
    seen_rr: Array,
    seen_tie: Array,
    older_us: Array,
    older_rr: Array,
    older_tie: Array,
) -> Whole:
    """The winner after a row of source s, of a field that ``winner`` had by being the most recent; ASK: ``choose``.

    Only s has a new position, so it wins by that or it does not, where it may win at all: it is as good as the
    winner to the rules before, because there are none or they ask for nothing but the value, which is the same.
    """
    mine, other = value[e, s, field], value[e, winner, field]
    empty = mine == ABSENT or mine == NULL
    if recent == 0 and (news == MOVED or mine != other):
        if empty:
            return np.int64(ASK if news == MOVED or other == ABSENT or other == NULL else winner)
        if winner == s or other == ABSENT or other == NULL:
            return np.int64(s)
    elif mine != other or news == MOVED or mine == ABSENT:
        return np.int64(ASK)
    us, rr, tie = said_at(e, s, field, age, older, seen_us, seen_rr, seen_tie, older_us, older_rr, older_tie)
    than_us, than_rr, than_tie = said_at(
        e, winner, field, age, older, seen_us, seen_rr, seen_tie, older_us, older_rr, older_tie
    )
    if us == than_us and rr == than_rr and tie == than_tie and s != winner:
        return np.int64(ASK)
    return np.int64(s if newer(us, rr, tie, than_us, than_rr, than_tie) else winner)


@lent
def choose(
    e: int,
    field: int,
    value: Array,
    age: Array,
    older: Array,
    seen_us: Array,
    seen_rr: Array,
    seen_tie: Array,
    older_us: Array,
    older_rr: Array,
    older_tie: Array,
    cascade: Array,
    ranks: Array,
    places: Array,
    lanes: Array,
    bounds: Array,
    utf8: Array,
    candidate: Array,
    score: Array,
) -> tuple[Whole, Whole]:
    """The source whose value of a field survives, or -1, and the rule that decided; people are left out."""
    sources = len(candidate)
    left = _candidates(e, field, value, candidate)
    decided, rule = np.int64(0 if left == 1 else -1), np.int64(0)
    while decided < 0 and left and rule < cascade.shape[1] and cascade[field, rule] >= 0:
        how = cascade[field, rule]
        if how == RECENT:
            left = _recent(e, field, age, older, seen_us, seen_rr, seen_tie, older_us, older_rr, older_tie, candidate)
        else:
            for source in range(sources):
                if how == RANK:
                    score[source] = -ranks[field, source]
                elif how == COMPLETE:
                    score[source] = _filled(e, source, value)
                elif how == HIGHEST:
                    score[source] = value[e, source, field]
                elif how == LOWEST:
                    score[source] = -value[e, source, field]
                elif how == LONGEST:
                    score[source] = _length(value[e, source, field], places, lanes, bounds, utf8)
                else:
                    score[source] = _same(e, source, field, value, candidate)
            left = _keep_best(candidate, score)
        if left == 1:
            decided = rule
        rule += 1
    if left > 1:
        for source in range(sources):
            score[source] = -ranks[field, source]
        _keep_best(candidate, score)
        decided = rule
    for source in range(sources):
        if candidate[source]:
            return np.int64(source), decided
    return np.int64(-1), decided
