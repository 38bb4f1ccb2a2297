"""A weekly rhythm: what is usual at an hour of the week is no anomaly, and what is not still is one."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flockiq.compare.anomalies import CLIP, Season, Series, observe
from flockiq.compare.seasons import hours_of_week
from flockiq.shared.instants import EARLIEST_US, LATEST_US
from flockiq.shared.layout import HOURS, Baseline, Field, Layout

WEEKS = 8
PLAIN, WEEKLY = Baseline(0), Baseline(0, alpha=0.03, warm_up=HOURS, zone="UTC")


def working_hours(seed: int, weeks: int = WEEKS) -> list[float]:
    """A value an hour, from a Monday on: high while people work, low at night and at weekends."""
    rng = random.Random(seed)
    return [
        (180.0 if hour < 5 * 24 and 8 <= hour % 24 < 18 else 100.0) + rng.gauss(0, 3)
        for _ in range(weeks)
        for hour in range(HOURS)
    ]


def series_of(baseline: Baseline) -> Series:
    """One series that has seen nothing."""
    layout = Layout("thing", (Field("amount", "float"),), ("erp",), "", (("recent",),), ((0,),), (), (baseline,))
    return Series.empty(layout, 1)


def scores(baseline: Baseline, values: Sequence[float], hours: Sequence[int] | None = None) -> list[float]:
    """Give one series a value an hour; the scores."""
    series, found = series_of(baseline), []
    for number, value in enumerate(values):
        hour = hours[number] if hours is not None else number % HOURS
        season = Season(0, np.array([hour])) if baseline.zone else None
        at = np.zeros(1, np.int64)
        found.append(float(observe(series, 0, baseline, at, np.array([value]), at, season).score[0]))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_weekly_pattern_alarms_without_a_season_and_not_with_one(seed: int) -> None:
    """Every morning is an anomaly to a plain baseline, none is to a seasonal one once it knows the week."""
    values = working_hours(seed)
    assert sum(abs(score) > CLIP for score in scores(PLAIN, values)) >= 4 * WEEKS
    assert sum(abs(score) > CLIP for score in scores(WEEKLY, values)[2 * HOURS :]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_days_value_in_the_night_is_found(seed: int) -> None:
    """It is nothing out of the ordinary but for the hour; a plain baseline does not see it."""
    values, night = working_hours(seed), 7 * HOURS + 2 * 24 + 2
    values[night] = 180.0
    assert scores(WEEKLY, values)[night] > CLIP
    assert abs(scores(PLAIN, values)[night]) < CLIP


def test_one_outlier_does_not_teach_its_hour_that_outliers_are_usual() -> None:
    """The week after the same is found again, and a usual value at that hour is still usual."""
    usual, night = working_hours(5), 6 * HOURS + 2
    usual[night] = 1e9
    again = list(usual)
    again[night + HOURS] = 1e9
    assert scores(WEEKLY, again)[night + HOURS] > CLIP
    assert abs(scores(WEEKLY, usual)[night + HOURS]) < CLIP


def test_without_a_rhythm_in_the_values_a_season_costs_little() -> None:
    """Offsets are shrunk while hours do not differ, so scores are nearly those of a plain baseline."""
    rng = random.Random(9)
    values = [100 + rng.gauss(0, 10) for _ in range(4 * HOURS)]
    plain = scores(Baseline(0, alpha=0.03, warm_up=HOURS), values)
    both = [(one, other) for one, other in zip(plain, scores(WEEKLY, values), strict=True) if not math.isnan(one)]
    assert np.corrcoef(np.array(both).T)[0, 1] > 0.85
    assert max(abs(other) for _, other in both) < CLIP + 1


def test_hours_never_seen_are_judged_with_care() -> None:
    """A series that has known two hours scores a value at a third by how much its hours differ."""
    hours = [number % 2 for number in range(200)]
    values = [10.0 if hour else 50.0 for hour in hours]
    rng = random.Random(2)
    values = [value + rng.gauss(0, 1) for value in values]
    told = scores(Baseline(0, alpha=0.03, warm_up=20, zone="UTC"), [*values, 45.0], [*hours, 77])
    assert abs(told[-1]) < CLIP
    assert abs(scores(Baseline(0, alpha=0.03, warm_up=20, zone="UTC"), [*values, 45.0], [*hours, 1])[-1]) > CLIP


def test_the_hour_is_that_of_the_zones_clocks() -> None:
    """Nine in the morning in Berlin is the same hour of the week in winter and in summer."""
    winter = dt.datetime(2026, 1, 5, 9, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    summer = dt.datetime(2026, 7, 6, 9, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    us = np.array([int(one.timestamp()) * 1_000_000 for one in (winter, summer)])
    assert hours_of_week(us, "Europe/Berlin").tolist() == [9, 9]
    assert hours_of_week(us, "UTC").tolist() == [8, 7]
    assert hours_of_week(us, "Asia/Kathmandu").tolist() == [14, 13]


_ZONES = st.sampled_from(["UTC", "America/St_Johns", "Pacific/Kiritimati", "Australia/Lord_Howe", "Africa/Monrovia"])


@settings(deadline=None)  # time zones are read from disk at first
@given(st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2100, 1, 1)), _ZONES)  # noqa: DTZ001 - made UTC below
@example(dt.datetime(1979, 1, 1, 0, 40), "Pacific/Kiritimati")  # noqa: DTZ001 - 10:40 behind: hours begin at :40
@example(dt.datetime(1979, 10, 1, 10, 39, 59), "Pacific/Kiritimati")  # noqa: DTZ001 - and were moved by 40 minutes
@example(dt.datetime(1979, 10, 1, 10, 40), "Pacific/Kiritimati")  # noqa: DTZ001
@example(dt.datetime(1972, 1, 7, 0, 44, 30), "Africa/Monrovia")  # noqa: DTZ001 - the last to have had half minutes
def test_the_hour_is_what_a_calendar_says(at: dt.datetime, zone: str) -> None:
    """At any moment, the hours around a change of clocks included."""
    moment = at.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone))
    us = (at.replace(tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    assert hours_of_week(np.array([us]), zone).tolist() == [moment.weekday() * 24 + moment.hour]


@given(st.sampled_from([EARLIEST_US, LATEST_US]), st.integers(0, 10**12), _ZONES)
def test_the_first_and_the_last_moments_have_an_hour(edge: int, inside: int, zone: str) -> None:
    """From the year 1 to the year 9999, though a zone's clocks may show another."""
    us = edge + inside if edge < 0 else edge - inside
    (hour,) = hours_of_week(np.array([us]), zone).tolist()
    assert 0 <= hour < HOURS
