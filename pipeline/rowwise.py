"""Fold and compare, row by row, compiled: the same results as pipeline/rounds.py, many times as fast.

Imported only by shared/compiled.py, which gives it a folder of its own to keep machine code in. The
functions take arrays and fill arrays; they allocate little and never call Python.
"""

from __future__ import annotations

import numpy as np

from flockiq.compare.drift import ROUNDING
from flockiq.merge.golden import DELETED, PRESENT, UNSEEN
from flockiq.merge.survivorship import OVERRIDDEN
from flockiq.pipeline.codes import (
    COMPLETE,
    HIGHEST,
    LONGEST,
    LOWEST,
    NUMERIC,
    RANK,
    RECENT,
)
from flockiq.pipeline.rowscore import number, observe
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.lanetable import NOTHING
from flockiq.shared.machine.code import Array, Columns, Whole, compiled, find, newer
from flockiq.shared.rows import DELETE, ENDS

_NOTHING = np.int64(NOTHING)  # scores below every lane
_ADDED, _REMOVED, _CHANGED = 0, 1, 2


@compiled
def _filled(e: int, source: int, value: Array) -> Whole:
    """How many fields of a source's record have a value."""
    count = np.int64(0)
    for field in range(value.shape[2]):
        lane = value[e, source, field]
        count += lane != ABSENT and lane != NULL
    return count


@compiled
def _same(e: int, source: int, field: int, value: Array, candidate: Array) -> Whole:
    """How many candidates say what a source says."""
    count = np.int64(0)
    for other in range(len(candidate)):
        count += candidate[other] and value[e, other, field] == value[e, source, field]
    return count


@compiled
def _length(lane: int, keys: Array, lengths: Array) -> Whole:
    """How long a text is; 0 where there is none."""
    at = find(keys, lane)
    return lengths[at] if at >= 0 else np.int64(0)


@compiled
def _recent(e: int, field: int, us: Array, rr: Array, tie: Array, candidate: Array) -> Whole:
    """Keep the candidates of the greatest position; how many stay."""
    best = -1
    for source in range(len(candidate)):
        if candidate[source] and (
            best < 0
            or newer(
                us[e, source, field],
                rr[e, source, field],
                tie[e, source, field],
                us[e, best, field],
                rr[e, best, field],
                tie[e, best, field],
            )
        ):
            best = source
    left = 0
    for source in range(len(candidate)):
        candidate[source] = (
            candidate[source]
            and us[e, source, field] == us[e, best, field]
            and rr[e, source, field] == rr[e, best, field]
            and tie[e, source, field] == tie[e, best, field]
        )
        left += candidate[source]
    return left


@compiled
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


@compiled
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


@compiled
def _take(
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
    us: Array,
    rr: Array,
    tie: Array,
) -> bool:
    """Fold one row's values; returns whether a value of its source changed."""
    moved = False
    for field in range(said.shape[1]):
        lane = said[i, field]
        if lane == ABSENT and not deleted:
            continue
        if newest or newer(said_us[i], said_rr[i], said_tie[i], us[e, s, field], rr[e, s, field], tie[e, s, field]):
            moved = moved or value[e, s, field] != lane
            value[e, s, field] = lane
            us[e, s, field] = said_us[i]
            rr[e, s, field] = said_rr[i]
            tie[e, s, field] = said_tie[i]
    return moved


@compiled
def _end(i: int, e: int, s: int, override: int, said: Array, value: Array, tie: Array) -> bool:
    """End the override that row i names, where it is what a person says last; returns whether it was."""
    ended = False
    for field in range(said.shape[1]):
        if said[i, field] != ABSENT and tie[e, s, field] == override and value[e, s, field] != ABSENT:
            value[e, s, field] = ABSENT
            ended = True
    return ended


@compiled
def _differ(e: int, field: int, sources: int, value: Array) -> bool:
    """Whether two sources say different things."""
    several = False
    first, differ = ABSENT, False
    for source in range(sources):
        lane = value[e, source, field]
        if lane == ABSENT or lane == NULL:
            continue
        differ = differ or (several and lane != first)
        first = lane
        several = True
    return differ


@compiled
def _apart(
    e: int,
    field: int,
    sources: int,
    form: int,
    power: float,
    absolute: float,
    relative: float,
    value: Array,
    bits: Array,
    double: Array,
) -> bool:
    """Whether the numbers of two sources are further apart than they may be."""
    low, high = np.inf, -np.inf
    for source in range(sources):
        lane = value[e, source, field]
        if lane != ABSENT and lane != NULL:
            real = number(lane, form, power, bits, double)
            low, high = min(low, real), max(high, real)
    if low > high:
        return False
    larger = max(abs(low), abs(high))
    return high - low > max(absolute, relative * larger) + ROUNDING * larger


