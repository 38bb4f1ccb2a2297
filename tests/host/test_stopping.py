"""Stopping: the batch in hand is finished, the checkpoint tells the truth, signals are heard."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flockiq.local.host.host import Host, run_until_stopped
from flockiq.local.host.ledger import Ledger, Place
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.ports import OutgoingEvent
from tests.host.apps import Start, eventually, write_app

ROOT = Path(__file__).resolve().parents[2]
SLOW = """
@hub()
async def orders(events: Events) -> None:
    seen.append("in")
    await asyncio.sleep({seconds})
    seen.append("out")
"""


def checkpoint(data: Path) -> int | None:
    """Where the stopped host's function stands."""
    ledger = Ledger(data)
    try:
        return ledger.checkpoint(Place("orders", "$Default", "orders", 0))
    finally:
        ledger.close()


async def test_stop_lets_the_batch_in_hand_finish(start: Start, events: SqliteEvents, data: Path) -> None:
    """It is finished and checkpointed, and no other is begun."""
    await events.publish("orders", [OutgoingEvent(0, b"a"), OutgoingEvent(0, b"b")])
    host = {"extensions": {"eventHubs": {"maxEventBatchSize": 1}}}
    running = await start(SLOW.format(seconds=0.5), host=host)
    await eventually(lambda: running.app.seen == ["in"])
    await asyncio.gather(running.host.stop(), running.host.stop())  # whoever else asks waits for the same
    assert running.app.seen == ["in", "out"]
    assert checkpoint(data) == 1


async def test_what_outlasts_the_grace_is_cancelled_and_comes_again(
    start: Start, events: SqliteEvents, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled batch is not checkpointed, and the host names the function that would not end."""
    await events.publish("orders", [OutgoingEvent(0, b"a")])
    running = await start(SLOW.format(seconds=60), grace_s=0.2)
    await eventually(lambda: running.app.seen == ["in"])
    began = time.monotonic()
    await running.host.stop()
    assert time.monotonic() - began < 3
    assert running.app.seen == ["in"]
    assert checkpoint(data) is None
    assert "orders is still running after 0.2 s of grace" in caplog.text


async def test_a_thread_that_will_not_end_is_left_behind(
    start: Start, events: SqliteEvents, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can end a thread, so the stop does not wait for it beyond the grace; its batch comes again."""
    await events.publish("orders", [OutgoingEvent(0, b"a")])
    running = await start("@hub()\ndef orders(events: Events) -> None:\n    time.sleep(1.5)", grace_s=0.2)
    await eventually(lambda: running.host.functions["orders"].running == 1)
    began = time.monotonic()
    await running.host.stop()
    assert time.monotonic() - began < 1
    assert checkpoint(data) is None
    assert "orders is still running after 0.2 s of grace" in caplog.text


async def test_stop_lets_a_request_finish_and_accepts_no_other(start: Start) -> None:
    """A caller who was let in gets the answer."""
    running = await start(
        """
        @app.route("slow")
        async def slow(req: func.HttpRequest) -> func.HttpResponse:
            seen.append("in")
            await asyncio.sleep(0.4)
            return func.HttpResponse("done")
        """
    )
    async with httpx.AsyncClient(base_url=running.host.url) as client:
        answer = asyncio.create_task(client.get("/slow"))
        await eventually(lambda: running.app.seen == ["in"])
        await running.host.stop()
        assert (await answer).text == "done"
        with pytest.raises(httpx.ConnectError):
            await client.get("/slow", headers={"connection": "close"})


async def test_a_host_can_be_stopped_twice_and_before_it_started(tmp_path: Path, events: SqliteEvents) -> None:
    """Whoever cleans up need not know how far it came."""
    host = Host(tmp_path, events=events, data=tmp_path / "data", port=0)
    await host.stop()
    await host.stop()
    assert await host.lag() == {}


async def test_an_idle_host_stops_at_once(start: Start) -> None:
    """Waiting pumps and timers hold nothing up."""
    running = await start(SLOW.format(seconds=0) + "\n" + IDLE_TIMER)
    began = time.monotonic()
    await running.host.stop()
    assert time.monotonic() - began < 1


IDLE_TIMER = """
@app.timer_trigger(arg_name="t", schedule="0 0 0 1 1 *")
async def yearly(t: func.TimerRequest) -> None: ...
"""


async def test_run_until_stopped_ends_after_its_duration(tmp_path: Path, data: Path, events: SqliteEvents) -> None:
    """With everything closed: the data folder is free again."""
    host = Host(write_app(tmp_path / "app", IDLE_TIMER), events=events, data=data, port=0)
    began = time.monotonic()
    await run_until_stopped(host, 0.5)
    assert 0.5 <= time.monotonic() - began < 3
    Ledger(data).close()


async def test_an_error_of_the_hosts_own_ends_the_run(
    tmp_path: Path, data: Path, events: SqliteEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that has lost a timer or pump must not go on looking well."""

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Ledger, "record_timer", full)
    host = Host(write_app(tmp_path / "app", IDLE_TIMER), events=events, data=data, port=0)
    with pytest.raises(OSError, match="the disk is full"):
        await run_until_stopped(host, 30)


class Process:
    """A host in a process of its own, as the command runs it."""

    def __init__(self, folder: Path, source: str) -> None:
        write_app(folder / "app", source)
        script = f"""
            import asyncio
            from pathlib import Path
            from flockiq.local.host.host import Host, run_until_stopped
            from flockiq.shared.adapters.embedded.events import SqliteEvents

            async def main():
                folder = Path({str(folder)!r})
                events = SqliteEvents(folder / "data" / "events.db", {{"orders": 1}})
                host = Host(folder / "app", events=events, data=folder / "data", port=0, grace_s=20)
                await run_until_stopped(host, None)
                await events.close()
                print("stopped", flush=True)

            asyncio.run(main())
        """
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-c", textwrap.dedent(script)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603 - ours

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> tuple[int, str]:
        """Its exit code and what else it printed."""
        rest, _ = self.process.communicate(timeout=20)
        return self.process.returncode, rest


TICK = """
@app.timer_trigger(arg_name="t", schedule="0 0 0 1 1 *", run_on_startup=True)
async def tick(t: func.TimerRequest) -> None:
    print("in", flush=True)
    await asyncio.sleep({seconds})
    print("out", flush=True)
"""


@pytest.fixture
def processes(tmp_path: Path, data: Path) -> Iterator[list[Process]]:
    """Ends what a failed test left running."""
    assert data.is_dir()
    started: list[Process] = []
    yield started
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
        process.process.communicate()
    assert tmp_path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_hand(tmp_path: Path, processes: list[Process], number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C: the function ends by itself, the process with 0."""
    process = Process(tmp_path, TICK.format(seconds=0.7))
    processes.append(process)
    assert process.line() == "in"
    process.process.send_signal(number)
    code, rest = process.end()
    assert (code, rest.split()) == (0, ["out", "stopped"])


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, processes: list[Process]) -> None:
    """Nobody waits for a function that will not end."""
    process = Process(tmp_path, TICK.format(seconds=60))
    processes.append(process)
    assert process.line() == "in"
    began = time.monotonic()
    process.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.process.send_signal(signal.SIGINT)
    code, rest = process.end()
    assert time.monotonic() - began < 5
    assert code == 130
    assert "out" not in rest
