"""Scoring a number against its series, compiled: what ``compare.anomalies.observe`` does, one value at a time.

Imported only by pipeline/compiled.py, through pipeline/rowwise.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.compare.anomalies import CLIP, FLOOR, GAIN, LEAST, SLOW
from flockiq.pipeline.codes import BITS, SCALED
from flockiq.shared.machine.code import Array, Real, lent

_BELOW_SIGN = np.int64((1 << 63) - 1)


@lent
def number(lane: int, form: int, power: float, bits: Array, double: Array) -> Real:
    """A lane as a number; ``bits`` and ``double`` are one word seen as int64 and as float64."""
    if form == SCALED:
        return lane / power
    if form == BITS:
        bits[0] = lane ^ _BELOW_SIGN if lane < 0 else lane
        return double[0]
    return np.float64(lane)


@lent
def _known(group: int, slot: int, hour: int, variance: float, hits: Array, spreads: Array) -> tuple[Real, Real]:
    """The doubt about an hour's offset (a variance), and how far it follows an error."""
    seen, spread = hits[group, slot, hour], max(spreads[group, slot], variance)
    known, then = variance + seen * spread, variance + (seen + 1) * spread
    doubt = spread * variance / known if known > 0 else 0.0
    gain = max(GAIN, spread / then) if then > 0 else GAIN
    return doubt, gain


@lent
def _rhythm(
    group: int,
    slot: int,
    hour: int,
    plain: float,
    slow: float,
    error: float,
    offset: Array,
    hits: Array,
    spread: Array,
) -> None:
    """Learn an hour's offset, and how much hours differ."""
    spread[group, slot] = (1.0 - slow) * (spread[group, slot] + slow * plain * plain)
    offset[group, slot, hour] += error
    hits[group, slot, hour] += 1


@lent
def observe(
    b: int,
    i: int,
    group: int,
    us: int,
    value: float,
    counts: Array,
    means: Array,
    variances: Array,
    quiet_us: Array,
    offsets: Array,
    hits: Array,
    spreads: Array,
    base_season: Array,
    base_warm_up: Array,
    base_refractory_us: Array,
    base_alpha: Array,
    seen_value: Array,
    seen_score: Array,
    seen_expected: Array,
    seen_low: Array,
    seen_high: Array,
    hours: Array,
    k: int,
) -> None:
    """Score row i's number against its series, then learn it.

    The columns of series, codes and out one by one: asked of their tuples, each would be counted as a reference.
    """
    count = counts[group, b]
    mean, variance = means[group, b], variances[group, b]
    slot = base_season[b]
    hour, gain = 0, 0.0
    expected, unsure = mean, variance
    if slot >= 0:
        hour = hours[slot, i]
        doubt, gain = _known(group, slot, hour, variance, hits, spreads)
        expected, unsure = mean + offsets[group, slot, hour], variance + doubt
    deviation = max(np.sqrt(unsure), FLOOR * abs(expected), LEAST)
    warm = count >= base_warm_up[b]
    score = (value - expected) / deviation if warm else np.nan
    if base_refractory_us[b]:
        quiet = us < quiet_us[group, b]
        if warm and abs(score) > CLIP and not quiet:
            quiet_us[group, b] = us + base_refractory_us[b]
        if quiet:
            score = np.nan
    low, high = expected - CLIP * deviation, expected + CLIP * deviation
    learnt = min(max(value, low), high) if warm else value
    weight = max(base_alpha[b], 1.0 / (count + 1))
    step = learnt - expected
    if slot >= 0:
        slow = max(base_alpha[b] / SLOW, 1.0 / (count + 1))
        _rhythm(group, slot, hour, learnt - mean, slow, gain * (1.0 - weight) * step, offsets, hits, spreads)
    means[group, b] = mean + weight * step
    variances[group, b] = (1.0 - weight) * (variance + weight * step * step)
    counts[group, b] = count + 1
    seen_value[k], seen_score[k], seen_expected[k] = value, score, expected
    seen_low[k], seen_high[k] = low, high
