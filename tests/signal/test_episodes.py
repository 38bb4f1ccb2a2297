"""Episodes: when an alert opens, fires, is seen again and resolves; and what a person's resolution does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flockiq.shared.lanes import Scalar
from flockiq.signal.episodes import Episode, Episodes, Step, corrected
from flockiq.signal.watch import Kind, Watch

ONE = 7
"""The entity of most tests."""


def watch(
    kind: Kind = "threshold", *, name: str = "rule", for_us: int = 0, keep_us: int = 0, after: int = 100
) -> Watch:
    """A rule without a condition: tests say themselves when it holds."""
    return Watch(
        number=0,
        name=name,
        kind=kind,
        fields=(),
        condition=None,
        names=(),
        for_us=for_us,
        keep_us=keep_us,
        resolve_after_us=after,
        severity="warning",
        title="",
        recommend="",
        labels={},
        shown=(),
    )


class Life:
    """The episodes of one rule on one entity, driven by hand."""

    def __init__(self, rule: Watch) -> None:
        self.rule = rule
        self.episodes = Episodes()

    def _told(self) -> list[tuple[str, int]]:
        return [(step.change, step.at_us) for step in self.episodes.taken()]

    def begins(self, us: int, **values: Scalar) -> list[tuple[str, int]]:
        """The condition begins to hold."""
        self.episodes.begins(ONE, self.rule, us, 1000 + us, dict(values))
        return self._told()

    def goes_on(self, us: int, **values: Scalar) -> list[tuple[str, int]]:
        """It still holds."""
        self.episodes.goes_on(ONE, self.rule, us, dict(values))
        return self._told()

    def ends(self, us: int) -> list[tuple[str, int]]:
        """It no longer holds."""
        self.episodes.ends(ONE, self.rule, us)
        return self._told()

    def happens(self, us: int, **values: Scalar) -> list[tuple[str, int]]:
        """An event matches."""
        self.episodes.happens(ONE, self.rule, us, 1000 + us, dict(values))
        return self._told()

    def closes(self, us: int) -> list[tuple[str, int]]:
        """A person resolves the alert."""
        self.episodes.closes(ONE, self.rule, us)
        return self._told()

    def passes(self, us: int) -> list[tuple[str, int]]:
        """The clock says what time it is."""
        self.episodes.passes({self.rule.name: self.rule}, us)
        return self._told()

    @property
    def open(self) -> Episode | None:
        """The open episode."""
        return self.episodes.of(ONE, self.rule.name)


def test_a_state_fires_when_it_begins_and_resolves_when_it_ends() -> None:
    """Nothing is told while it simply goes on."""
    life = Life(watch())
    assert life.begins(10, amount="1") == [("fire", 10)]
    assert life.goes_on(11, amount="1") == []
    assert life.ends(12) == [("resolve", 12)]
    assert life.open is None
    assert not life.episodes.open


def test_a_state_that_must_last_is_pending_until_it_has() -> None:
    """It fires at the moment it has held for long enough, whoever notices: the clock or the next record."""
    by_clock, by_record = Life(watch(for_us=10)), Life(watch(for_us=10))
    assert by_clock.begins(5) == by_record.begins(5) == [("open", 5)]
    assert by_clock.passes(14) == []
    assert by_clock.passes(99) == [("fire", 15)]
    assert by_clock.passes(100) == []
    assert by_record.goes_on(40) == [("fire", 15)]


def test_a_state_that_does_not_last_never_fires() -> None:
    """It ends pending, a moment before it would have fired."""
    life = Life(watch(for_us=10))
    life.begins(5)
    assert life.ends(14) == [("resolve", 14)]
    life.begins(20)
    assert life.ends(30) == [("fire", 30), ("resolve", 30)]


def test_a_state_is_kept_firing_after_it_ended() -> None:
    """It resolves when that time is over, and goes on as the same episode if it begins again before."""
    life = Life(watch(keep_us=10))
    life.begins(0)
    assert life.ends(5) == []
    assert life.passes(14) == []
    assert life.begins(14, amount="2") == [("update", 14)]
    assert life.open is not None
    assert (life.open.cause, life.open.opened_us) == (1000, 0)
    assert life.ends(20) == []
    assert life.passes(99) == [("resolve", 30)]


def test_a_state_that_begins_after_it_was_kept_is_a_new_episode() -> None:
    """Even when no clock ticked between: the old one resolves first, at its own time."""
    life = Life(watch(keep_us=10))
    life.begins(0)
    life.ends(5)
    assert life.begins(40) == [("resolve", 15), ("fire", 40)]
    assert life.open is not None
    assert life.open.cause == 1040


def test_a_pending_state_is_not_kept() -> None:
    """What never fired needs no keeping."""
    life = Life(watch(for_us=50, keep_us=10))
    life.begins(0)
    assert life.ends(5) == [("resolve", 5)]


def test_values_that_change_while_it_holds_are_told() -> None:
    """Once each time they change."""
    life = Life(watch())
    life.begins(0, amount="1")
    assert life.goes_on(1, amount="2") == [("update", 1)]
    assert life.goes_on(2, amount="2") == []


def test_an_event_fires_counts_what_follows_and_resolves_after_the_last() -> None:
    """Each match prolongs it; the clock ends it at the moment that is due."""
    life = Life(watch("change", after=100))
    assert life.happens(0) == [("fire", 0)]
    assert life.happens(60) == [("update", 60)]
    assert life.open is not None
    assert life.open.count == 2
    assert life.passes(159) == []
    assert life.passes(500) == [("resolve", 160)]


def test_an_event_after_the_last_one_was_over_is_a_new_episode() -> None:
    """Counted from one, with a cause of its own, without a tick between."""
    life = Life(watch("anomaly", after=100))
    life.happens(0)
    assert life.happens(100) == [("resolve", 100), ("fire", 100)]
    assert life.open is not None
    assert (life.open.count, life.open.cause) == (1, 1100)


def test_a_person_ends_an_events_episode() -> None:
    """The next match is a new alert."""
    life = Life(watch("change"))
    life.happens(0)
    assert life.closes(5) == [("resolve", 5)]
    assert life.happens(6) == [("fire", 6)]


def test_a_person_silences_a_state_until_it_has_ended() -> None:
    """It stays known while it holds, so that it does not fire again, and fires anew when it comes back."""
    life = Life(watch(keep_us=50))
    life.begins(0)
    assert life.closes(5) == []
    assert life.open is not None
    assert life.open.closed
    assert life.ends(10) == [("resolve", 10)], "what a person resolved is not kept firing"
    assert life.begins(11) == [("fire", 11)]


def test_a_person_who_resolves_a_state_that_is_only_kept_ends_it() -> None:
    """The condition has ended already: when it begins again, that is something new."""
    life = Life(watch(keep_us=50))
    life.begins(0)
    life.ends(5)
    assert life.closes(7) == [("resolve", 7)]
    assert life.begins(10) == [("fire", 10)]


@pytest.mark.parametrize("kind", ["threshold", "change"])
def test_a_resolution_is_not_for_an_episode_that_opened_after_it(kind: Kind) -> None:
    """A person resolved what was open then."""
    life = Life(watch(kind))
    if kind == "change":
        life.happens(10)
    else:
        life.begins(10)
    assert life.closes(9) == []
    assert life.open is not None
    assert not life.open.closed
    assert Life(watch(kind)).closes(5) == []


def test_time_passes_for_every_episode_and_for_no_rule_that_is_gone() -> None:
    """Of several entities and rules, in a fixed order; a rule taken out of config stays as it is."""
    first, second = watch("change", name="a", after=10), watch("change", name="b", after=20)
    episodes = Episodes()
    for entity in (2, 1):
        for rule in (second, first):
            episodes.happens(entity, rule, 0, 5, {})
    episodes.taken()
    episodes.passes({"a": first}, 100)
    assert [(step.entity, step.episode.rule, step.at_us) for step in episodes.taken()] == [(1, "a", 10), (2, "a", 10)]
    assert sorted(episodes.open) == [1, 2]
    episodes.passes({"b": second}, 100)
    assert not episodes.open


def test_a_step_keeps_the_episode_as_it_was_then() -> None:
    """What is told later does not change what was told before."""
    life = Life(watch("change"))
    for us in range(3):
        life.episodes.happens(ONE, life.rule, us, us, {"n": us})
    assert [(step.episode.count, step.episode.values) for step in life.episodes.taken()] == [
        (1, {"n": 0}),
        (2, {"n": 1}),
        (3, {"n": 2}),
    ]


def episode(cause: int = 1, **more: object) -> Episode:
    """An open, fired episode of ``rule``."""
    given = {"opened_us": 10, "last_us": 10, "fired": True, **more}
    return Episode(rule="rule", cause=cause, **given)  # type: ignore[arg-type]


def correct(live: Episode | None, redone: Episode | None, ended: Sequence[Step] = ()) -> list[tuple[str, int]]:
    """(change, cause) of the steps from what was told to what is right."""
    steps = corrected(
        ONE, {"rule": live} if live is not None else {}, {"rule": redone} if redone is not None else {}, ended
    )
    return [(step.change, step.episode.cause) for step in steps]


def test_late_data_withdraws_what_never_was_and_opens_what_was() -> None:
    """The old alert first, so that the new one can stand for it."""
    assert correct(episode(1), None) == [("withdraw", 1)]
    assert correct(None, episode(2)) == [("fire", 2)]
    assert correct(None, episode(2, fired=False)) == [("open", 2)]
    assert correct(episode(1), episode(2)) == [("withdraw", 1), ("fire", 2)]


def test_late_data_that_shows_an_end_resolves() -> None:
    """The episode was real, and is over."""
    over = Step(ONE, "resolve", 50, episode(1), "")
    assert correct(episode(1), None, [over]) == [("resolve", 1)]
    assert correct(episode(1), episode(3), [over]) == [("resolve", 1), ("fire", 3)]


def test_late_data_that_changes_nothing_tells_nothing() -> None:
    """And what it amends is told as an update of the same alert."""
    assert correct(episode(), episode()) == []
    assert correct(episode(count=1), episode(count=2)) == [("update", 1)]
    assert correct(episode(fired=False), episode(fired=True)) == [("fire", 1)]


def test_what_was_told_and_what_a_person_did_survive_late_data() -> None:
    """A fired alert does not become pending again, a resolved one not open."""
    redone = episode(fired=False)
    assert correct(episode(fired=True, closed=True), redone) == []
    assert redone.fired
    assert redone.closed