@compiled
def fold_rows(
    rows: Columns,
    golden: Columns,
    drift: Array,
    series: Columns,
    hours: Array,
    codes: Columns,
    lengths: Columns,
    out: Columns,
) -> tuple[int, int, int]:
    """Fold rows, sorted by group and position, in place; returns how much of ``out`` is filled.

    (judged rows, deltas, observations). ``hours``: int64 [Z, n], see ``compare.seasons.hours_of``.
    """
    # Locals, because a column asked of its tuple again and again is counted as a reference each time.
    entity, origin, op, said = rows.entity, rows.source, rows.op, rows.value
    said_us, said_rr, said_tie = rows.us, rows.rr, rows.hash
    value, us, rr, tie, state = golden.value, golden.us, golden.rr, golden.hash, golden.state
    seen_us, seen_rr, seen_tie = golden.seen_us, golden.seen_rr, golden.seen_hash
    best, winner_of, rule_of = golden.golden, golden.winner, golden.rule
    cascade, ranks, keys, sizes = codes.cascade, codes.ranks, lengths.keys, lengths.values
    drift_field, drift_how = codes.drift_field, codes.drift_how
    base_field, base_form, base_power = codes.base_field, codes.base_form, codes.base_power
    row_, field_, old_, new_, source_, kind_ = out.row, out.field, out.old, out.new, out.source, out.kind
    drift_, said_, golden_ = out.drift, out.said, out.golden
    counts_ = series.learnt
    means_ = series.mean
    variances_ = series.variance
    quiet_us_ = series.quiet_us
    offsets_ = series.offset
    hits_ = series.hits
    spreads_ = series.spread
    base_season_ = codes.base_season
    base_warm_up_ = codes.base_warm_up
    base_refractory_us_ = codes.base_refractory_us
    base_alpha_ = codes.base_alpha
    seen_value_ = out.seen_value
    seen_score_ = out.seen_score
    seen_expected_ = out.seen_expected
    seen_low_ = out.seen_low
    seen_high_ = out.seen_high
    tellers, fields, rules = value.shape[1], value.shape[2], cascade.shape[1]
    sources = ranks.shape[1]
    people = tellers > sources  # then what they say stands after the sources
    candidate, score = np.zeros(sources, np.bool_), np.zeros(sources, np.int64)
    bits = np.zeros(1, np.int64)
    double = bits.view(np.float64)
    m = d = k = 0
    for i in range(len(entity)):
        e, s = entity[i], origin[i]
        unseen = True
        for teller in range(tellers):
            unseen = unseen and state[e, teller] == UNSEEN
        deleted = op[i] == DELETE
        if op[i] == ENDS:
            newest = False
            moved = _end(i, e, s, rows.key[i], said, value, tie)
        else:
            newest = newer(said_us[i], said_rr[i], said_tie[i], seen_us[e, s], seen_rr[e, s], seen_tie[e, s])
            moved = _take(i, e, s, deleted, newest, said, said_us, said_rr, said_tie, value, us, rr, tie)
        if newest:
            seen_us[e, s], seen_rr[e, s], seen_tie[e, s] = said_us[i], said_rr[i], said_tie[i]
            state[e, s] = DELETED if deleted else PRESENT
            golden.key[e, s] = rows.key[i]
            golden.event[e, s] = rows.event[i]
        first = d
        for field in range(fields):
            left = _candidates(e, field, value, candidate)
            decided = 0 if left == 1 else -1
            rule = 0
            while decided < 0 and left and rule < rules and cascade[field, rule] >= 0:
                how = cascade[field, rule]
                if how == RECENT:
                    left = _recent(e, field, us, rr, tie, candidate)
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
                            score[source] = _length(value[e, source, field], keys, sizes)
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
            old = best[e, field]
            if people and value[e, sources, field] != ABSENT:
                winner, new, decided = sources, value[e, sources, field], OVERRIDDEN
            elif left:
                winner = 0
                while not candidate[winner]:
                    winner += 1
                new = value[e, winner, field]
            else:
                winner, new = -1, ABSENT
            best[e, field], winner_of[e, field], rule_of[e, field] = new, winner, decided
            old = NULL if old == ABSENT else old
            new = NULL if new == ABSENT else new
            if old != new:
                row_[d], field_[d], old_[d], new_[d] = i, field, old, new
                source_[d] = winner if winner >= 0 else s
                kind_[d] = _ADDED if old == NULL else _REMOVED if new == NULL else _CHANGED
                d += 1
        if not (moved or unseen or d > first):
            continue
        for t in range(len(drift_field)):
            field = drift_field[t]
            if drift_how[t] == NUMERIC:
                drift_[m, t] = _apart(
                    e,
                    field,
                    sources,
                    codes.drift_form[t],
                    codes.drift_power[t],
                    codes.drift_absolute[t],
                    codes.drift_relative[t],
                    value,
                    bits,
                    double,
                )
            else:
                drift_[m, t] = _differ(e, field, sources, value)
                for source in range(sources):
                    said_[m, t, source] = value[e, source, field]
            drift[e, t] = drift_[m, t]
        for b in range(len(base_field)):
            for at in range(first, d):
                if field_[at] == base_field[b] and new_[at] != NULL:
                    real = number(new_[at], base_form[b], base_power[b], bits, double)
                    observe(
                        b,
                        i,
                        rows.group[i],
                        said_us[i],
                        real,
                        counts_,
                        means_,
                        variances_,
                        quiet_us_,
                        offsets_,
                        hits_,
                        spreads_,
                        base_season_,
                        base_warm_up_,
                        base_refractory_us_,
                        base_alpha_,
                        seen_value_,
                        seen_score_,
                        seen_expected_,
                        seen_low_,
                        seen_high_,
                        hours,
                        k,
                    )
                    out.seen_row[k], out.seen_base[k] = i, b
                    k += 1
        out.judged[m], out.fresh[m] = i, unseen
        for field in range(fields):
            golden_[m, field] = best[e, field]
        m += 1
    return m, d, k
