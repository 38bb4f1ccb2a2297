"""A partition with real state logs, outboxes and stores: crashes, rivals and redelivery change nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from flockiq.pipeline.resolved import Resolved
from flockiq.pipeline.world import Plan
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.lateness import USUAL, Lateness
from flockiq.shared.owner import Input, Owner
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.services import Services
from flockiq.shared.settings import HUBS, Settings
from tests.engine.histories import FIELDS, RANKS, RECENT, history, plan
from tests.engine.reference import Event, Reference
from tests.pipeline.partition import (
    LOG,
    effective_deltas,
    expected_alerts,
    expected_deltas,
    expected_golden,
    golden,
    numbered,
    open_alerts,
    open_services,
    owner,
    packed,
    tick,
)

CLOCK_US = 165


class Killed(Exception):
    """The process dies here."""


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """Real embedded adapters; state logs roll often, so that snapshots are read as well."""
    opened = open_services(tmp_path, state_snapshot_entries=5)
    yield opened
    await opened.close()


def batches(events: list[Event], rng: random.Random) -> list[list[Input]]:
    """Events in random batches, as the hub numbers them, and a tick at the end."""
    arriving = rng.sample(events, len(events)) + rng.sample(events, len(events) // 5)
    found: list[list[Input]] = []
    sequence = 0
    while arriving:
        size = rng.randint(1, 9)
        some = numbered(packed(arriving[:size]), sequence)
        arriving = arriving[size:]
        found.append(some)
        sequence += len(some)
    return [*found, [Input(sequence, tick(CLOCK_US))]]


async def check(services: Services, events: list[Event]) -> None:
    """What was told to the world equals what the reference says of the sorted history."""
    reference = Reference([field.name for field in FIELDS], RANKS, RECENT)
    reference.run(events, CLOCK_US)
    told = {
        entity: {name: value for name, value in record.items() if value is not None}
        for entity, record in (await golden(services)).items()
    }
    assert {entity: told.get(entity, {}) for entity in reference.golden} == expected_golden(reference)
    assert await effective_deltas(services) == expected_deltas(reference)
    assert await open_alerts(services) == expected_alerts(reference)


async def feed(found: Owner, given: list[Input], *, crash: str = "") -> None:
    """Give a batch to an owner, which may die at a point of its commit."""

    async def hook(point: str) -> None:
        if point == crash:
            raise Killed(point)

    await found.process(given, hook)


@pytest.mark.parametrize("seed", range(4))
async def test_a_process_that_dies_at_every_point_tells_the_same(services: Services, seed: int) -> None:
    """Killed before a commit, between commit and publication, or after: nothing is lost or doubled."""
    rng = random.Random(seed)
    events = history(seed)
    found = owner(services)
    for given in batches(events, rng):
        while True:
            crash = rng.choice(["", "", "folded", "committed", "published"])
            try:
                await feed(found, given, crash=crash)
                break
            except Killed:
                found = owner(services)
    await check(services, events)


@pytest.mark.parametrize("seed", range(4))
async def test_two_owners_that_overlap_corrupt_and_double_nothing(services: Services, seed: int) -> None:
    """After a rebalance the old owner goes on for a batch or two, each with the state it remembers."""
    rng = random.Random(seed)
    events = history(seed)
    rivals = [owner(services), owner(services)]
    for given in batches(events, rng):
        first, second = rng.sample(rivals, 2)
        await feed(first, given)
        if rng.random() < 0.5:
            await feed(second, given)
    assert sum(rival.fences_lost for rival in rivals) > 0
    await check(services, events)


async def test_a_rival_that_writes_between_fold_and_commit_is_noticed(services: Services) -> None:
    """The fence is on the append itself: what was folded onto stale state is thrown away."""
    events = history(3)
    slow, fast = owner(services), owner(services)
    some = numbered(packed(sorted(events)))

    async def hook(point: str) -> None:
        if point == "folded" and slow.fences_lost == 0:
            await fast.process(some)

    await slow.process(some, hook)
    await slow.process([Input(len(some), tick(CLOCK_US))])
    assert slow.fences_lost == 1
    await check(services, events)


class _Refusing:
    """A hub that takes nothing until it is told to."""

    def __init__(self, services: Services) -> None:
        self.inner = services.events
        self.down = True

    async def publish(self, hub: str, events: list[OutgoingEvent]) -> None:
        if self.down:
            raise HubUnavailable(f"hub {hub} does not answer")
        await self.inner.publish(hub, events)


async def test_what_a_hub_did_not_take_is_published_before_the_next_batch(services: Services) -> None:
    """An outbox that could not be given out stays, across a restart, until it can."""
    hub = _Refusing(services)
    broken = services._replace(events=hub)  # type: ignore[arg-type]  # the engine only publishes
    events = history(5)
    some = numbered(packed(events[:30]))
    with pytest.raises(HubUnavailable):
        await owner(broken).process(some)
    assert {(await services.events.bounds("deltas", number)).end for number in range(HUBS["deltas"])} == {0}
    hub.down = False
    restarted = owner(broken)
    await restarted.process(some)
    await restarted.process([*numbered(packed(events[30:]), len(some)), Input(1000, tick(CLOCK_US))])
    await check(services, events)


async def test_a_record_that_breaks_the_fold_is_set_aside_and_the_others_go_on(services: Services) -> None:
    """An unexpected exception is narrowed down to its record, which becomes a dead letter."""
    events = history(7, events=40)
    culprit = next(event for event in events if event.op == "say")
    found = owner(services)
    fold = found.owned.fold

    def breaking(bodies: list[bytes], commit: int) -> object:
        from flockiq.shared import wire  # noqa: PLC0415 - only this double reads bodies

        if any(culprit.id.encode() + b'"' in wire.unpack(body) for body in bodies):
            raise RuntimeError("a bug")
        return fold(bodies, commit)

    found.owned.fold = breaking  # type: ignore[method-assign,assignment]  # the fault under test
    await found.process([*numbered(packed(events)), Input(1000, tick(CLOCK_US))])
    await check(services, [event for event in events if event is not culprit])
    letters = await services.analytics.query("DeadLetters | project Stage, Reason")
    assert letters.rows == [["process_resolved", "RuntimeError: a bug"]]


async def test_a_rule_that_is_new_finds_what_is_already_there(services: Services) -> None:
    """After a restart with more rules, what holds already is an alert, without waiting for a change."""
    events = sorted(history(0))
    whole = plan()
    fewer = Plan(whole.layout, tuple(watch for watch in whole.watches if watch.name != "large"))
    before = Owner(services, LOG, Resolved({"thing": fewer}, services.settings))
    await before.process(numbered(packed(events)))
    assert not {rule for _, rule in await open_alerts(services)} & {"large"}
    await owner(services).process([Input(1000, tick(CLOCK_US))])
    reference = Reference([field.name for field in FIELDS], RANKS, RECENT)
    reference.run(events, CLOCK_US)
    expected = {subject for subject, rule in reference.open if rule == "large"}
    assert expected
    assert {subject for subject, rule in await open_alerts(services) if rule == "large"} == expected
    again = owner(services)
    await again.process([Input(1001, tick(CLOCK_US + 1))])
    assert {subject for subject, rule in await open_alerts(services) if rule == "large"} == expected


@pytest.mark.parametrize(("lateness", "left"), [(USUAL, 3), (Lateness(us=3_600_000_000), 0), (Lateness(versions=2), 2)])
def test_an_entity_type_says_how_much_is_kept_for_late_data(lateness: Lateness, left: int) -> None:
    """How long and how deep; without a word of it the settings say."""
    now_us = 100 * 86_400_000_000
    partition = Resolved({"thing": replace(plan(), lateness=lateness)}, Settings(), lambda: now_us)
    partition.load(b"", [])
    said = [Event(us, 0, us, f"event-{us}", "e0", "e0", "erp", "say", (("amount", us),), "") for us in (10, 20, 30)]
    partition.fold(packed(said), 1)
    now_us += 2 * 3_600_000_000
    partition.snapshot()
    assert partition.types["thing"].history.count == left


def test_golden_values_are_still_those_of_the_sources_that_said_them() -> None:
    """After a restart with the sources in another order."""
    before = plan()
    layout = before.layout._replace(
        sources=before.layout.sources[::-1], ranks=tuple(ranks[::-1] for ranks in before.layout.ranks)
    )
    winners = []
    kept = b""
    for told in (before, replace(before, layout=layout)):
        partition = Resolved({"thing": told}, Settings(), lambda: CLOCK_US)
        partition.load(kept, [])
        if not kept:
            partition.fold(packed(sorted(history(0))), 1)
            kept = partition.snapshot()
        state = partition.types["thing"]
        winner = state.live.golden.winner[: len(state.ids)]
        winners.append([[told.layout.tellers[one] if one >= 0 else "" for one in row] for row in winner.tolist()])
    assert winners[0] == winners[1]
    assert len({name for row in winners[0] for name in row}) > 2
