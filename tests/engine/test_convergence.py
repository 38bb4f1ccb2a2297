"""Any order, duplication and batching of a history ends in the same golden records, deltas and alerts."""

from __future__ import annotations

import random
from itertools import batched
from typing import Any

import numpy as np
import pytest

from flockiq.pipeline import compiled
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import DeltaRows
from flockiq.shared.lanes import ABSENT, NULL, Texts, value_of
from tests.engine.histories import FIELDS, RANKS, RECENT, history, plan, rows_of
from tests.engine.reference import RULES, Event, Reference

CLOCK_US = 165


def _delta_set(told: DeltaRows, state: TypeState, texts: Texts) -> list[tuple[object, ...]]:
    def plain(lane: int) -> object:
        return None if lane in (ABSENT, NULL) else lane

    found = []
    for entity, number, old, new, event in zip(
        told.entity.tolist(),
        told.field.tolist(),
        told.old.tolist(),
        told.new.tolist(),
        told.event.tolist(),
        strict=True,
    ):
        field = FIELDS[number]
        values = [
            plain(lane) if field.kind == "decimal" else value_of(field.kind, field.scale, lane, texts)
            for lane in (old, new)
        ]
        found.append((state.ids.names[entity], field.name, texts.text(event), *values))
    return found


class Run:
    """A history given to the engine in batches."""

    def __init__(self) -> None:
        self.texts = Texts()
        self.state = TypeState(plan())
        self.effective: set[tuple[object, ...]] = set()
        self.duplicates = 0
        self.retracted = 0
        self.alerts: dict[tuple[str, str], tuple[str, str]] = {}

    def give(self, events: list[Event]) -> None:
        """One batch."""
        effect = self.state.process(rows_of(events, self.state, self.texts), self.texts, 0)
        gone = _delta_set(effect.retracted, self.state, self.texts)
        assert set(gone) <= self.effective, "only what was told can be taken back"
        self.effective -= set(gone)
        told = _delta_set(effect.deltas, self.state, self.texts)
        assert not set(told) & self.effective, "nothing is told twice"
        self.effective |= set(told)
        self.duplicates += effect.duplicates
        self.retracted += len(gone)
        self._tell(effect.steps)

    def _tell(self, steps: list[Any]) -> None:
        for step in steps:
            slot = (self.state.ids.names[step.entity], step.episode.rule)
            cause = self.texts.text(step.episode.cause)
            if step.change in ("resolve", "withdraw"):
                assert self.alerts.pop(slot)[0] == cause, "only an open alert ends"
            else:
                assert step.change != "open" or slot not in self.alerts, "an open alert is not opened again"
                status = "firing" if step.episode.fired else "pending"
                self.alerts[slot] = (cause, status)

    def tick(self) -> None:
        """The clock."""
        self._tell(self.state.tick(CLOCK_US))

    def golden(self) -> dict[str, dict[str, object]]:
        """The golden records."""
        golden = self.state.live.golden.golden
        return {
            name: {
                field.name: (None if lane in (ABSENT, NULL) else lane)
                if field.kind == "decimal"
                else value_of(field.kind, field.scale, lane, self.texts)
                for field, lane in zip(FIELDS, golden[number].tolist(), strict=True)
            }
            for number, name in enumerate(self.state.ids.names)
        }

    def open(self) -> dict[tuple[str, str], tuple[str, int, int, bool]]:
        """The open episodes, without states that a person resolved."""
        return {
            (self.state.ids.names[entity], rule): (
                self.texts.text(episode.cause),
                episode.opened_us,
                episode.count,
                episode.fired,
            )
            for entity, mine in self.state.live.episodes.open.items()
            for rule, episode in mine.items()
        }


def _reference(events: list[Event]) -> Reference:
    reference = Reference([field.name for field in FIELDS], RANKS, RECENT)
    reference.run(events, CLOCK_US)
    return reference


def _check(run: Run, reference: Reference) -> None:
    golden = {name: record for name, record in run.golden().items() if name in reference.golden}
    assert golden == reference.golden
    assert run.effective == reference.deltas
    expected = {
        slot: (episode["cause"], episode["opened"], episode["count"], episode["fired"])
        for slot, episode in reference.open.items()
    }
    assert run.open() == expected
    assert run.alerts == {
        slot: (cause, "firing" if fired else "pending") for slot, (cause, _, _, fired) in expected.items()
    }


@pytest.mark.parametrize("mode", ["off", "wait"])
@pytest.mark.parametrize("seed", range(24))
def test_any_order_duplication_and_batching_ends_in_the_same_truth(seed: int, mode: compiled.Mode) -> None:
    """What the row-by-row reference says of the sorted history, the engine says of any arrival."""
    compiled.use(mode)
    events = history(seed)
    reference = _reference(events)
    rng = random.Random(seed)
    for arrangement in range(4):
        arriving = sorted(events) if arrangement == 0 else rng.sample(events, len(events))
        if arrangement > 1:
            arriving += rng.sample(events, len(events) // 5)
        run, at = Run(), 0
        while at < len(arriving):
            size = len(arriving) if arrangement == 1 else rng.randint(1, 12)
            run.give(arriving[at : at + size])
            at += size
        run.tick()
        _check(run, reference)


@pytest.mark.parametrize("mode", ["off", "wait"])
@pytest.mark.parametrize("seed", range(8))
def test_a_delta_tells_when_its_values_were_said(seed: int, mode: compiled.Mode) -> None:
    """Both, as the row-by-row reference says: of a history that comes in order, whatever the batches."""
    compiled.use(mode)
    events = sorted(history(seed, events=120))
    for size in (1, 7, len(events)):
        state, texts = TypeState(plan()), Texts()
        times: dict[tuple[object, ...], tuple[int | None, ...]] = {}
        for some in batched(events, size, strict=False):
            told = state.process(rows_of(some, state, texts), texts, 0).deltas
            for delta, *us in zip(
                _delta_set(told, state, texts), told.old_us.tolist(), told.new_us.tolist(), strict=True
            ):
                times[delta] = tuple(None if one == NULL else one for one in us)
        assert times == _reference(events).times


def test_the_histories_hold_what_they_are_meant_to_test() -> None:
    """None of the compared outputs is empty, and late data does retract."""
    deltas = episodes = retracted = duplicates = 0
    kinds: set[str] = set()
    for seed in range(20):
        events = history(seed)
        reference = _reference(events)
        deltas += len(reference.deltas)
        episodes += len(reference.open)
        kinds |= {rule for _, rule in reference.open}
        run = Run()
        for event in [*sorted(events, reverse=True), *events[:5]]:
            run.give([event])
        retracted += run.retracted
        duplicates += run.duplicates
    assert kinds == {rule.name for rule in RULES}
    assert min(deltas, episodes, retracted, duplicates) > 20


@pytest.mark.parametrize("seed", range(8))
def test_compacting_the_log_changes_nothing_that_is_within_reach(seed: int) -> None:
    """Rows folded into the base are gone from the log, and what follows is as if they were not."""
    events = history(seed, events=80)
    early = sorted(events)[:40]
    late = [event for event in events if event not in early]
    run = Run()
    run.give(early)
    run.state.compact(run.texts, arrived_before_us=1, versions=1 << 30)
    assert run.state.history.count == 0
    rng = random.Random(seed)
    for event in rng.sample(late, len(late)):
        run.give([event])
    run.tick()
    _check(run, _reference(events))
    assert np.all(run.state.history.marks.floor_us[: len(run.state.groups)] > ABSENT)
