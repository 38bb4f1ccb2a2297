"""The supervisor starts, finds again and ends the sample systems, and touches nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from flockiq.local.samples import processes, systems
from flockiq.local.samples.systems import control, start, stop
from flockiq.shared.errors import FlockIQError
from tests.samples.app import App
from tests.samples.conftest import NOBODY, Sampled, eventually


async def test_a_restarted_app_finds_the_systems_that_still_run(sampled: Sampled, app: App) -> None:
    """The same processes, ports and secrets; marketing is told where the app is now."""
    again = await start(sampled.data, 7, app.url)
    assert again == sampled.running
    assert (await control(sampled.data, "marketing"))["app_url"] == app.url
    await start(sampled.data, 7, NOBODY)


async def test_another_seed_on_the_same_folder_is_refused_with_the_way_out(sampled: Sampled) -> None:
    """The message names both seeds and what to do."""
    with pytest.raises(FlockIQError, match=r"seed 7, not 8: give --seed 7 .* or another --data"):
        await start(sampled.data, 8, NOBODY)


def test_secrets_are_kept_from_others_and_from_the_command_line(sampled: Sampled) -> None:
    """Mode 600, different for each system, and in no process's arguments, log or printed form."""
    path = sampled.data / "samples" / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    assert len(set(secrets.values())) == 3
    shown = [repr(sampled.running), *(log.read_text() for log in (sampled.data / "samples").glob("*.log"))]
    if Path("/proc/self/cmdline").exists():
        shown += [Path(f"/proc/{pid}/cmdline").read_text() for pid in sampled.running.pids.values()]
    assert not [secret for secret in secrets.values() for text in shown if secret in text]


def test_the_systems_are_out_of_the_terminals_reach(sampled: Sampled) -> None:
    """Each has a session of its own, so Ctrl-C in the terminal ends only the app."""
    assert os.getsid(0) not in {os.getsid(pid) for pid in sampled.running.pids.values()}


@pytest.fixture
def foreign() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of the sample systems."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


async def test_stopping_ends_no_process_that_got_the_number_of_one_of_ours(
    tmp_path: Path, foreign: subprocess.Popen[bytes]
) -> None:
    """A foreign process under a remembered id stays alive, and the real ones are gone after stop."""
    running = await start(tmp_path, 1, NOBODY, story=False, rate=0.0)
    try:
        register = tmp_path / "samples" / "systems.json"
        real = register.read_text()
        register.write_text(real.replace(str(running.pids["crm"]), str(foreign.pid)))
        await stop(tmp_path)
        assert foreign.poll() is None
        assert processes.is_ours(running.pids["crm"], tmp_path, "crm")
        assert processes.is_over(running.pids["erp"])
        register.write_text(real)
        await stop(tmp_path)
        await eventually(lambda: processes.is_over(running.pids["crm"]))
    finally:
        await stop(tmp_path)


async def test_a_system_that_can_not_start_says_why(tmp_path: Path) -> None:
    """The error holds the end of its log; the systems that did start are ended again."""
    home = tmp_path / "samples"
    home.mkdir()
    (home / "crm.sqlite").write_text("this is not a database, and long enough to be read as one " * 20)
    try:
        with pytest.raises(FlockIQError, match=r"(?s)crm does not start.*not a database"):
            await start(tmp_path, 1, NOBODY)
        with pytest.raises(FlockIQError, match=r"erp .* does not answer"):
            await control(tmp_path, "erp")
    finally:
        await stop(tmp_path)


async def test_orders_for_a_system_that_was_never_started_are_an_error(tmp_path: Path) -> None:
    """It names the folder."""
    with pytest.raises(FlockIQError, match="No sample system called crm"):
        await systems.control(tmp_path, "crm")
