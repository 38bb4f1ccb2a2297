"""Anomalies: a number unlike its own history, kept online.

A series (one entity's or one group's values of a field) keeps an exponentially weighted mean and
variance (West, "Updating mean and variance estimates", 1979; weights 1/n while warming up, so
that the first values count alike). The score is the distance from the mean in standard
deviations, taken before the value is learnt. What is learnt is clipped to CLIP deviations, so an
outlier does not teach the series that outliers are usual.

A series may have a weekly rhythm: an offset from the mean for each hour of the week, in the additive
form of Holt and Winters (Winters, "Forecasting sales by exponentially weighted moving averages",
1960). How far an hour's offset follows one value is what a Kalman filter would give it: much, where
hours are known to differ by more than values scatter, and less with each value that the hour has
seen. What is not yet known of an hour widens the deviation that its values are scored by.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import ABSENT, Floats, Int64s
from flockiq.shared.layout import HOURS, Baseline, Layout
from flockiq.shared.structs import Structs

CLIP = 4.0  # deviations beyond which a value teaches no more
FLOOR = 0.02  # the least deviation, as a part of the mean: a constant series is not infinitely sharp
LEAST = 1e-9  # the least deviation
GAIN = 0.1  # the least part of an hour's error that its offset takes over
SLOW = 16.0  # how much slower than the mean the spread of the hours is learnt: a rhythm lasts


class Series(Structs):
    """Baselines of n groups with B baselines each, of which Z have a weekly rhythm.

    count: int32 [n, B]; mean, variance: float64 [n, B]; quiet_us: int64 [n, B], until when a
    finding is not repeated. offset: float64 [n, Z, 168], from the mean, by hour of the week; hits:
    int32 [n, Z, 168], values seen in that hour; spread: float64 [n, Z], the variance without the rhythm.
    """

    count: npt.NDArray[np.int32]
    mean: Floats
    variance: Floats
    quiet_us: Int64s
    offset: Floats
    hits: npt.NDArray[np.int32]
    spread: Floats

    @classmethod
    def empty(cls, layout: Layout, n: int) -> Self:
        """Baselines of ``n`` groups that have seen nothing."""
        shape, weekly = (n, len(layout.baselines)), (n, len(layout.seasons), HOURS)
        return cls(
            count=np.zeros(shape, np.int32),
            mean=np.zeros(shape, np.float64),
            variance=np.zeros(shape, np.float64),
            quiet_us=np.full(shape, ABSENT, np.int64),
            offset=np.zeros(weekly, np.float64),
            hits=np.zeros(weekly, np.int32),
            spread=np.zeros(weekly[:2], np.float64),
        )


class Findings(NamedTuple):
    """Scores of r observations of one baseline: all float64 [r]; NaN while the series warms up."""

    score: Floats
    expected: Floats
    low: Floats
    high: Floats


class Season(NamedTuple):
    """When r observations lie in their baseline's rhythm, which is the ``slot``-th; hour: int64 [r]."""

    slot: int
    hour: Int64s


class _Usual(NamedTuple):
    """What is known before a value is seen, float64 [r].

    The offset of its hour, the doubt about that (a variance), and what part of an error it will take over.
    """

    offset: Floats
    doubt: Floats
    gain: Floats


def observe(
    series: Series,
    number: int,
    baseline: Baseline,
    group: Int64s,
    value: Floats,
    us: Int64s,
    season: Season | None = None,
) -> Findings:
    """Score values against their series, then learn them; ``group`` must not repeat.

    Within the refractory period after a finding (a score beyond CLIP) scores are NaN.
    """
    count = series.count[group, number]
    mean, variance = series.mean[group, number], series.variance[group, number]
    usual = None if season is None else _usual(series, season, group, variance)
    expected = mean if usual is None else mean + usual.offset
    unsure = variance if usual is None else variance + usual.doubt
    deviation = np.maximum(np.sqrt(unsure), np.maximum(FLOOR * np.abs(expected), LEAST))
    warm = count >= baseline.warm_up
    score = np.where(warm, (value - expected) / deviation, np.nan)
    quiet = us < series.quiet_us[group, number]
    beyond = warm & (np.abs(score) > CLIP)
    if baseline.refractory_us:
        series.quiet_us[group, number] = np.where(
            beyond & ~quiet, us + baseline.refractory_us, series.quiet_us[group, number]
        )
        score = np.where(quiet, np.nan, score)

    low, high = expected - CLIP * deviation, expected + CLIP * deviation
    learnt = np.where(warm, np.clip(value, low, high), value)
    weight = np.maximum(baseline.alpha, 1.0 / (count + 1))
    step = learnt - expected
    if season is not None and usual is not None:
        slow = np.maximum(baseline.alpha / SLOW, 1.0 / (count + 1))
        plain, spread = learnt - mean, series.spread[group, season.slot]
        series.spread[group, season.slot] = (1.0 - slow) * (spread + slow * plain * plain)
        series.offset[group, season.slot, season.hour] = usual.offset + usual.gain * (1.0 - weight) * step
        series.hits[group, season.slot, season.hour] += 1
    series.mean[group, number] = mean + weight * step
    series.variance[group, number] = (1.0 - weight) * (variance + weight * step * step)
    series.count[group, number] = count + 1
    return Findings(score, expected, low, high)


def _usual(series: Series, season: Season, group: Int64s, variance: Floats) -> _Usual:
    """The offset of each value's hour, how sure it is, and how far it follows the value."""
    hits = series.hits[group, season.slot, season.hour]
    spread = np.maximum(series.spread[group, season.slot], variance)
    known, then = variance + hits * spread, variance + (hits + 1) * spread
    with np.errstate(invalid="ignore"):  # 0 / 0 of a series that has seen one value at most
        doubt = np.where(known > 0, spread * variance / known, 0.0)
        gain = np.where(then > 0, np.maximum(GAIN, spread / then), GAIN)
    return _Usual(series.offset[group, season.slot, season.hour], doubt, gain)
