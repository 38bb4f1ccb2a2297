"""Fold and compare, row by row, compiled: the same results as pipeline/rounds.py, many times as fast.

Imported only by pipeline/compiled.py, which gives it a folder of its own to keep machine code in. The
functions take arrays and fill arrays; they allocate little and never call Python.
"""

from __future__ import annotations

import numpy as np

from flockiq.compare.drift import ROUNDING
from flockiq.merge.ages import NOWHERE
from flockiq.merge.golden import DELETED, PRESENT, UNSEEN
from flockiq.merge.survivorship import FOLLOWED, OVERRIDDEN
from flockiq.pipeline.codes import (
    AGE,
    COUNT,
    DRIFT,
    EVENT,
    GOLDEN,
    HITS,
    KEY,
    MEAN,
    NUMERIC,
    OFFSET,
    OLDER,
    QUIET_US,
    RULE,
    SEEN_RR,
    SEEN_US,
    SETTLED,
    SPREAD,
    STATE,
    VALUE,
    VARIANCE,
    WINNER,
)
from flockiq.pipeline.rowchoose import ASK, choose, overtaken, stays
from flockiq.pipeline.rowscore import number, observe
from flockiq.pipeline.rowtake import SAID, again, end_override, take, time_of
from flockiq.shared.lanes import ABSENT, NULL
from flockiq.shared.layout import HOURS
from flockiq.shared.machine.code import Array, Columns, borrowing, lent, newer
from flockiq.shared.machine.memory import ask_for_row, ask_for_whole_row
from flockiq.shared.machine.structs import (
    cube_of_bytes,
    cube_of_places,
    cube_of_reals,
    cube_of_words,
    face_of_bytes,
    face_of_places,
    face_of_reals,
    face_of_truths,
    face_of_words,
    flat_of_truths,
)
from flockiq.shared.rows import DELETE, ENDS, UPSERT

_AHEAD = 8  # rows: what a row will need is asked for so many before it
_ADDED, _REMOVED, _CHANGED = 0, 1, 2


@lent
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


@lent
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


@lent
def _in_other_currencies(e: int, field: int, currency: int, sources: int, value: Array) -> bool:
    """Whether two sources say an amount in different currencies."""
    first = ABSENT
    for source in range(sources):
        amount, lane = value[e, source, field], value[e, source, currency]
        if amount == ABSENT or amount == NULL or lane == ABSENT or lane == NULL:
            continue
        if first != ABSENT and lane != first:
            return True
        first = lane
    return False


