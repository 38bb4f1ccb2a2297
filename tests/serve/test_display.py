"""How values read: to a person, not to a machine."""

from __future__ import annotations

import pytest

from flockiq.serve.board import board
from flockiq.serve.display import NONE, bars, instant, milliseconds, plain, words
from flockiq.serve.entities import agree, name_of
from flockiq.shared.alerts import Alert, AlertPage, AlertTransition, act, advance
from flockiq.shared.config.entities import DriftModel
from tests.serve.sample import alert, fired


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NONE),
        ("", NONE),
        (True, "yes"),
        (0, "0"),
        (2501.0, "2,501"),
        (0.5, "0.5"),
        ("50000.00", "50,000.00"),
        ("123456789", "123456789"),
        ("2026-11-23", "2026-11-23"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_values_are_shown_plainly(value: object, shown: str) -> None:
    """Amounts get separators, keys stay as they are, the endless is cut."""
    assert plain(value) == shown


@pytest.mark.parametrize(("ms", "shown"), [(None, NONE), (0.4, "0 ms"), (840.2, "840 ms"), (61_500, "61.5 s")])
def test_latencies_have_their_unit(ms: float | None, shown: str) -> None:
    """Milliseconds below a second."""
    assert milliseconds(ms) == shown


@pytest.mark.parametrize("when", [0, "", "yesterday", 10**20, -(10**20)])
def test_what_is_no_time_is_not_shown_as_one(when: int | str) -> None:
    """Never, nonsense, and what no calendar holds."""
    assert instant(when) is None


def test_times_are_utc() -> None:
    """Microseconds and RFC 3339 text with any offset mean the same moment."""
    assert instant(1_790_000_000_000_000) == instant("2026-09-21T16:13:20+02:00")
    assert instant("2026-09-21T14:13:20Z") == ("2026-09-21T14:13:20Z", "2026-09-21 14:13:20 UTC")


def test_names_from_config_become_words() -> None:
    """Dashes and underscores are for machines."""
    assert words("credit-limit_halved") == "Credit limit halved"


def test_bars_never_vanish_and_reach_the_top() -> None:
    """Nothing is a line on the ground; the most is full height."""
    assert [bar.height for bar in bars([0, 25, 100])] == [1, 10, 20]
    assert [bar.height for bar in bars([0, 0])] == [1, 1]


@pytest.mark.parametrize(
    ("said", "golden", "same"),
    [
        ("ACME GmbH.", "Acme GmbH", True),
        ("+49 40-1234", "+49 (40) 1234", True),
        (None, "x", True),
        ("5000.00", "500000", False),
        ("2026-11-1", "2026-1-11", False),
        (5, 6, False),
        ("net 30", "net 60", False),
    ],
)
def test_case_and_punctuation_are_no_disagreement(said: object, golden: object, same: bool) -> None:  # noqa: FBT001 - an example's third column
    """Except in numbers and dates, where every character counts."""
    assert agree(said, golden) is same


@pytest.mark.parametrize(
    ("said", "golden", "same"),
    [
        ("150328.74", "150000.00", True),
        ("152000.00", "150000.00", False),
        ("2026-11-01", "2026-11-02", False),
        (101, 100, True),
    ],
)
def test_numbers_agree_as_nearly_as_config_asks(said: object, golden: object, same: bool) -> None:  # noqa: FBT001 - an example's third column
    """Within the declared share of the larger; a date is no number."""
    assert agree(said, golden, DriftModel(relative=0.01)) is same


def test_people_have_the_name_of_their_parts() -> None:
    """A name if there is one, else first and last name, as far as they are known."""
    assert name_of({"first_name": "Ada", "last_name": "Byron"}) == "Ada Byron"
    assert name_of({"last_name": "Byron"}) == "Byron"
    assert name_of({"name": "Acme", "last_name": "Byron"}) == "Acme"
    assert name_of({"amount": 1}) == ""


def stands(*transitions: AlertTransition) -> Alert:
    """An alert after its transitions."""
    now = None
    for transition in transitions:
        now = advance(now, transition)
    assert now is not None
    return now


def test_the_gravest_comes_first_and_firing_before_pending() -> None:
    """Groups by severity, then by age; within a group what needs somebody first."""
    minor = alert("minor", "change", "info", "a", "t", 90)
    waiting = alert("grave", "change", "critical", "b", "t", 50)
    firing = alert("grave", "change", "critical", "c", "t", 10)
    page = AlertPage([stands(minor, fired(minor, 91)), stands(waiting), stands(firing, fired(firing, 11))], "more")
    shown = board(page, {"grave": {"pending": 1, "firing": 1, "resolved": 7}, "minor": {"firing": 1, "withdrawn": 2}})
    assert [group.rule for group in shown.groups] == ["grave", "minor"]
    assert [each.status for each in shown.groups[0].alerts] == ["firing", "pending"]
    assert (shown.open, shown.resolved, shown.more) == (3, 7, True)


def test_acknowledging_moves_no_group() -> None:
    """Whoever presses twice presses within the same group."""
    first = [alert("first", "change", "critical", subject, "t", at) for subject, at in (("a", 30), ("b", 10))]
    other = alert("other", "change", "critical", "c", "t", 20)
    firing = [stands(each, fired(each, 31)) for each in (*first, other)]
    taken = act(firing[0], "acknowledge", "operator", 40)
    assert taken is not None
    for page in (firing, [taken, *firing[1:]]):
        assert [group.rule for group in board(AlertPage(page, ""), {}).groups] == ["first", "other"]
