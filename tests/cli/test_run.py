"""``flockiq run`` from outside: a real process, the real host, and a small app that answers as FlockIQ's does."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DRIVER = """
import sys
from pathlib import Path
from flockiq.cli import run
from flockiq.cli.main import main
run.APP = Path(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""

APP = """
import json
from pathlib import Path
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="{*path}")
def serve(req: func.HttpRequest) -> func.HttpResponse:
    answers = json.loads((Path(__file__).parent / "answers.json").read_text())
    answer = answers.get(req.route_params["path"])
    return func.HttpResponse(json.dumps(answer), status_code=200 if answer else 500)
"""

ANSWERS = {
    "api/summary": {
        "captured": {"crm": 1200, "erp": 34},
        "entities": 700,
        "deltas": 5,
        "alerts": {"credit-limit-halved": {"firing": 1, "pending": 2, "resolved": 3}},
        "dead_letters": 0,
        "duplicates_absorbed": 9,
        "too_late": 4,
        "latency_ms": {"p50": 1500.5, "p99": 2750.0, "changes": 12},
    },
    "api/sources": {
        "sources": [
            {"source": "crm", "stream": "accounts", "state": "fresh", "last_read_us": 1, "error": ""},
            {"source": "crm", "stream": "contacts", "state": "failing", "error": "answered 500"},
        ]
    },
    "api/alerts": {
        "alerts": [
            {"id": "1", "severity": "critical", "status": "firing", "title": "Acme: limit cut", "opened_us": 10**15}
        ],
        "continuation": "",
    },
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The folder of the small app."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "function_app.py").write_text(APP)
    (folder / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}')
    (folder / "answers.json").write_text(json.dumps(ANSWERS))
    for name in ("sources", "entities", "rules"):
        (tmp_path / "config" / name).mkdir(parents=True)
    return folder


def command(app: Path, *arguments: str) -> Sequence[str]:
    """A run of ``app`` beside its data and config."""
    home = app.parent
    paths = ["--data", str(home / "data"), "--config", str(home / "config"), "--port", "0", "--no-samples"]
    return [sys.executable, "-c", DRIVER, str(app), "run", *paths, *arguments]


def done(app: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run that ends by itself."""
    return subprocess.run(  # noqa: S603 - our own interpreter
        command(app, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def running(app: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has begun to show what happens."""
    with subprocess.Popen(command(app), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            while "records" not in (text := process.stdout.readline()):
                assert text, "the run ended early"
            yield process
        finally:
            process.kill()


def test_a_run_ends_by_itself_and_writes_its_summary(app: Path) -> None:
    """Every number of the summary is there, under the name that scripts rely on."""
    out = app.parent / "out.json"
    ended = done(app, "--duration", "1.5", "--summary", str(out))
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(out.read_text())
    assert summary.pop("runtime").keys() == {"name", "version"}
    calls = summary.pop("functions")["serve"]
    assert calls["invocations"] > 3
    assert calls["failures"] == 0
    assert summary == {
        "captured": {"crm": 1200, "erp": 34},
        "entities": 700,
        "deltas": 5,
        "alerts": {"credit-limit-halved": {"firing": 1, "acknowledged": 0, "resolved": 3}},
        "dead_letters": 0,
        "duplicates_absorbed": 9,
        "too_late": 4,
        "latency_ms": {"p50": 1500.5, "p99": 2750.0},
        "story": {"planted": 0, "found": 0, "missed": 0, "unexpected": 0},
    }


def test_a_run_says_what_happened_and_where_things_are(app: Path) -> None:
    """Without a terminal: a line of numbers, a line for an alert, and a closing report."""
    text = done(app, "--duration", "1.5").stdout
    assert re.search(r"1,234 records .* 700 entities  5 deltas  1 open alerts  0 waiting", text)
    assert len(re.findall(r"critical  firing +Acme: limit cut", text)) == 1
    assert "1,234 records of 2 sources became 700 entities; 5 deltas on the way." in text
    assert "4 alerts, 1 of them still open." in text
    assert f"data {app.parent / 'data'}" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_order(app: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM both close with the report, and leave the data folder free."""
    with running(app) as process:
        process.send_signal(number)
        text, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Stopped after" in text
    assert done(app, "--duration", "0.1").returncode == 0


def test_a_second_run_on_one_data_folder_is_refused(app: Path) -> None:
    """It ends at once with a sentence that names the first one; that one goes on."""
    with running(app) as first:
        second = done(app)
        assert second.returncode == 1
        assert f"already running on the data folder {app.parent / 'data'}, as process {first.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.poll() is None


def test_a_terminal_gets_a_live_table(app: Path) -> None:
    """In a terminal the table is redrawn in place, with the state of the worst stream of each source."""
    here, there = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command(app, "--duration", "3"), cwd=ROOT, stdout=there, stderr=there, env=environment
    ) as process:
        os.close(there)
        shown = b"".join(_read(here))
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert "Ctrl-C to stop" in text
    assert re.search(r"crm +1,200 .* failing answered 500", text)
    assert "\x1b[2K" in text, "lines are rewritten in place"
    assert "Stopped after" in text.rpartition("Ctrl-C to stop")[2]


def _read(descriptor: int) -> Iterator[bytes]:
    """What a pseudo-terminal shows until its other end closes."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and select.select([descriptor], [], [], 30)[0]:
        try:
            yield os.read(descriptor, 65_536)
        except OSError:  # Linux's word for the end
            break
    os.close(descriptor)


def test_an_app_that_cannot_be_loaded_stops_the_run_with_its_reason(app: Path) -> None:
    """The exit code is 1, and the mistake is named."""
    (app / "function_app.py").write_text(
        "import azure.functions as func\napp = func.FunctionApp()\nraise ValueError('x1')\n"
    )
    ended = done(app, "--duration", "1")
    assert ended.returncode == 1
    assert "x1" in ended.stderr + ended.stdout


def test_an_app_that_gives_no_numbers_fails_the_run(app: Path) -> None:
    """A run whose outcome nobody can tell is not a success; while it lasts the line says why nothing moves."""
    (app / "answers.json").write_text("{}")
    ended = done(app, "--duration", "1.5")
    assert ended.returncode == 1
    assert "The app answers 500 at /api/summary" in ended.stdout
    assert "The app answers 500 at /api/summary" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_wrong_config_stops_a_run_before_it_begins(app: Path) -> None:
    """Each problem is a line; nothing was started and no data folder made."""
    (app.parent / "config/sources/crm.yaml").write_text("source: crm\nconnector: odata_v4\nstraems: {}\n")
    ended = done(app)
    assert ended.returncode == 1
    assert re.search(r"crm\.yaml:3: .*straems", ended.stderr)
    assert "Traceback" not in ended.stderr
    assert not (app.parent / "data").exists()


def test_a_summary_that_could_not_be_written_is_said_before_the_run(app: Path) -> None:
    """Nobody waits a minute to learn of a typing mistake."""
    ended = done(app, "--summary", str(app.parent / "missing" / "out.json"))
    assert ended.returncode == 1
    assert "can't be written" in ended.stderr
