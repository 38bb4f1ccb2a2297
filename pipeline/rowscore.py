"""Scoring a number against its series, compiled: what ``compare.anomalies.observe`` does, one value at a time.

Imported only by pipeline/compiled.py, through pipeline/rowwise.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.compare.anomalies import CLIP, FLOOR, GAIN, LEAST, SLOW
from flockiq.pipeline.codes import BITS, SCALED
from flockiq.pipeline.machine import Array, Columns, Real, compiled

_BELOW_SIGN = np.int64((1 << 63) - 1)


@compiled
def number(lane: int, form: int, power: float, bits: Array, double: Array) -> Real:
    """A lane as a number; ``bits`` and ``double`` are one word seen as int64 and as float64."""
    if form == SCALED:
        return lane / power
    if form == BITS:
        bits[0] = lane ^ _BELOW_SIGN if lane < 0 else lane
        return double[0]
    return np.float64(lane)


@compiled
def observe(
    b: int,
    i: int,
    group: int,
    us: int,
    value: float,
    series: Columns,
    hours: Array,
    codes: Columns,
    out: Columns,
    k: int,
) -> None:
    """Score row i's number against its series, then learn it."""
    count = series.learnt[group, b]
    mean, variance = series.mean[group, b], series.variance[group, b]
    slot = codes.base_season[b]
    hour, hits = 0, 0
    spread, offset, doubt = 0.0, 0.0, 0.0
    expected, unsure = mean, variance
    if slot >= 0:
        hour = hours[slot, i]
        hits, offset = series.hits[group, slot, hour], series.offset[group, slot, hour]
        spread = max(series.spread[group, slot], variance)
        known = variance + hits * spread
        doubt = spread * variance / known if known > 0 else 0.0
        expected, unsure = mean + offset, variance + doubt
    deviation = max(np.sqrt(unsure), FLOOR * abs(expected), LEAST)
    warm = count >= codes.base_warm_up[b]
    score = (value - expected) / deviation if warm else np.nan
    if codes.base_refractory_us[b]:
        quiet = us < series.quiet_us[group, b]
        if warm and abs(score) > CLIP and not quiet:
            series.quiet_us[group, b] = us + codes.base_refractory_us[b]
        if quiet:
            score = np.nan
    low, high = expected - CLIP * deviation, expected + CLIP * deviation
    learnt = min(max(value, low), high) if warm else value
    weight = max(codes.base_alpha[b], 1.0 / (count + 1))
    step = learnt - expected
    if slot >= 0:
        then = variance + (hits + 1) * spread
        gain = max(GAIN, spread / then) if then > 0 else GAIN
        slow = max(codes.base_alpha[b] / SLOW, 1.0 / (count + 1))
        plain = learnt - mean
        series.spread[group, slot] = (1.0 - slow) * (series.spread[group, slot] + slow * plain * plain)
        series.offset[group, slot, hour] = offset + gain * (1.0 - weight) * step
        series.hits[group, slot, hour] = hits + 1
    series.mean[group, b] = mean + weight * step
    series.variance[group, b] = (1.0 - weight) * (variance + weight * step * step)
    series.learnt[group, b] = count + 1
    out.seen_value[k], out.seen_score[k], out.seen_expected[k] = value, score, expected
    out.seen_low[k], out.seen_high[k] = low, high
