"""Each metric: told with the right value, unit and attributes, by the real SDK."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flockiq.shared import telemetry
from flockiq.shared.adapters.azure.alerts import CosmosAlerts
from flockiq.shared.adapters.azure.connect import connect
from flockiq.shared.alerts import AlertTransition
from flockiq.shared.outbox import Outbox, publish
from flockiq.shared.owner import Folded, Input, Owner
from flockiq.shared.progress import Behind, Notes, Progress
from flockiq.signal import clock as watching
from flockiq.signal.clock import Clock
from tests.azure.cosmos.told import step
from tests.deadletters.world import US, World, change, packed
from tests.peers.peers import Peers
from tests.telemetry.conftest import Recorded

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An app."""
    opened = World(tmp_path)
    yield opened
    await opened.close()


def events(*names: str) -> bytes:
    """Changes of these records, as one event."""
    return packed([change(name, {"id": name, "name": name}) for name in names])


CHANGES = {"hub": "changes", "function": "merge_changes"}


def lag(recorded: Recorded, partition: int) -> tuple[float, float]:
    """Events and seconds that hub changes is behind on a partition."""
    told, where = recorded.points(), {**CHANGES, "partition": str(partition)}
    (events_,) = (value for about, value in told[telemetry.LAG_EVENTS] if about == where)
    (seconds,) = (value for about, value in told[telemetry.LAG] if about == where)
    return events_, seconds


async def test_lag_is_what_waits_and_since_when(world: World, recorded: Recorded) -> None:
    """By hub and partition, and no event is read for it; what is worked off waits no more."""
    second, behind = 1_000_000, Behind(world.services)
    await world.publish("changes", events("1"), partition=0)
    await world.work()
    await behind.tell(US)
    assert lag(recorded, 0) == (0, 0.0)

    await world.publish("changes", events("2"), events("3"), partition=0)
    await behind.tell(US + 30 * second)
    assert lag(recorded, 0) == (2, 0.0)
    await world.publish("changes", events("4"), partition=0)
    await world.publish("changes", events("5"), partition=1)
    await behind.tell(US + 120 * second)
    assert lag(recorded, 0) == (3, 90.0)
    await behind.tell(US + 130 * second)
    assert lag(recorded, 1) == (1, 10.0)

    await world.services.registry.delete("progress/default/merge_changes/0")
    await Notes(world.services, "merge_changes", 0).note(Progress(sequence=2))
    await behind.tell(US + 150 * second)
    assert lag(recorded, 0) == (1, 30.0), "the third event came after the two that are worked off now"
    await world.work()
    async with asyncio.timeout(10):  # the last notes of progress follow within a second
        while True:
            await behind.tell(US + 200 * second)
            if lag(recorded, 0) == (0, 0.0):
                break
            await asyncio.sleep(0.05)


async def test_a_hub_of_which_nothing_was_ever_noted_has_no_lag(world: World, recorded: Recorded) -> None:
    """It may have nothing to do: its first event says."""
    await world.publish("changes", events("1"))
    await Behind(world.services).tell(US)
    assert telemetry.LAG not in recorded.points()
    await world.work()
    await Behind(world.services).tell(US)
    assert {about["hub"] for about, _ in recorded.points()[telemetry.LAG]} == {"changes", "resolved"}


async def test_the_clock_tells_the_lag(world: World, recorded: Recorded) -> None:
    """Twice a minute; a hub that does not answer holds nothing up."""
    await world.publish("changes", events("1"))
    await world.work()
    clock = Clock(world.services, world.config)
    await clock.tick(US)
    assert telemetry.LAG in recorded.points()
    await clock.tick(US + 1_000_000)
    assert telemetry.LAG not in recorded.points(), "a level that was not said anew is not told anew"
    await clock.tick(US + 31_000_000)
    assert telemetry.LAG in recorded.points()


