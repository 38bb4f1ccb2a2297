"""Records from before what time has decided: the clock went by their absence, and is put right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from flockiq.shared import wire
from flockiq.shared.owner import Folded
from tests.signal.test_conditions import Rules

SECOND = 1_000_000


class Timed(Rules):
    """Rules whose records and ticks come when said; every commit is kept."""

    def __init__(self, folder: Path, rules: str) -> None:
        super().__init__(folder, rules)
        self.entries: list[bytes] = []
        fold = self.resolved.fold

        def kept(bodies: Sequence[bytes], commit: int) -> Folded:
            folded = fold(bodies, commit)
            self.entries.append(folded.body)
            return folded

        self.resolved.fold = kept  # type: ignore[method-assign]

    def at(self, second: int, **fields: object) -> list[tuple[str, str, int]]:
        """A record of that second: each step's change, cause and count."""
        self.us = second * SECOND - 1
        return [(step.change, step.cause, step.count) for step in self.say(**fields)]  # type: ignore[arg-type]

    def tick(self, second: int) -> list[str]:
        """Time has come to that second; the steps' changes."""
        line = wire.Tick(
            id="t", source="clock", type=wire.TICK, time="", tenant="default", data=wire.TickData(at_us=second * SECOND)
        )
        (event,) = wire.pack(0, wire.TICK, [wire.encode(line)])
        return [step.change for step in self.resolved.fold([event.body], 1).outbox.transitions]

    def restart(self) -> None:
        """Forget everything, and read what was committed."""
        self.resolved.load(b"", self.entries)


@pytest.mark.parametrize("restarted", [False, True])
def test_an_episode_that_time_ended_goes_on_where_an_earlier_record_says_so(tmp_path: Path, *, restarted: bool) -> None:
    """The same alert fires again with both matches; it is not a new one. A restart forgets nothing of it."""
    rules = Timed(tmp_path, "  edited: {change: staff, when: old != null, resolve_after: 1m, title: t}")
    assert rules.at(1, staff=1) == []
    assert rules.at(10, staff=2) == [("fire", "event-10000000", 1)]
    assert rules.tick(75) == ["resolve"]
    if restarted:
        rules.restart()
    assert rules.at(60, staff=3) == [("fire", "event-10000000", 2)]
    assert rules.tick(119) == []
    if restarted:
        rules.restart()
    assert rules.tick(121) == ["resolve"]
    assert rules.at(200, staff=4) == [("fire", "event-200000000", 1)], "what comes after is news"


@pytest.mark.parametrize("restarted", [False, True])
def test_what_a_replay_left_to_time_is_put_right_again(tmp_path: Path, *, restarted: bool) -> None:
    """Time ends an episode while late data is worked out; a record from before that end is late as well."""
    rules = Timed(tmp_path, "  edited: {change: staff, when: old != null, resolve_after: 1m, title: t}")
    assert rules.at(1, staff=1) == []
    assert rules.at(10, staff=2) == [("fire", "event-10000000", 1)]
    assert rules.tick(75) == ["resolve"]
    assert rules.tick(200) == []
    assert rules.at(50, staff=3) == [], "it went on to 110 s, and has ended all the same"
    if restarted:
        rules.restart()
    assert rules.at(100, staff=4) == [], "it went on to 160 s; nothing new began"
    assert rules.at(190, staff=5) == [("fire", "event-190000000", 1)]


def test_a_state_that_time_fired_is_taken_back_where_it_had_ended_before(tmp_path: Path) -> None:
    """It never held for long enough."""
    rules = Timed(tmp_path, "  low: {when: staff < 5, for: 1m, title: t}")
    assert rules.at(10, staff=1) == [("open", "event-10000000", 1)]
    assert rules.tick(75) == ["fire"]
    assert [change for change, *_ in rules.at(40, staff=9)] == ["resolve"]
