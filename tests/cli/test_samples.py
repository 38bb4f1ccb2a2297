"""The verdict on the story, asked of an app that listens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flockiq.cli import samples
from flockiq.cli.samples import FIRST_SEED, Samples, sample_systems
from flockiq.cli.summary import Story
from flockiq.local.samples import truth
from flockiq.local.samples.truth import Truth

ALERT = {
    "id": "a",
    "rule": "credit-limit-halved",
    "subject": "e1",
    "title": "Acme: credit limit cut",
    "status": "firing",
    "match_key": "123456789",
}


class App(ThreadingHTTPServer):
    """Tells one alert from ``after`` on (seconds of the monotonic clock)."""

    after = float("inf")


class Handler(BaseHTTPRequestHandler):
    """``GET /api/alerts`` and nothing else."""

    server: App

    def do_GET(self) -> None:
        """The alerts there are by now."""
        alerts = [ALERT | {"opened_us": time.time_ns() // 1000}] if time.monotonic() >= self.server.after else []
        body = json.dumps({"alerts": alerts, "continuation": ""}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def app() -> Iterator[App]:
    """The app, listening."""
    with App(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def planted(data: Path, app: App) -> Samples:
    """Sample systems that have halved a credit limit, which somebody should know by now."""
    truth.append(
        data,
        Truth(
            id="t",
            kind="halved",
            rule="credit-limit-halved",
            expects="firing",
            subject_type="company",
            match_key="123456789",
            committed_us=time.time_ns() // 1000 - 20_000_000,
            due_by_us=time.time_ns() // 1000 - 5_000_000,
        ),
    )
    return Samples(data, f"http://127.0.0.1:{app.server_port}", {})


async def test_what_was_told_is_found(tmp_path: Path, app: App) -> None:
    """One planted, one found, no fault to name."""
    app.after = 0.0
    verdict = await planted(tmp_path, app).verdict()
    assert (verdict.story, list(verdict.faults)) == (Story(planted=1, found=1), [])


async def test_an_alert_on_its_way_is_waited_for(tmp_path: Path, app: App) -> None:
    """The run's last moments are not counted against the app."""
    app.after = time.monotonic() + 0.8
    assert (await planted(tmp_path, app).verdict()).story == Story(planted=1, found=1)


async def test_what_never_comes_is_missed_and_named(tmp_path: Path, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting ends, and the fault says which event of which rule."""
    monkeypatch.setattr(samples, "PATIENCE_S", 0.6)
    verdict = await planted(tmp_path, app).verdict()
    assert verdict.story == Story(planted=1, missed=1)
    (fault,) = verdict.faults
    assert "credit-limit-halved" in fault


async def test_what_nobody_planted_is_unexpected(tmp_path: Path, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A false alarm is a fault too."""
    monkeypatch.setattr(samples, "PATIENCE_S", 0.0)
    app.after = 0.0
    verdict = await Samples(tmp_path, f"http://127.0.0.1:{app.server_port}", {}).verdict()
    assert verdict.story == Story(unexpected=1)
    assert "Acme: credit limit cut" in verdict.faults[0]


async def test_without_a_seed_the_systems_go_on_from_what_they_held(tmp_path: Path) -> None:
    """Running again goes on from here, as the end of a run promises."""
    for _ in range(2):
        async with sample_systems(tmp_path / "first", None, "http://127.0.0.1:9") as running:
            assert running.seed == FIRST_SEED
    for asked in (7, None):
        async with sample_systems(tmp_path / "second", asked, "http://127.0.0.1:9") as running:
            assert running.seed == 7