@borrowing
def fold_rows(
    begin: int,
    m: int,
    d: int,
    k: int,
    left: int,
    rows: Columns,
    golden: Columns,
    aged: Columns,
    signs: Columns,
    series: Columns,
    hours: Array,
    codes: Columns,
    lengths: Columns,
    scratch: Columns,
    out: Columns,
) -> tuple[int, int, int, int, int]:
    """Fold rows, sorted by group and position, in place, from the ``begin``-th on.

    ``m``, ``d`` and ``k`` judged rows, deltas and observations are in ``out``; ``left`` places for older
    positions are free. Returns the row it has come to, which is before the last where no place is left,
    and the four as they are then. ``golden``, ``signs``, ``series``: see pipeline.codes.StructColumns.
    ``hours``: int64 [Z, n], see ``compare.seasons.hours_of``.
    """
    entity, group, origin, op, said = rows.entity, rows.group, rows.source, rows.op, rows.value
    said_us, said_rr, said_tie, row_key = rows.us, rows.rr, rows.event, rows.key
    fields, sources = said.shape[1], codes.ranks.shape[1]
    tellers, tolerances, baselines, seasons = codes.tellers, len(codes.drift_field), len(codes.base_field), len(hours)
    known, at = golden
    value, age = cube_of_words(known, at[VALUE], tellers, fields), cube_of_bytes(known, at[AGE], tellers, fields)
    older, state = face_of_places(known, at[OLDER], tellers), face_of_bytes(known, at[STATE], tellers)
    seen_us, seen_rr = face_of_words(known, at[SEEN_US], tellers), face_of_words(known, at[SEEN_RR], tellers)
    seen_tie, key = face_of_words(known, at[EVENT], tellers), face_of_words(known, at[KEY], tellers)
    best, settled = face_of_words(known, at[GOLDEN], fields), flat_of_truths(known, at[SETTLED])
    winner_of, rule_of = face_of_bytes(known, at[WINNER], fields), face_of_bytes(known, at[RULE], fields)
    learnt, at = series
    counts, means = face_of_places(learnt, at[COUNT], baselines), face_of_reals(learnt, at[MEAN], baselines)
    variances, quiet_us = face_of_reals(learnt, at[VARIANCE], baselines), face_of_words(learnt, at[QUIET_US], baselines)
    offsets, hits = cube_of_reals(learnt, at[OFFSET], seasons, HOURS), cube_of_places(learnt, at[HITS], seasons, HOURS)
    spreads = face_of_reals(learnt, at[SPREAD], seasons)
    drifting = face_of_truths(signs.rows, signs.at[DRIFT], tolerances)
    older_us, older_rr, older_tie, free = aged.us, aged.rr, aged.hash, aged.free
    cascade, ranks = codes.cascade, codes.ranks
    places, lanes, bounds, utf8 = lengths.places, lengths.lanes, lengths.bounds, lengths.utf8
    recent, by_value, complete, follows = codes.recent, codes.by_value, codes.complete, codes.follows
    drift_field, drift_currency, drift_how = codes.drift_field, codes.drift_currency, codes.drift_how
    drift_form, drift_power = codes.drift_form, codes.drift_power
    drift_absolute, drift_relative = codes.drift_absolute, codes.drift_relative
    base_field, base_form, base_power = codes.base_field, codes.base_form, codes.base_power
    row_, field_, old_, new_, source_, kind_ = out.row, out.field, out.old, out.new, out.source, out.kind
    old_us_, new_us_ = out.old_us, out.new_us
    judged_, fresh_, drift_, said_, golden_ = out.judged, out.fresh, out.drift, out.said, out.golden
    seen_row_, seen_base_ = out.seen_row, out.seen_base
    base_season_ = codes.base_season
    base_warm_up_ = codes.base_warm_up
    base_refractory_us_ = codes.base_refractory_us
    base_alpha_ = codes.base_alpha
    seen_value_ = out.seen_value
    seen_score_ = out.seen_score
    seen_expected_ = out.seen_expected
    seen_low_ = out.seen_low
    seen_high_ = out.seen_high
    candidate, score, news, bits, double, before_us = scratch
    people = tellers > sources  # then what they say stands after the sources
    for i in range(begin, len(entity)):
        if not left:
            return i, m, d, k, left
        coming = min(i + _AHEAD, len(entity) - 1)
        ask_for_whole_row(known, entity[coming])
        ask_for_row(signs.rows, entity[coming])
        ask_for_whole_row(learnt, group[coming])
        e, s = entity[i], origin[i]
        unseen, moved, more = False, False, np.int64(0)
        last_us, apart = seen_us[e, s], older[e, s] != NOWHERE
        if apart:
            for field in range(fields):
                before_us[field] = time_of(e, s, field, age, older, seen_us, older_us)
        newest = newer(said_us[i], said_rr[i], said_tie[i], seen_us[e, s], seen_rr[e, s], seen_tie[e, s])
        if newest and op[i] == UPSERT and older[e, s] == NOWHERE and again(i, e, s, said, value):
            for field in range(fields):
                news[field] = SAID
            seen_us[e, s], seen_rr[e, s], seen_tie[e, s] = said_us[i], said_rr[i], said_tie[i]
            key[e, s] = row_key[i]
        else:
            unseen = True
            for teller in range(tellers):
                unseen = unseen and state[e, teller] == UNSEEN
            if op[i] == ENDS:
                moved = end_override(
                    i,
                    e,
                    s,
                    row_key[i],
                    said,
                    value,
                    age,
                    older,
                    seen_us,
                    seen_rr,
                    seen_tie,
                    older_us,
                    older_rr,
                    older_tie,
                    news,
                )
            else:
                deleted = op[i] == DELETE
                moved, more, left = take(
                    i,
                    e,
                    s,
                    deleted,
                    newest,
                    said,
                    said_us,
                    said_rr,
                    said_tie,
                    value,
                    age,
                    older,
                    seen_us,
                    seen_rr,
                    seen_tie,
                    older_us,
                    older_rr,
                    older_tie,
                    free,
                    left,
                    news,
                )
                if newest:
                    seen_us[e, s], seen_rr[e, s], seen_tie[e, s] = said_us[i], said_rr[i], said_tie[i]
                    state[e, s] = DELETED if deleted else PRESENT
                    key[e, s] = row_key[i]
        first = d
        anew = not settled[e]
        settled[e] = True
        for field in range(fields):
            anyhow = anew or (more and complete[field])
            lead = follows[field]
            anyhow = anyhow or lead >= 0
            if not anyhow and stays(news[field], s, winner_of[e, field], rule_of[e, field], recent[field]):
                continue
            winner, decided = winner_of[e, field], rule_of[e, field]
            simply = not anyhow and by_value[field] and decided == recent[field]
            if simply and s < sources and 0 <= winner < sources:
                winner = overtaken(
                    news[field],
                    e,
                    s,
                    field,
                    winner,
                    recent[field],
                    value,
                    age,
                    older,
                    seen_us,
                    seen_rr,
                    seen_tie,
                    older_us,
                    older_rr,
                    older_tie,
                )
            else:
                winner = ASK
            if lead >= 0 and best[e, lead] != ABSENT and best[e, lead] != NULL:
                lane = value[e, winner_of[e, lead], field]
                if lane != ABSENT and lane != NULL:
                    winner, decided = winner_of[e, lead], FOLLOWED
            if winner == ASK:
                winner, decided = choose(
                    e,
                    field,
                    value,
                    age,
                    older,
                    seen_us,
                    seen_rr,
                    seen_tie,
                    older_us,
                    older_rr,
                    older_tie,
                    cascade,
                    ranks,
                    places,
                    lanes,
                    bounds,
                    utf8,
                    candidate,
                    score,
                )
            new = value[e, winner, field] if winner >= 0 else ABSENT
            if people and value[e, sources, field] != ABSENT:
                winner, new, decided = sources, value[e, sources, field], OVERRIDDEN
            old, teller = best[e, field], winner_of[e, field]
            best[e, field], winner_of[e, field], rule_of[e, field] = new, winner, decided
            old = NULL if old == ABSENT else old
            new = NULL if new == ABSENT else new
            if old != new:
                row_[d], field_[d], old_[d], new_[d] = i, field, old, new
                source_[d] = winner if winner >= 0 else s
                old_us_[d] = new_us_[d] = NULL
                if old != NULL and teller == s:
                    old_us_[d] = before_us[field] if apart else last_us
                elif old != NULL and teller >= 0:
                    old_us_[d] = time_of(e, teller, field, age, older, seen_us, older_us)
                if new != NULL:
                    new_us_[d] = time_of(e, winner, field, age, older, seen_us, older_us)
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
                    drift_form[t],
                    drift_power[t],
                    drift_absolute[t],
                    drift_relative[t],
                    value,
                    bits,
                    double,
                )
            else:
                drift_[m, t] = _differ(e, field, sources, value)
                for source in range(sources):
                    said_[m, t, source] = value[e, source, field]
            if drift_currency[t] >= 0 and not drift_[m, t]:
                drift_[m, t] = _in_other_currencies(e, field, drift_currency[t], sources, value)
            drifting[e, t] = drift_[m, t]
        for b in range(len(base_field)):
            for at in range(first, d):
                if field_[at] == base_field[b] and new_[at] != NULL:
                    real = number(new_[at], base_form[b], base_power[b], bits, double)
                    observe(
                        b,
                        i,
                        group[i],
                        said_us[i],
                        real,
                        counts,
                        means,
                        variances,
                        quiet_us,
                        offsets,
                        hits,
                        spreads,
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
                    seen_row_[k], seen_base_[k] = i, b
                    k += 1
        judged_[m], fresh_[m] = i, unseen
        for field in range(fields):
            golden_[m, field] = best[e, field]
        m += 1
    return len(entity), m, d, k, left
