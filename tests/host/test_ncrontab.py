"""NCRONTAB: which moments a schedule means, and which schedules mean none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.local.host.ncrontab import Schedule


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/5 * * * * *", "2026-03-01T10:00:00", "2026-03-01T10:00:05"),
        ("*/5 * * * * *", "2026-03-01T10:00:04.999", "2026-03-01T10:00:05"),
        ("0 */5 * * * *", "2026-03-01T10:04:59", "2026-03-01T10:05:00"),
        ("*/5 * * * *", "2026-03-01T10:04:59", "2026-03-01T10:05:00"),
        ("0 0 * * * *", "2026-12-31T23:00:00", "2027-01-01T00:00:00"),
        ("0 30 9 * * mon-fri", "2026-11-20T09:30:00", "2026-11-23T09:30:00"),
        ("0 30 9 * January Mon", "2026-11-20T09:30:00", "2027-01-04T09:30:00"),
        ("5,8,10 * * * * *", "2026-03-01T10:00:05", "2026-03-01T10:00:08"),
        ("0 5/20 * * * *", "2026-03-01T10:06:00", "2026-03-01T10:25:00"),
        ("0 0 9-17 * * *", "2026-03-01T17:00:00", "2026-03-02T09:00:00"),
        ("0 0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        # Both fields must hold, unlike in Vixie's cron: the next Friday the 13th.
        ("0 0 0 13 * 5", "2026-03-14T00:00:00", "2026-11-13T00:00:00"),
        ("0 0 0 * * 0", "2026-11-20T00:00:00", "2026-11-22T00:00:00"),
    ],
)
def test_the_next_occurrence(expression: str, after: str, expected: str) -> None:
    """The first moment strictly later that every field allows."""
    assert Schedule(expression).next(at(after)) == at(expected)


def test_another_zone_means_the_same_moment() -> None:
    """Schedules are in UTC, whatever zone the question is asked in."""
    ten = datetime.fromisoformat("2026-03-01T12:00:00+02:00")
    assert Schedule("0 0 11 * * *").next(ten) == at("2026-03-01T11:00:00")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("* * * *", "4 fields"),
        ("60 * * * * *", "second can't be '60'; it is 0 to 59"),
        ("0 0 0 * * 7", "day of week can't be '7'; it is 0 to 6 or a name"),
        ("0 0 0 * mai *", "month can't be 'mai'"),
        ("0 */0 * * * *", "step is at least 1"),
        ("0 30-10 * * * *", "a range counts up"),
        ("0 0 0 L * *", "day can't be 'L'"),
        ("0 0 0 ? * *", r"day is '\?'"),
        ("0 0 0 30 2 *", "no date satisfies"),
        ("0 0 0 \u0661 * *", "day can't be"),
    ],
)
def test_what_is_not_ncrontab_is_refused(expression: str, message: str) -> None:
    """The error names the field and what it may hold."""
    with pytest.raises(ValueError, match=message):
        Schedule(expression)


fields = st.tuples(
    st.sampled_from(["0", "*/20", "*", "7,50"]),
    st.sampled_from(["0", "*/15", "*", "3-5"]),
    st.sampled_from(["*", "0", "22-23"]),
    st.sampled_from(["*", "1", "31", "*/10"]),
    st.sampled_from(["*", "2", "feb-mar", "12"]),
    st.sampled_from(["*", "1-5", "0,6"]),
)


@given(fields, st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)))  # noqa: DTZ001 - hypothesis draws naive ones
def test_nothing_between_now_and_the_next_occurrence_fires(parts: tuple[str, ...], naive: datetime) -> None:
    """The next occurrence of the moment just before it is itself, and none lies in between."""
    after = naive.replace(tzinfo=UTC)
    if parts[3] == "31" and parts[4] == "2":
        return  # never
    schedule = Schedule(" ".join(parts))
    found = schedule.next(after)
    assert found > after
    assert schedule.next(found - timedelta(seconds=1)) == found
    middle = after + (found - after) / 2
    assert schedule.next(middle) == found


def test_density_looks_at_neighbouring_occurrences() -> None:
    """A schedule with one short gap is dense, whatever its other gaps."""
    minute, after = timedelta(minutes=1), at("2026-01-01T00:00:00")
    assert not Schedule("0 * * * * *").is_denser_than(minute, after)
    assert Schedule("*/30 * * * * *").is_denser_than(minute, after)
    assert Schedule("0,1 0 0 * * *").is_denser_than(minute, after)