async def test_a_hub_that_does_not_answer_holds_no_tick_up(
    world: World, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The lag can't be told, which is said; the time still is, and is again at once."""
    del recorded
    await world.publish("changes", events("1"))
    await world.work()
    monkeypatch.setattr(watching, "LAG_S", 0.3)
    monkeypatch.setattr(watching, "WAIT_S", 0.05)
    hung = asyncio.Event()
    monkeypatch.setattr(type(world.services.events), "bounds", lambda *_: hung.wait())
    clock = Clock(world.services, world.config)
    with caplog.at_level("INFO"):
        for second in range(3):
            await asyncio.wait_for(clock.tick(US + second * 1_000_000), 2.0)
        await asyncio.sleep(0.4)
    assert "can't be told: no answer within 0.3 s" in caplog.text


async def test_the_rate_is_records_by_the_second(world: World, recorded: Recorded) -> None:
    """Since it was last told; who folds no more is told as 0, and then no more."""
    await world.publish("changes", events(*map(str, range(30))), partition=1)
    await world.work()
    recorded.now += 10.0
    told = recorded.points()[telemetry.RATE]
    assert ({"function": "merge_changes", "partition": "1"}, 3.0) in told
    assert sum(value for about, value in told if about["function"] == "process_resolved") == 3.0
    recorded.now += 10.0
    assert {value for _, value in recorded.points()[telemetry.RATE]} == {0.0}
    recorded.now += 10.0
    assert telemetry.RATE not in recorded.points()


async def test_freshness_is_the_age_at_commit(world: World, recorded: Recorded) -> None:
    """Of the oldest record looked at, from when it was captured, by function."""
    now_us = time.time_ns() // 1000
    await world.publish("changes", packed([change("1", {"id": "1"}, captured_us=now_us - 5_000_000)]))
    await world.work()
    told = {str(about["function"]): value for about, value in recorded.points()[telemetry.FRESHNESS]}
    assert set(told) == {"merge_changes", "process_resolved"}
    assert all(5.0 <= value < 60.0 for value in told.values())


async def test_dead_letters_are_told_by_stage(world: World, recorded: Recorded) -> None:
    """One that can't be read, one that does not fit."""
    await world.publish("changes", b"nonsense", packed([change("1", {"id": "1"}, tenant="another")]))
    await world.work()
    assert recorded.points()[telemetry.LETTERS] == [({"stage": "merge"}, 2)]


async def test_steps_of_alerts_are_told_by_what_they_change(world: World, recorded: Recorded) -> None:
    """As they reach the alert store."""
    steps: list[AlertTransition] = [step("a", 1, "fire"), step("b", 1, "fire"), step("a", 2, "resolve")]
    await publish(world.services, Outbox(transitions=steps))
    told = recorded.points()[telemetry.ALERTS]
    assert sorted((str(about["change"]), value) for about, value in told) == [("fire", 2), ("resolve", 1)]


async def test_the_ingest_delay_is_told_by_table(world: World, recorded: Recorded) -> None:
    """How long the analytics took to have the rows safe."""
    began = time.perf_counter()
    await publish(world.services, Outbox(rows={"Runs": b'{"RunId":"1"}'}))
    took = time.perf_counter() - began
    [(about, value)] = recorded.points()[telemetry.INGEST]
    assert about == {"table": "Runs"}
    assert 0.0 < value <= took


class Overtaken:
    """State of a partition that another owner also writes."""

    duplicates = too_late = 0

    def load(self, snapshot: bytes, entries: object) -> None:
        """Nothing is kept."""

    def fold(self, bodies: object, commit: int) -> Folded:
        """Nothing comes of it."""
        del bodies, commit
        return Folded(b"", Outbox())

    def snapshot(self) -> bytes:
        """Nothing."""
        return b""


async def test_a_lost_fence_is_told_by_function(world: World, recorded: Recorded) -> None:
    """Two owners of one partition: the one that was overtaken says so, and folds again."""
    old, new = (Owner(world.services, "merge_changes/0", Overtaken()) for _ in range(2))
    await old.process([Input(0, events("1"))])
    await new.process([Input(1, events("2"))])
    assert telemetry.FENCES not in recorded.points()
    await old.process([Input(2, events("3"))])
    told = recorded.points()
    assert told[telemetry.FENCES] == [({"function": "merge_changes"}, 1)]
    assert told[telemetry.EVENTS] == [({"function": "merge_changes"}, 4)]


async def test_request_units_are_what_the_service_charged(recorded: Recorded) -> None:
    """By operation, over Cosmos DB's peer: the sum of the charges in its answers."""
    with Peers() as peers:
        cosmos = connect(peers.environment(["alerts"]), lambda: pytest.fail("an emulator takes no token"))
        alerts = CosmosAlerts(cosmos)
        await alerts.apply("t", [step("a", 1, "fire")])
        await alerts.get("t", "a")
        told = {str(about["operation"]): value for about, value in recorded.points()[telemetry.UNITS]}
        assert told == pytest.approx(dict(cosmos.charges.units))
        assert {"alerts.apply", "alerts.get"} <= set(told)
        assert all(value > 0 for value in told.values())
        await alerts.close()


def test_the_docs_tell_every_metric() -> None:
    """docs/operations.md has a row for each, with its unit and attributes, and none for what there is not."""
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(flockiq\.\w+)` \|([^|]+)\|([^|]*)\|", text, re.MULTILINE)
    said = {name: (unit.strip(), tuple(re.findall(r"\w+", attributes))) for name, unit, attributes in rows}
    assert said == {
        name: (metric.unit.strip("{}").replace("}/", "/"), metric.attributes)
        for name, metric in telemetry.METRICS.items()
    }
    for page in ("runbooks.md", "azure.md"):
        assert "operations.md#telemetry" in (DOCS / page).read_text(encoding="utf-8")
