"""What an alert may become: by the engine's transitions and by a person's hand."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.shared.alerts import OPEN, Alert, AlertTransition, Change, act, advance, entry


def step(revision: int, change: Change, **more: object) -> AlertTransition:
    """The next transition of one alert."""
    given_ = {"id": "a", "at_us": 100 + revision, "values": {"n": revision}, "count": revision, **more}
    return AlertTransition(
        revision=revision,
        change=change,
        fingerprint="f",
        rule="r",
        kind="threshold",
        severity="warning",
        subject_type="thing",
        subject="e",
        title=f"title {revision}",
        opened_us=100,
        cause="c",
        **given_,  # type: ignore[arg-type]
    )


def life(*changes: Change | str) -> Alert:
    """An alert after these changes; a person's are written ``acknowledge`` and ``resolve!``."""
    alert: Alert | None = None
    for number, change in enumerate(changes, 1):
        if change in ("acknowledge", "resolve!"):
            assert alert is not None
            alert = act(alert, change.removesuffix("!"), "ann", 1000 + number) or alert
        else:
            alert = advance(alert, step(number, change)) or alert  # type: ignore[arg-type]  # the rest are changes
    assert alert is not None
    return alert


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        (["open"], "pending"),
        (["fire"], "firing"),
        (["open", "fire"], "firing"),
        (["open", "update"], "pending"),
        (["fire", "update"], "firing"),
        (["fire", "resolve"], "resolved"),
        (["open", "resolve"], "resolved"),
        (["fire", "withdraw"], "withdrawn"),
        (["fire", "acknowledge"], "acknowledged"),
        (["open", "acknowledge", "fire"], "acknowledged"),
        (["fire", "acknowledge", "update"], "acknowledged"),
        (["fire", "acknowledge", "resolve"], "resolved"),
        (["fire", "resolve!"], "resolved"),
        (["fire", "resolve!", "update"], "resolved"),
        (["fire", "resolve!", "fire"], "resolved"),
        (["fire", "resolve!", "resolve"], "resolved"),
        (["fire", "resolve!", "withdraw"], "withdrawn"),
        (["open", "resolve!", "fire"], "resolved"),
        (["fire", "acknowledge", "resolve!"], "resolved"),
    ],
)
def test_a_status_follows_from_what_happened(changes: list[str], status: str) -> None:
    """A person's word stands until the condition itself ends, or never was."""
    assert life(*changes).status == status


def test_times_and_names_are_kept() -> None:
    """When it opened, fired and ended, who acknowledged and who resolved."""
    alert = life("open", "fire", "acknowledge", "update", "resolve")
    assert (alert.opened_us, alert.fired_us, alert.updated_us, alert.resolved_us) == (100, 102, 105, 105)
    assert (alert.acknowledged_by, alert.acknowledged_us, alert.resolved_by) == ("ann", 1003, "")
    assert (alert.title, alert.count, alert.values) == ("title 5", 5, {"n": 5})


def test_a_persons_resolution_keeps_its_time_when_the_condition_ends() -> None:
    """And the end shows in when the alert was last updated."""
    alert = life("fire", "resolve!", "resolve")
    assert (alert.resolved_by, alert.resolved_us, alert.updated_us) == ("ann", 1002, 103)


def test_an_alert_that_fires_again_is_open_again() -> None:
    """Late data may show that what had ended goes on; when it first fired is not forgotten."""
    alert = life("fire", "resolve", "fire")
    assert (alert.status, alert.resolved_us, alert.fired_us) == ("firing", 0, 101)


@given(order=st.lists(st.sampled_from(range(5)), min_size=1, max_size=12))
def test_old_news_changes_nothing(order: list[int]) -> None:
    """Whatever is repeated or overtaken: the newest transition alone says what the alert is."""
    changes: tuple[Change, ...] = ("open", "fire", "update", "resolve", "fire")
    alert: Alert | None = None
    newest = -1
    for number in order:
        after = advance(alert, step(number + 1, changes[number]))
        assert (after is None) == (number <= newest)
        alert, newest = after or alert, max(newest, number)
    assert alert is not None
    assert alert.revision == newest + 1
    assert alert.values == {"n": newest + 1}


def test_an_alert_that_stands_for_a_withdrawn_one_inherits_its_acknowledgement() -> None:
    """Nobody has to acknowledge the same thing twice because late data gave it another cause."""
    old = life("fire", "acknowledge", "withdraw")
    new = advance(None, step(9, "fire", id="b", replaces="a"), old)
    assert new is not None
    assert (new.status, new.acknowledged_by, new.acknowledged_us) == ("acknowledged", "ann", 1002)
    plain = advance(None, step(9, "fire", id="b", replaces="a"), life("fire", "withdraw"))
    assert plain is not None
    assert (plain.status, plain.acknowledged_by) == ("firing", "")
    pending = advance(None, step(9, "open", id="b", replaces="a"), old)
    assert pending is not None
    assert pending.status == "pending"
    assert (fired := advance(pending, step(10, "fire", id="b"))) is not None
    assert (fired.status, fired.acknowledged_by) == ("acknowledged", "ann")


@pytest.mark.parametrize("action", ["acknowledge", "resolve", "nonsense"])
@pytest.mark.parametrize(
    "changes",
    [["open"], ["fire"], ["fire", "acknowledge"], ["fire", "resolve"], ["fire", "resolve!"], ["fire", "withdraw"]],
)
def test_a_person_changes_only_what_is_open(action: str, changes: list[str]) -> None:
    """Acknowledging twice, or acting on what is over, changes nothing."""
    alert = life(*changes)
    after = act(alert, action, "bob", 5000)
    allowed = {"acknowledge": ("pending", "firing"), "resolve": OPEN}.get(action, ())
    assert (after is not None) == (alert.status in allowed)
    if after is not None:
        assert after.revision == alert.revision
        assert "bob" in (after.acknowledged_by, after.resolved_by)


@pytest.mark.parametrize("changes", list(itertools.permutations(get_args(Change), 3)))
def test_an_ended_alert_says_when_and_an_open_one_does_not(changes: tuple[Change, ...]) -> None:
    """Whatever led there."""
    alert = life(*changes)
    assert (alert.resolved_us > 0) == (alert.status not in OPEN)


def test_the_history_says_what_was_done_and_what_became_of_it() -> None:
    """By flockiq, at the transition's time, with its reason."""
    transition = step(1, "fire", reason="it began")
    alert = advance(None, transition)
    assert alert is not None
    told = entry(transition, alert)
    assert (told.by, told.at_us, told.change, told.status, told.reason) == (
        "flockiq",
        101,
        "fire",
        "firing",
        "it began",
    )
