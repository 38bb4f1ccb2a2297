"""What comes beyond lateness: it is folded where its position still counts, takes nothing back, and is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flockiq.merge.changes import Changes
from flockiq.merge.mapping import stream_plans
from flockiq.pipeline import compiled
from flockiq.pipeline.plans import plans
from flockiq.pipeline.resolved import Resolved
from flockiq.shared.owner import Owner
from flockiq.shared.positions import event_lane
from flockiq.shared.progress import noted
from flockiq.shared.services import Services
from flockiq.shared.settings import Settings
from tests.engine.histories import plan
from tests.engine.reference import Event
from tests.merge.feed import change, tell, write_config
from tests.pipeline.partition import LOG, effective_deltas, golden, numbered, open_alerts, open_services, packed

DAY_US = 86_400_000_000
START_US = 100 * DAY_US
NEWEST = {"name": "Anna", "amount": 60_000, "terms": "net 30"}
ROWS = "Deltas | project Kind, EntityId, Field, CauseId, Old, New"

pytestmark = pytest.mark.parametrize("mode", ["off", "wait"])


def event(us: int, entity: str, source: str = "crm", **values: object) -> Event:
    """What a source says of an entity."""
    name = f"event-{us}-{entity}"
    return Event(us, 0, event_lane(name), name, entity, entity, source, "say", tuple(values.items()))


class Stage:
    """A partition whose log is rolled after each batch, and the time it is there."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.now_us = START_US
        self.told = 0
        self.restart()

    def restart(self) -> None:
        """An owner with nothing in memory, as of a process that has just started."""
        self.partition = Resolved({"thing": plan()}, self.services.settings, lambda: self.now_us)
        self.owner = Owner(self.services, LOG, self.partition)

    async def tell(self, *events: Event) -> None:
        """One batch."""
        await self.owner.process(numbered(packed(events), self.told))
        self.told += len(packed(events))

    async def tell_what_is_old_now(self) -> None:
        """Entity e0, two days ago, and another since: so nothing of e0 is in the log any more."""
        await self.tell(event(100, "e0", **NEWEST))
        self.now_us += 2 * DAY_US
        await self.tell(event(100, "e1", **NEWEST))

    async def deltas(self) -> set[tuple[str, ...]]:
        """Every delta that was told, of e0: (kind, field, cause, old, new)."""
        await self.services.analytics.flush()
        table = await self.services.analytics.query(ROWS)
        return {(str(row[0]), *(str(each or "") for each in row[2:])) for row in table.rows if row[1] == "e0"}


@pytest.fixture
async def stage(tmp_path: Path, mode: compiled.Mode) -> AsyncIterator[Stage]:
    """A partition in which nothing has happened."""
    compiled.use(mode)
    services = open_services(tmp_path, state_snapshot_entries=1)
    yield Stage(services)
    await services.close()


async def test_a_field_that_nobody_had_told_is_taken_and_an_older_value_does_not_win(stage: Stage) -> None:
    """It is told as of now, with the delta that it makes and no other; nothing is taken back."""
    await stage.tell_what_is_old_now()
    before, alerts = await stage.deltas(), await open_alerts(stage.services)
    assert stage.partition.too_late == 0
    await stage.tell(event(50, "e0", amount=10_000, flag=True))
    assert stage.partition.too_late == 1
    assert (await golden(stage.services))["e0"] == {
        "name": "Anna", "amount": "600.00", "terms": "net 30", "flag": True,
    }  # fmt: skip
    assert await stage.deltas() - before == {("added", "flag", "event-50-e0", "", "true")}
    assert ("e0", "large") in alerts
    assert await open_alerts(stage.services) == alerts


async def test_a_source_that_ranks_first_wins_however_late_it_comes(stage: Stage) -> None:
    """By rank, but not by recency: the field that the most recent source has stays as it is."""
    await stage.tell_what_is_old_now()
    before = await stage.deltas()
    await stage.tell(event(50, "e0", "erp", amount=20_000, terms="net 60"))
    assert (await golden(stage.services))["e0"] == {"name": "Anna", "amount": "200.00", "terms": "net 30"}
    assert await stage.deltas() - before == {("changed", "amount", "event-50-e0", "600.00", "200.00")}
    assert {rule for entity, rule in await open_alerts(stage.services) if entity == "e0"} == {
        "amounts",
        "halved",
        "terms",
    }


async def test_what_came_too_late_stays_told_when_what_came_after_it_is_worked_out_again(stage: Stage) -> None:
    """In its own batch, and by a replay after a restart: neither takes back what it did."""
    await stage.tell_what_is_old_now()
    await stage.tell(event(300, "e0", name="Bert"), event(50, "e0", flag=True))
    assert stage.partition.too_late == 1
    stage.restart()
    await stage.tell(event(200, "e0", name="Cleo", amount=70_000))
    assert stage.partition.too_late == 1
    assert (await golden(stage.services))["e0"] == {
        "name": "Bert", "amount": "700.00", "terms": "net 30", "flag": True,
    }  # fmt: skip
    assert {delta for delta in await effective_deltas(stage.services) if delta[:2] == ("e0", "flag")} == {
        ("e0", "flag", "event-50-e0", "", "true")
    }
    assert {delta[1:] for delta in await stage.deltas() if delta[0] == "retracted"} == {
        ("name", "event-300-e0", "Anna", "Bert")
    }


@pytest.mark.parametrize("rolled", [False, True])
async def test_the_count_survives_a_restart(tmp_path: Path, mode: compiled.Mode, *, rolled: bool) -> None:
    """From entries of the log and from a snapshot; and it is noted where the summary looks for it."""
    compiled.use(mode)
    services = open_services(tmp_path, state_snapshot_entries=3)  # so that e0 is old in a snapshot, and no later one
    stage = Stage(services)
    await stage.tell(event(100, "e2", **NEWEST))
    await stage.tell_what_is_old_now()
    await stage.tell(event(50, "e0", flag=True))
    for number in range(3 if rolled else 1):
        await stage.tell(event(200 + number, "e1", flag=True))
    stage.restart()
    assert stage.partition.too_late == 0
    await stage.tell(event(300, "e1", flag=False))
    assert stage.partition.too_late == 1
    assert (await noted(services))["process_resolved", 0].too_late == 1
    await services.close()


def test_a_version_too_late_for_its_record_is_counted_where_its_entity_is_folded(
    tmp_path: Path, mode: compiled.Mode
) -> None:
    """And there only: of records nothing is counted, or it would be counted twice."""
    compiled.use(mode)
    config, settings = write_config(tmp_path), Settings(versions_kept=1)
    now_us = START_US
    changes = Changes(stream_plans(config), settings, lambda: now_us)
    changes.load(b"", [])
    entities = Resolved(plans(config), settings, lambda: now_us)
    entities.load(b"", [])
    for number, us in enumerate((100, 200, 300, 400)):
        folded = tell(changes, change("r", us, {"name": f"Acme {us}"}))
        entities.fold([one.body for one in folded.outbox.events["resolved"]], number)
        entities.snapshot()
    assert len(changes.records.chain(0)) == 2, "what the record builds on, and one version"
    late = tell(changes, change("r", 50, {"name": "Acme", "staff": 5}))
    entities.fold([one.body for one in late.outbox.events["resolved"]], 9)
    assert (changes.too_late, entities.too_late) == (0, 1)
