"""Erasing and replaying beside the running app: it does the work, over HTTP, and the command shows how far it is."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from flockiq.cli import app
from flockiq.cli.main import INTERRUPTED, main
from flockiq.shared import replaying
from flockiq.shared.instants import rfc3339
from flockiq.shared.keeping import keep
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from tests.erasure.world import HER, MAIL, People, fill, holding, now_us, write_config
from tests.recovery.interrupted import ctrl_c
from tests.run.app import ROOT, free_port

PATIENCE_S = 60.0
DAY_US = 86_400_000_000


async def fill_the_folder(tmp_path: Path) -> None:
    """A small world of people, with its raw history, at rest."""
    people = People(connect(Settings(data=tmp_path / "data")), write_config(tmp_path / "config"))
    await fill(people)
    assert await keep(people.services)
    await people.services.close()


@contextmanager
def running(tmp_path: Path) -> Iterator[httpx.Client]:
    """The app over the folder, with no sources that speak; asked once it is well."""
    port = free_port()
    where = ("--data", str(tmp_path / "data"), "--config", str(tmp_path / "config"), "--port", str(port))
    with (tmp_path / "out.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own app
            (sys.executable, "-m", "flockiq", "run", "--no-samples", *where), cwd=ROOT, stdout=log, stderr=log
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            _until_well(client, tmp_path / "out.log")
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _until_well(client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if client.get("/api/health").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(log.read_text()[-2000:])


def run(tmp_path: Path, *arguments: str) -> int:
    """A command beside the app."""
    return main([*arguments, "--data", str(tmp_path / "data"), "--config", str(tmp_path / "config")])


def known(client: httpx.Client) -> set[str]:
    """Whom the app finds by a search for everybody."""
    return {one["match_key"] for one in client.get("/api/entities", params={"q": "e"}).json()["entities"]}


@pytest.mark.timeout(240)
def test_the_app_erases_and_replays_whatever_becomes_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the asking; the API and the same command go on with the same erasure, and a replay as well."""
    asyncio.run(fill_the_folder(tmp_path))
    with running(tmp_path) as client:
        assert known(client) == {MAIL, "eve@example.org"}
        with ctrl_c(app, "ask", after=True):  # the app goes on with it, and may be done before anyone asks again
            assert run(tmp_path, "erase", MAIL) == INTERRUPTED
        asked = client.post("/api/erasures", json={"key": MAIL})
        assert asked.status_code == 200, asked.text
        capsys.readouterr()
        assert run(tmp_path, "erase", MAIL, "--json") == 0
        (erasure,) = msgspec.json.decode(capsys.readouterr().out)
        assert erasure["id"] == asked.json()["id"]
        assert erasure["found"] == [f"person {HER}"]
        assert erasure["removed"] > 30
        assert not erasure["failed"]
        assert set(holding(tmp_path / "data")) <= {"events.db", "events.db-wal"}

        since = ("--from", rfc3339(now_us() - DAY_US))
        with ctrl_c(replaying, "_send", 2):
            assert run(tmp_path, "replay", *since) == INTERRUPTED
        assert run(tmp_path, "replay", *since) == 0
        assert "of raw history are folded again" in capsys.readouterr().out
        assert known(client) == {"eve@example.org"}
    assert set(holding(tmp_path / "data")) <= {"events.db", "events.db-wal"}
