"""Timer triggers: when they fire, what they are told, and what is remembered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flockiq.local.host.ledger import Ledger, ScheduleStatus
from flockiq.local.host.ncrontab import Schedule
from tests.host.apps import Start, eventually

HOURLY = "0 0 * * * *"


def timer(schedule: str, body: str = "seen.append(t)", **options: Any) -> str:
    """An app of one timer function, ``tick``."""
    more = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"""
@app.timer_trigger(arg_name="t", schedule="{schedule}"{more})
async def tick(t: func.TimerRequest) -> None:
    {body}
"""


async def test_a_timer_fires_every_second(start: Start) -> None:
    """Six fields; each firing is counted and not past due."""
    running = await start(timer("* * * * * *", "seen.append((time.time(), t.past_due))"))
    await eventually(lambda: len(running.app.seen) == 3)
    times = [moment for moment, _ in running.app.seen]
    assert all(moment % 1 < 0.5 for moment in times)
    assert 1.5 < times[-1] - times[0] < 2.5
    assert not any(past_due for _, past_due in running.app.seen)
    assert running.host.functions["tick"].invocations >= 3


async def test_run_on_startup_fires_once_at_the_start(start: Start, data: Path) -> None:
    """And not past due; the monitor then waits for the next occurrence."""
    before = datetime.now(UTC)
    running = await start(timer(HOURLY, run_on_startup=True))
    await eventually(lambda: running.host.functions["tick"].invocations == 1)
    await asyncio.sleep(0.2)
    (request,) = running.app.seen
    assert (request.past_due, request.schedule) == (False, {"AdjustForDST": True})
    await running.host.stop()
    status = remembered(data)
    assert before <= status.last <= status.last_updated
    assert status.next == Schedule(HOURLY).next(status.last)


async def test_without_run_on_startup_nothing_fires_at_the_start(start: Start, data: Path) -> None:
    """The first start only notes when the first occurrence is due."""
    running = await start(timer(HOURLY))
    await asyncio.sleep(0.2)
    await running.host.stop()
    status = remembered(data)
    assert running.host.functions["tick"].invocations == 0
    assert status.last.year == 1
    assert status.next == Schedule(HOURLY).next(status.last_updated)


async def test_an_occurrence_missed_while_the_host_was_down_is_past_due(start: Start, data: Path) -> None:
    """It fires once, at once, however many were missed, and is told when it last ran."""
    last = datetime.now(UTC) - timedelta(hours=5)
    due = Schedule(HOURLY).next(last)
    remember(data, ScheduleStatus(last, due, last))
    running = await start(timer(HOURLY, run_on_startup=True))
    await eventually(lambda: running.host.functions["tick"].invocations == 1)
    await asyncio.sleep(0.2)
    (request,) = running.app.seen
    assert request.past_due
    assert datetime.fromisoformat(request.schedule_status["Last"]) == last
    assert datetime.fromisoformat(request.schedule_status["Next"]) == due
    await running.host.stop()
    again = await start(timer(HOURLY))
    await asyncio.sleep(0.2)
    assert again.host.functions["tick"].invocations == 0


async def test_a_schedule_that_was_edited_missed_nothing(start: Start, data: Path) -> None:
    """What only the old schedule promised is not past due under the new one."""
    last = datetime.now(UTC) - timedelta(hours=5)
    remember(data, ScheduleStatus(last, last + timedelta(minutes=1), last))
    running = await start(timer(HOURLY))
    await asyncio.sleep(0.2)
    await running.host.stop()
    assert running.host.functions["tick"].invocations == 0
    assert remembered(data).next > datetime.now(UTC)


@pytest.mark.parametrize("source", [timer("*/30 * * * * *"), timer(HOURLY, use_monitor=False)])
async def test_a_dense_or_unmonitored_schedule_is_not_remembered(start: Start, data: Path, source: str) -> None:
    """As in Azure: what fires within the minute, or asks not to be, is never past due."""
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    remember(data, ScheduleStatus(long_ago, long_ago + timedelta(seconds=30), long_ago))
    running = await start(source)
    await asyncio.sleep(0.2)
    await running.host.stop()
    assert running.host.functions["tick"].invocations == 0 or not running.app.seen[0].past_due
    assert remembered(data).last == long_ago


async def test_a_timer_never_overlaps_itself(start: Start) -> None:
    """Occurrences that pass while it runs are skipped, and the next one is kept."""
    running = await start(
        timer("* * * * * *", "seen.append('in'); await asyncio.sleep(1.3); seen.append('out')", run_on_startup=True)
    )
    await eventually(lambda: len(running.app.seen) >= 4)
    assert running.app.seen[:4] == ["in", "out"] * 2


async def test_a_failing_timer_goes_on(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """One failed run is reported and costs only itself."""
    running = await start(timer("* * * * * *", "seen.append(t); raise KeyError('gone')", run_on_startup=True))
    await eventually(lambda: len(running.app.seen) >= 2)
    assert running.host.functions["tick"].last_error == "KeyError: 'gone'"
    assert "tick failed: KeyError: 'gone'" in caplog.text


def remember(data: Path, status: ScheduleStatus) -> None:
    """What an earlier host would have left behind."""
    ledger = Ledger(data)
    ledger.record_timer("tick", status)
    ledger.close()


def remembered(data: Path) -> ScheduleStatus:
    """What the stopped host left behind."""
    ledger = Ledger(data)
    status = ledger.timer("tick")
    ledger.close()
    assert status is not None
    return status
