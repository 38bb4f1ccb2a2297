"""The clock over real adapters: ticks, query rules and feeds that fall silent."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from flockiq.serve.health import health
from flockiq.shared import wire
from flockiq.shared.config.model import Config
from flockiq.shared.errors import HubUnavailable, StoreUnavailable
from flockiq.shared.ports import Analytics
from flockiq.shared.rules import failing
from flockiq.shared.services import Services
from flockiq.shared.sweeps import Left
from flockiq.signal import clock as watching
from flockiq.signal.clock import Clock
from tests.signal.clockwork import SECOND, START, TENANT, alerts, open_services, row, speaks, write_config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The rules of ``clockwork``."""
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """Real embedded adapters."""
    opened = open_services(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def clock(services: Services, config: Config) -> Clock:
    """A clock that has not ticked yet."""
    return Clock(services, config)


def statuses(found: list[object]) -> list[object]:
    """The status of each alert."""
    return [alert.status for alert in found]  # type: ignore[attr-defined]


async def run(clock: Clock, start: float, end: float) -> None:
    """Tick every five seconds from ``start`` to ``end``, in seconds."""
    at = start
    while at <= end:
        await clock.tick(START + int(at * SECOND))
        at += 5


async def test_a_tick_reaches_every_partition(clock: Clock, services: Services) -> None:
    """Each gets one event that says what time it is."""
    await clock.tick(START)
    for partition in range(3):
        (event,) = await services.events.read("resolved", partition, 0, 10)
        line = msgspec.json.decode(wire.unpack(event.body), type=wire.Tick)
        assert (line.type, line.data.at_us, line.tenant) == (wire.TICK, START, TENANT)


async def test_a_hub_that_does_not_answer_is_for_the_host_to_retry(services: Services, config: Config) -> None:
    """The error leaves the tick, and the next one makes up for it."""

    class Down:
        async def partition_count(self, hub: str) -> int:
            raise HubUnavailable(f"hub {hub} does not answer")

    with pytest.raises(HubUnavailable):
        await Clock(services._replace(events=Down()), config).tick(START)  # type: ignore[arg-type]  # it asks no more
    await row(services, START, {"k": "bad"})
    await Clock(services, config).tick(START)
    assert statuses(await alerts(services, "letters")) == ["firing"]  # type: ignore[arg-type]


async def test_a_query_that_fails_is_said_and_stops_no_other(
    clock: Clock, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """One asks for a table that is not there, one lacks a key column; the rules after them go on."""
    await row(services, START, {"k": "bad"})
    with caplog.at_level(logging.ERROR, "flockiq.clock"):
        await clock.tick(START)
    said = {record.getMessage().split(":")[0]: record.getMessage() for record in caplog.records}
    assert set(said) == {"rule broken", "rule lacking"}
    assert "broken.kql can't be run" in said["rule broken"]
    assert "no column colour" in said["rule lacking"]
    assert "it gives key, reason" in said["rule lacking"]
    assert statuses(await alerts(services, "letters")) == ["firing"]  # type: ignore[arg-type]


async def test_every_row_of_a_query_is_an_alert_while_it_is_there(clock: Clock, services: Services) -> None:
    """It opens with the row, is updated when the row's values change, and resolves when the row is gone."""
    await row(services, START, {"k": "bad", "l": "poor"})
    await clock.tick(START)
    first, second = sorted(await alerts(services, "letters"), key=lambda alert: alert.subject)
    assert (first.subject, first.title, first.status, first.opened_us) == ("k", "k: bad", "firing", START)
    assert (first.recommend, first.subject_type, first.kind) == ("Look at k", "query", "query")
    assert first.labels == {"team": "shop", "tier": "one", "runbook": "https://example.com/letters"}
    await row(services, START + 1, {"k": "worse", "l": "gone"})
    await clock.tick(START + 3 * SECOND)
    changed, over = [await services.alerts.get(TENANT, alert.id) for alert in (first, second)]
    assert (changed.title, changed.status, changed.opened_us) == ("k: worse", "firing", START)
    assert (over.status, over.resolved_by) == ("resolved", "")
    assert [entry.change for entry in await services.alerts.history(TENANT, first.id)] == ["fire", "update"]


async def test_a_row_that_stays_as_it_is_tells_nothing(clock: Clock, services: Services) -> None:
    """However often the query runs, and on however many clocks."""
    await row(services, START, {"k": "bad"})
    for second in range(0, 12, 3):
        await clock.tick(START + second * SECOND)
        await Clock(services, clock.config).tick(START + second * SECOND + 1)
    (alert,) = await alerts(services, "letters")
    assert len(await services.alerts.history(TENANT, alert.id)) == 1


async def test_a_query_runs_as_often_as_its_rule_says(clock: Clock, services: Services) -> None:
    """Not with every tick."""
    await clock.tick(START)
    await row(services, START, {"k": "bad"})
    await clock.tick(START + SECOND)
    assert await alerts(services, "letters") == []
    await clock.tick(START + 2 * SECOND)
    assert len(await alerts(services, "letters")) == 1


async def test_a_row_that_comes_back_is_a_new_alert(clock: Clock, services: Services) -> None:
    """The next episode of the same fingerprint."""
    for number, reason in enumerate(["bad", "gone", "bad"]):
        await row(services, START + number, {"k": reason})
        await clock.tick(START + 3 * number * SECOND)
    first, second = await alerts(services, "letters")
    assert (first.status, second.status) == ("resolved", "firing")
    assert first.fingerprint == second.fingerprint
    assert (first.cause, second.cause) == ("episode 1", "episode 2")


async def test_an_alert_a_person_resolved_stays_so_until_its_row_has_gone_once(
    clock: Clock, services: Services
) -> None:
    """Even when the row's values change; when the row comes back, it is a new alert."""
    await row(services, START, {"k": "bad"})
    await clock.tick(START)
    (alert,) = await alerts(services, "letters")
    await services.alerts.act(TENANT, alert.id, "resolve", "ann", START + SECOND)
    await row(services, START + 1, {"k": "worse"})
    for second in (3, 6):
        await clock.tick(START + second * SECOND)
    assert statuses(await alerts(services, "letters")) == ["resolved"]  # type: ignore[arg-type]
    await row(services, START + 2, {"k": "gone"})
    await clock.tick(START + 9 * SECOND)
    await row(services, START + 3, {"k": "bad"})
    await clock.tick(START + 12 * SECOND)
    old, new = await alerts(services, "letters")
    assert (old.status, old.resolved_by, new.status) == ("resolved", "ann", "firing")


async def test_however_many_alerts_people_resolved_none_comes_back(clock: Clock, services: Services) -> None:
    """More than fit on a page of the alert store."""
    await row(services, START, {f"k{number:03}": "bad" for number in range(130)})
    await clock.tick(START)
    for alert in await alerts(services, "letters"):
        await services.alerts.act(TENANT, alert.id, "resolve", "ann", START + SECOND)
    await clock.tick(START + 3 * SECOND)
    assert statuses(await alerts(services, "letters")) == ["resolved"] * 130  # type: ignore[arg-type]


async def test_every_step_of_a_query_rules_alert_is_a_row_of_the_history(clock: Clock, services: Services) -> None:
    """As those of every other rule."""
    for number, reason in enumerate(["bad", "worse", "gone"]):
        await row(services, START + number, {"k": reason})
        await clock.tick(START + 3 * number * SECOND)
    await services.analytics.flush()
    table = await services.analytics.query("Alerts | order by Revision asc | project Change, Title, Rule")
    assert table.rows == [
        ["fire", "k: bad", "letters"],
        ["update", "k: worse", "letters"],
        ["resolve", "k: worse", "letters"],
    ]


async def test_a_feed_that_falls_silent_is_an_alert_until_it_speaks(clock: Clock, services: Services) -> None:
    """From the moment it has been silent for as long as the rule says; the next silence is another alert."""
    await speaks(services, START)
    await run(clock, 0, 25)
    assert await alerts(services, "silent") == []
    await run(clock, 30, 60)
    (alert,) = await alerts(services, "silent")
    assert (alert.status, alert.severity, alert.subject_type) == ("firing", "critical", "feed")
    assert (alert.subject, alert.title) == ("shop/sales", "Nothing from shop/sales for 30 s")
    assert alert.opened_us == START + 30 * SECOND
    await speaks(services, START + 62 * SECOND)
    await run(clock, 65, 90)
    assert statuses(await alerts(services, "silent")) == ["resolved"]  # type: ignore[arg-type]
    await run(clock, 95, 100)
    assert statuses(await alerts(services, "silent")) == ["resolved", "firing"]  # type: ignore[arg-type]


async def test_a_feed_that_never_spoke_is_not_silent(clock: Clock, services: Services) -> None:
    """There is nothing to miss yet."""
    await run(clock, 0, 60)
    assert await alerts(services, "silent") == []


async def test_a_silence_while_nobody_listened_is_no_silence(clock: Clock, services: Services) -> None:
    """After a pause of the app, a feed has as long as the rule says to be heard."""
    await speaks(services, START)
    await run(clock, 0, 10)
    restarted = Clock(services, clock.config)
    await run(restarted, 1000, 1025)
    assert await alerts(services, "silent") == []
    await run(restarted, 1030, 1030)
    (alert,) = await alerts(services, "silent")
    assert alert.opened_us == START + 1030 * SECOND


async def test_an_app_that_was_started_anew_blames_no_feed_for_the_time_between(
    clock: Clock, services: Services
) -> None:
    """A pause that one clock may make is too long between two: nobody was there for feeds to speak to."""
    await speaks(services, START)
    await run(clock, 0, 20)
    await run(Clock(services, clock.config), 28, 53)
    assert await alerts(services, "silent") == []
    await run(clock, 58, 58)
    (alert,) = await alerts(services, "silent")
    assert alert.opened_us == START + 58 * SECOND


async def test_another_clock_goes_on_listening_where_one_leaves_off(clock: Clock, services: Services) -> None:
    """Timers move from instance to instance, with no more than a tick between them."""
    await speaks(services, START)
    await run(clock, 0, 20)
    await run(Clock(services, clock.config), 25, 30)
    (alert,) = await alerts(services, "silent")
    assert alert.opened_us == START + 30 * SECOND


async def test_a_query_that_takes_its_time_makes_nobody_deaf(
    clock: Clock, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick longer than the longest pause between two moments of listening is no pause."""
    monkeypatch.setattr(watching, "LISTEN_S", 0.02)
    monkeypatch.setattr(watching, "LONGEST_GAP_US", 300_000)

    async def slow(*_: object) -> None:
        await asyncio.sleep(0.6)

    monkeypatch.setattr(clock, "_query", slow)
    await clock.tick(START)
    monkeypatch.undo()
    monkeypatch.setattr(watching, "LONGEST_GAP_US", 300_000)
    await clock.tick(START + 700_000)
    document = await services.registry.get(f"clock/{TENANT}")
    assert document is not None
    assert msgspec.json.decode(document.value, type=watching.Watch).since_us == START


async def test_a_silence_known_before_a_pause_goes_on_after_it(clock: Clock, services: Services) -> None:
    """A restart of the app neither resolves the alert nor fires it again."""
    await speaks(services, START)
    await run(clock, 0, 40)
    await run(Clock(services, clock.config), 1000, 1060)
    (alert,) = await alerts(services, "silent")
    assert alert.status == "firing"
    assert [entry.change for entry in await services.alerts.history(TENANT, alert.id)] == ["fire"]


async def test_a_silence_a_person_resolved_stays_so_until_the_feed_speaks(clock: Clock, services: Services) -> None:
    """Then the next one is an alert again."""
    await speaks(services, START)
    await run(clock, 0, 40)
    (alert,) = await alerts(services, "silent")
    await services.alerts.act(TENANT, alert.id, "resolve", "ann", START + 41 * SECOND)
    await run(clock, 45, 60)
    assert statuses(await alerts(services, "silent")) == ["resolved"]  # type: ignore[arg-type]
    await speaks(services, START + 61 * SECOND)
    await run(clock, 65, 95)
    assert statuses(await alerts(services, "silent")) == ["resolved", "firing"]  # type: ignore[arg-type]


async def test_a_rule_that_can_not_be_run_shows_in_health(clock: Clock, services: Services) -> None:
    """The page need not be guessed at: the rule and what is wrong with it are told where people look."""
    await run(clock, 0, 4)
    errors = await failing(services)
    assert set(errors) == {"broken", "lacking"}
    assert all(errors.values())
    rules = {check.name: check for check in (await health(services)).checks if check.kind == "rule"}
    assert set(rules) == {"broken", "lacking"}
    assert {check.status for check in rules.values()} == {"degraded"}
    assert rules["broken"].detail == errors["broken"]


async def test_alerts_of_a_rule_that_was_removed_are_resolved(clock: Clock, services: Services) -> None:
    """Nothing stays firing that nothing watches any more."""
    await speaks(services, START)
    await run(clock, 0, 40)
    assert statuses(await alerts(services, "silent")) == ["firing"]  # type: ignore[arg-type]
    rules = {name: rule for name, rule in clock.config.rules.items() if name != "silent"}
    await run(Clock(services, dataclasses.replace(clock.config, rules=rules)), 41, 42)
    (alert,) = await alerts(services, "silent")
    assert alert.status == "resolved"
    assert (await services.alerts.history(TENANT, alert.id))[-1].reason == "its rule was removed from config"


class Aside:
    """A history that keeps aside what could not be delivered."""

    def __init__(self, whole: Analytics) -> None:
        self.swept = 0
        self.away = False
        self.query, self.ingest = whole.query, whole.ingest

    async def sweep(self) -> int:
        """See ``Sweeps.sweep``."""
        self.swept += 1
        if self.away:
            raise StoreUnavailable("the Eventhouse is away")
        return 1

    async def left(self) -> Left:
        """See ``Sweeps.left``."""
        return Left(1, 1, all_seen=True)


async def test_what_waits_for_the_history_is_taken_there_again_and_again(
    clock: Clock, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """Every half minute; one that is still away holds nothing else up."""
    aside = Aside(services.analytics)
    clock.services = services._replace(analytics=aside)  # type: ignore[arg-type]  # what the clock asks of it
    await run(clock, 0, 25)
    assert aside.swept == 1
    aside.away = True
    with caplog.at_level(logging.INFO):
        await run(clock, 30, 60)
    assert aside.swept == 3
    assert "goes on waiting" in caplog.text
