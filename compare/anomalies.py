"""Anomalies: a number unlike its own history, kept online.

A series (one entity's or one group's values of a field) keeps an exponentially weighted mean and
variance (West, "Updating mean and variance estimates", 1979; weights 1/n while warming up, so
that the first values count alike). The score is the distance from the mean in standard
deviations, taken before the value is learnt. What is learnt is clipped to CLIP deviations, so an
outlier does not teach the series that outliers are usual.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from flockiq.shared.arrays import Arrays
from flockiq.shared.lanes import ABSENT, Floats, Int64s
from flockiq.shared.layout import Baseline, Layout

CLIP = 4.0  # deviations beyond which a value teaches no more
FLOOR = 0.02  # the least deviation, as a part of the mean: a constant series is not infinitely sharp


class Series(Arrays):
    """Baselines of n groups with B baselines each.

    count: int64 [n, B]; mean, variance: float64 [n, B]; quiet_us: int64 [n, B], until when a
    finding is not repeated.
    """

    count: Int64s
    mean: Floats
    variance: Floats
    quiet_us: Int64s

    @classmethod
    def empty(cls, layout: Layout, n: int) -> Self:
        """Baselines of ``n`` groups that have seen nothing."""
        shape = (n, len(layout.baselines))
        return cls(
            count=np.zeros(shape, np.int64),
            mean=np.zeros(shape, np.float64),
            variance=np.zeros(shape, np.float64),
            quiet_us=np.full(shape, ABSENT, np.int64),
        )


class Findings(NamedTuple):
    """Scores of r observations of one baseline: all float64 [r]; NaN while the series warms up."""

    score: Floats
    expected: Floats
    low: Floats
    high: Floats


def observe(series: Series, number: int, baseline: Baseline, group: Int64s, value: Floats, us: Int64s) -> Findings:
    """Score values against their series, then learn them; ``group`` must not repeat.

    Within the refractory period after a finding (a score beyond CLIP) scores are NaN.
    """
    count = series.count[group, number]
    mean, variance = series.mean[group, number], series.variance[group, number]
    deviation = np.maximum(np.sqrt(variance), np.maximum(FLOOR * np.abs(mean), 1e-9))
    warm = count >= baseline.warm_up
    score = np.where(warm, (value - mean) / deviation, np.nan)
    quiet = us < series.quiet_us[group, number]
    beyond = warm & (np.abs(score) > CLIP)
    if baseline.refractory_us:
        series.quiet_us[group, number] = np.where(
            beyond & ~quiet, us + baseline.refractory_us, series.quiet_us[group, number]
        )
        score = np.where(quiet, np.nan, score)

    learnt = np.where(warm, np.clip(value, mean - CLIP * deviation, mean + CLIP * deviation), value)
    weight = np.maximum(baseline.alpha, 1.0 / (count + 1))
    step = learnt - mean
    series.mean[group, number] = mean + weight * step
    series.variance[group, number] = (1.0 - weight) * (variance + weight * step * step)
    series.count[group, number] = count + 1
    return Findings(score, mean, mean - CLIP * deviation, mean + CLIP * deviation)
