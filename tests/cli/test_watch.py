"""What the terminal makes of the app's answers."""

from __future__ import annotations

import pytest

from flockiq.cli.summary import Calls, Latency, Numbers, Standing
from flockiq.cli.watch import WINDOW_S, Rates, Stream, feeds, stages, totals


def test_a_source_is_as_well_as_its_worst_stream() -> None:
    """One failing stream of three makes the source fail, with that stream's error."""
    streams = [
        Stream("crm", "fresh", last_read_us=90_000_000),
        Stream("crm", "failing", last_read_us=50_000_000, error="answered 500"),
        Stream("crm", "late", last_record_us=10_000_000),
    ]
    (feed,) = feeds({"crm": 12}, streams, {"source crm": 1.5}, now=100.0)
    assert (feed.state, feed.error, feed.records, feed.rate) == ("failing", "answered 500", 12, 1.5)


def test_a_source_was_last_heard_when_any_stream_was_read_or_brought_a_record() -> None:
    """The latest of both counts; without either it was never heard of."""
    streams = [
        Stream("crm", "fresh", last_read_us=90_000_000),
        Stream("crm", "fresh", last_record_us=97_000_000),
        Stream("erp", "waiting"),
    ]
    crm, erp = feeds({}, streams, {}, now=100.0)
    assert crm.age_s == pytest.approx(3.0)
    assert erp.age_s is None


def test_a_clock_that_went_back_gives_no_negative_age() -> None:
    """The source's time may be ahead of this machine's."""
    (feed,) = feeds({}, [Stream("crm", "fresh", last_read_us=101_000_000)], {}, now=100.0)
    assert feed.age_s == 0.0


def test_rates_are_taken_over_the_window() -> None:
    """A burst that is long past no longer counts."""
    rates = Rates()
    assert rates.of({"a": 0}, 0.0) == {"a": 0.0}
    assert rates.of({"a": 1000}, 1.0) == {"a": 1000.0}
    for second in range(2, 30):
        latest = rates.of({"a": 1000 + 5 * second}, float(second))
    assert latest == {"a": pytest.approx(5.0)}


def test_no_more_is_remembered_than_the_window_needs() -> None:
    """A run of days keeps a few counts."""
    rates = Rates()
    for second in range(1000):
        rates.of({"a": second}, float(second))
    assert len(rates._kept) <= WINDOW_S + 2


def test_a_count_that_begins_again_has_no_negative_rate() -> None:
    """After a restart of what counts, the rate is nothing until it grows."""
    rates = Rates()
    rates.of({"a": 500}, 0.0)
    assert rates.of({"a": 3}, 1.0) == {"a": 0.0}


def test_functions_show_what_waits_for_them() -> None:
    """A function that no hub feeds has nothing that could wait."""
    lines = stages({"tick": Calls(5, 0), "merge": Calls(7, 1)}, {"merge": 3}, {"function merge": 2.0})
    assert [(each.function, each.waiting, each.rate, each.failures) for each in lines] == [
        ("tick", None, 0.0, 0),
        ("merge", 3, 2.0, 1),
    ]


def test_open_alerts_are_those_that_somebody_may_still_act_on() -> None:
    """Firing and acknowledged ones; resolved ones are over."""
    numbers = Numbers(
        captured={"crm": 2, "erp": 3},
        alerts={"a": Standing(firing=1, acknowledged=2, resolved=4), "b": Standing(firing=1)},
        latency_ms=Latency(p50=1.0, p99=1500.0),
    )
    assert (totals(numbers).captured, totals(numbers).alerts, totals(numbers).p99_s) == (5, 4, 1.5)
    assert totals(Numbers()).p99_s is None
