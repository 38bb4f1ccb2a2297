"""Event Hub functions in worker processes: as many as asked for, one for a partition, replaced when they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from flockiq.local.host.errors import HostError
from flockiq.local.host.ledger import Ledger, Place
from flockiq.local.host.workers import SETTING
from flockiq.shared.adapters.embedded.events import SqliteEvents
from tests.host.apps import Start, eventually
from tests.host.test_event_hubs import numbered

NOTED = """
def note(event):
    where = event.metadata["PartitionContext"]["PartitionId"]
    said = event.get_body().decode(errors="replace")
    with open(os.environ["NOTED"], "a") as file:
        file.write(f"{os.getpid()} {where} {event.sequence_number} {said} {os.environ.get('OWN', 'none')}\\n")

@hub("wide")
async def wide(events: Events) -> None:
    for event in events:
        note(event)
"""


class Note(NamedTuple):
    """What a function wrote down of an event: by which process, from where, what, and a setting it saw."""

    pid: int
    partition: int
    sequence: int
    body: str
    own: str


def notes(path: Path) -> list[Note]:
    """All that was written down."""
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [Note(int(pid), int(partition), int(sequence), body, own) for pid, partition, sequence, body, own in rows]


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """Where functions write."""
    return tmp_path / "noted"


async def test_partitions_are_shared_out_over_worker_processes(
    start: Start, events: SqliteEvents, noted: Path, data: Path
) -> None:
    """Each partition keeps to one process, in order; checkpoints are the host's; workers end with it."""
    for partition in range(3):
        await events.publish("wide", numbered(40, partition))
    running = await start(NOTED, settings={SETTING: "2", "NOTED": str(noted)}, workers={"OWN": "yes"})
    pids = set(running.host.workers)
    assert len(pids) == 2
    await eventually(lambda: len(notes(noted)) == 120)
    await running.host.stop()
    by_partition = {partition: [n for n in notes(noted) if n.partition == partition] for partition in range(3)}
    assert all(len({note.pid for note in found}) == 1 for found in by_partition.values())
    assert all([note.sequence for note in found] == list(range(40)) for found in by_partition.values())
    assert {note.pid for note in notes(noted)} == pids
    assert {note.own for note in notes(noted)} == {"yes"}
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)  # noqa: ASYNC240, PTH110 - no file is waited for
    ledger = Ledger(data)
    assert [ledger.checkpoint(Place("wide", "$Default", "wide", number)) for number in range(3)] == [40] * 3
    ledger.close()


async def test_a_worker_that_dies_is_replaced_and_its_batch_comes_again(
    start: Start, events: SqliteEvents, noted: Path
) -> None:
    """The batch it had in hand fails, and is tried again by the function's policy."""
    source = NOTED.replace(
        '@hub("wide")',
        '@hub("wide")\n@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:00")',
    ).replace("        note(event)", "        note(event)\n        await asyncio.sleep(0.02)")
    await events.publish("wide", numbered(60, 1))
    running = await start(source, settings={SETTING: "2", "NOTED": str(noted)})
    await eventually(lambda: len(notes(noted)) > 3)
    first = notes(noted)[0].pid
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: {note.sequence for note in notes(noted)} == set(range(60)))
    assert len({note.pid for note in notes(noted)}) == 2
    assert first not in running.host.workers


async def test_a_call_over_its_time_is_cancelled_in_its_worker(start: Start, events: SqliteEvents, noted: Path) -> None:
    """The function hears of it, and the next batch is taken."""
    source = """
    @hub("wide")
    async def wide(events: Events) -> None:
        try:
            if events[0].get_body() == b"0":
                await asyncio.sleep(60)
        finally:
            with open(os.environ["NOTED"], "a") as file:
                file.write(f"{os.getpid()} 0 {events[0].sequence_number} left -\\n")
    """
    settings = {SETTING: "2", "NOTED": str(noted)}
    running = await start(source, host={"functionTimeout": "00:00:01"}, settings=settings)
    await events.publish("wide", numbered(1))
    await eventually(lambda: len(notes(noted)) == 1)
    await events.publish("wide", numbered(1, first=1))
    await eventually(lambda: len(notes(noted)) == 2)
    assert running.host.functions["wide"].failures == 1
    assert "FunctionTimeout" in running.host.functions["wide"].last_error


async def test_what_a_function_raises_in_a_worker_is_told_with_its_trace(
    start: Start, events: SqliteEvents, caplog: pytest.LogCaptureFixture
) -> None:
    """As it is told of a function that runs here."""
    source = """
    @hub("wide")
    async def wide(events: Events) -> None:
        raise ValueError("no such thing")
    """
    running = await start(source, settings={SETTING: "2"})
    await events.publish("wide", numbered(1))
    await eventually(lambda: running.host.functions["wide"].failures == 1)
    assert "no such thing" in running.host.functions["wide"].last_error
    assert "in wide" in caplog.text


@pytest.mark.parametrize("number", ["0", "11", "two", "-1"])
async def test_a_number_of_workers_that_azure_would_not_take_is_refused(start: Start, number: str) -> None:
    """With the setting's name and what it may be."""
    with pytest.raises(HostError, match=f"{SETTING} is '{number}'; give a number from 1 to 10"):
        await start(NOTED, settings={SETTING: number})


async def test_an_app_that_only_fails_in_workers_is_told_of_at_the_start(start: Start) -> None:
    """With the reason, and nothing is left running."""
    source = "if os.environ.get('OWN'):\n    raise RuntimeError('not here')\n" + NOTED
    with pytest.raises(HostError, match="not here"):
        await start(source, settings={SETTING: "2"}, workers={"OWN": "yes"})


TELLING = """
from flockiq.shared import telemetry

@hub("wide")
async def wide(events: Events) -> None:
    telemetry.start(os.environ)
    for event in events:
        telemetry.add(telemetry.LETTERS, 1, stage="merge")
        note(event)
"""


async def test_what_workers_measured_is_told_when_they_end(
    start: Start, events: SqliteEvents, noted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is due for a minute; when the host stops, each gives out what it has."""
    for partition in range(2):
        await events.publish("wide", numbered(40, partition))
    settings = {SETTING: "2", "NOTED": str(noted), "FLOCKIQ_TELEMETRY": "console"}
    running = await start(NOTED.partition("@hub")[0] + TELLING, settings=settings)
    await eventually(lambda: len(notes(noted)) == 80)
    assert "dead_letters" not in capfd.readouterr().err
    await running.host.stop()
    said = capfd.readouterr().err
    assert said.count("flockiq.dead_letters in {record}: stage=merge: 40") == 2
