"""Anomalies: what is learnt of a series, and when a value is unlike it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from flockiq.compare.anomalies import CLIP, FLOOR, Series, observe
from flockiq.shared.layout import Baseline, Field, Layout

DAY = 86_400_000_000


def series_of(baseline: Baseline, groups: int = 1) -> Series:
    """Baselines that have seen nothing."""
    layout = Layout("thing", (Field("amount", "float"),), ("erp",), "", (("recent",),), ((0,),), (), (baseline,))
    return Series.empty(layout, groups)


def see(series: Series, baseline: Baseline, values: Sequence[float], us: Sequence[int] | None = None) -> list[float]:
    """Give one group values one by one; the scores."""
    scores = []
    for number, value in enumerate(values):
        at = np.array([us[number] if us else number], np.int64)
        found = observe(series, 0, baseline, np.zeros(1, np.int64), np.array([float(value)]), at)
        scores.append(float(found.score[0]))
    return scores


@pytest.mark.parametrize("warm_up", [2, 8])
def test_nothing_is_unusual_until_the_series_is_warm(warm_up: int) -> None:
    """As many values as config asks for are learnt without a score; the next one has one."""
    baseline = Baseline(0, warm_up=warm_up)
    scores = see(series_of(baseline), baseline, [10, 1000, *[10] * (warm_up - 2), 10])
    assert [math.isnan(score) for score in scores] == [True] * warm_up + [False]


def test_the_first_values_count_alike() -> None:
    """While it warms up a series keeps the plain mean and variance."""
    baseline = Baseline(0, alpha=0.01, warm_up=20)
    series, values = series_of(baseline), [3.0, 5.0, 4.0, 9.0, 1.0]
    see(series, baseline, values)
    assert series.mean[0, 0] == pytest.approx(np.mean(values))
    assert series.variance[0, 0] == pytest.approx(np.var(values))
    assert series.count[0, 0] == 5


def test_a_score_is_the_distance_in_deviations_before_the_value_is_learnt() -> None:
    """With the mean and the bounds that it was judged by."""
    baseline = Baseline(0, warm_up=4)
    series = series_of(baseline)
    see(series, baseline, [8, 12, 8, 12])
    found = observe(series, 0, baseline, np.zeros(1, np.int64), np.array([16.0]), np.zeros(1, np.int64))
    assert found.score[0] == pytest.approx(3.0)
    assert (found.expected[0], found.low[0], found.high[0]) == pytest.approx((10.0, 2.0, 18.0))


def test_a_constant_series_is_not_infinitely_sharp() -> None:
    """A deviation is never less than a part of the mean, and never nothing."""
    baseline = Baseline(0, warm_up=4)
    (score,) = see(series := series_of(baseline), baseline, [100] * 4 + [102])[4:]
    assert score == pytest.approx(2 / (FLOOR * 100))
    assert series.count[0, 0] == 5
    assert math.isfinite(see(series_of(baseline), baseline, [0] * 4 + [1])[4])


def test_an_outlier_teaches_no_more_than_the_bound() -> None:
    """What is far beyond is learnt as if it stood at the bound, so the next one is an outlier as well."""
    baseline = Baseline(0, warm_up=4)
    one, other = series_of(baseline), series_of(baseline)
    see(one, baseline, [8, 12, 8, 12, 1e9])
    see(other, baseline, [8, 12, 8, 12, 10 + CLIP * 2])
    assert one.mean[0, 0] == other.mean[0, 0]
    assert one.variance[0, 0] == other.variance[0, 0]
    assert abs(see(one, baseline, [1e9])[0]) > CLIP


def test_within_the_refractory_period_a_series_is_quiet_and_still_learns() -> None:
    """It begins with a finding, is not prolonged by those it hides, and ends on time."""
    baseline = Baseline(0, warm_up=4, refractory_us=DAY)
    series = series_of(baseline)
    times = [0, 1, 2, 3, 10, 11, DAY + 9, DAY + 10]
    scores = see(series, baseline, [8, 12, 8, 12, 500, 500, 500, 10], times)
    assert abs(scores[4]) > CLIP
    assert [math.isnan(score) for score in scores[5:]] == [True, True, False]
    assert series.count[0, 0] == 8
    assert series.quiet_us[0, 0] == 10 + DAY


def test_without_a_refractory_period_every_outlier_scores() -> None:
    """The default is to hide nothing."""
    baseline = Baseline(0, warm_up=4)
    scores = see(series_of(baseline), baseline, [8, 12, 8, 12, 500, 500])
    assert all(abs(score) > CLIP for score in scores[4:])


@pytest.mark.parametrize("seed", range(5))
def test_batch_boundaries_make_no_difference_to_a_single_bit(seed: int) -> None:
    """Many groups at once or one value at a time: the same scores and the same state."""
    rng = random.Random(seed)
    baseline = Baseline(0, alpha=0.3, warm_up=3, refractory_us=4)
    rows = [(group, rng.lognormvariate(3, 1), us) for us in range(30) for group in rng.sample(range(7), 5)]
    together, alone = series_of(baseline, 7), series_of(baseline, 7)
    batched = []
    for start in range(0, len(rows), 5):  # five rows share a time, and no group repeats among them
        group, value, us = zip(*rows[start : start + 5], strict=True)
        batched.append(observe(together, 0, baseline, np.array(group), np.array(value), np.array(us)))
    single = [
        observe(alone, 0, baseline, np.array([group]), np.array([value]), np.array([us])) for group, value, us in rows
    ]
    for column in range(4):
        many = np.concatenate([found[column] for found in batched])
        assert many.tobytes() == np.concatenate([found[column] for found in single]).tobytes()
    for name in Series.names:
        assert getattr(together, name).tobytes() == getattr(alone, name).tobytes()


def test_groups_do_not_teach_each_other() -> None:
    """What one customer orders says nothing of another."""
    baseline = Baseline(0, warm_up=2)
    series = series_of(baseline, 2)
    for value in (10.0, 10.0, 10.0):
        observe(series, 0, baseline, np.array([0]), np.array([value]), np.zeros(1, np.int64))
    found = observe(series, 0, baseline, np.array([0, 1]), np.array([10.0, 9999.0]), np.zeros(2, np.int64))
    assert found.score[0] == 0
    assert math.isnan(found.score[1])
