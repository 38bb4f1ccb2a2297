"""Ctrl-C in the middle of a long command: nothing is half done for good, and the same command goes on."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from flockiq.cli.main import INTERRUPTED, main
from flockiq.local import outcome
from flockiq.local.folding import Folding, Share
from flockiq.local.outcome import Outcome
from flockiq.shared import erasing, erasure, replaying, transfer
from flockiq.shared.archive import Archive
from flockiq.shared.instants import rfc3339
from flockiq.shared.keeping import keep
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from tests.erasure.world import MAIL, People, fill, holding, now_us, write_config
from tests.recovery.interrupted import ctrl_c

SINCE = rfc3339(now_us() - 86_400_000_000)


@pytest.fixture
def right(tmp_path: Path) -> Outcome:
    """What a small world of people ends with; it is there, at rest, with its raw history."""
    write_config(tmp_path / "config")

    async def filled() -> Outcome:
        people = opened(tmp_path)
        await fill(people)
        assert await keep(people.services)
        try:
            return await outcome.read(people.services)
        finally:
            await people.services.close()

    return asyncio.run(filled())


def opened(tmp_path: Path) -> People:
    """The world's services."""
    return People(connect(Settings(data=tmp_path / "data")), tmp_path / "config")


def ended(tmp_path: Path) -> Outcome:
    """What it ends with now."""

    async def read() -> Outcome:
        people = opened(tmp_path)
        try:
            await people.work()
            return await outcome.read(people.services)
        finally:
            await people.services.close()

    return asyncio.run(read())


def run(tmp_path: Path, *arguments: str) -> int:
    """A command over the world."""
    return main([*arguments, "--data", str(tmp_path / "data"), "--config", str(tmp_path / "config")])


def lose(tmp_path: Path, *names: str) -> None:
    """Some stores are gone."""
    for path in [path for name in names for path in (tmp_path / "data").rglob(f"{name}*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("where", "name", "nth"),
    [
        (erasing.STEPS, "letters", 1),
        (Share, "fold", 1),  # the owners of records
        (Folding, "off", 2),  # the owners of entities
        (erasing.STEPS, "raw", 1),
        (erasing.STEPS, "history", 1),
        (erasing, "scrub", 1),
    ],
)
def test_an_erasure_goes_on(right: Outcome, tmp_path: Path, where: object, name: str, nth: int) -> None:
    """Wherever it was interrupted, the same command removes the rest, and of nobody else anything."""
    assert right.golden_records
    with ctrl_c(where, name, nth):
        assert run(tmp_path, "erase", MAIL) == INTERRUPTED
    assert holding(tmp_path / "data")
    assert run(tmp_path, "erase", MAIL) == 0
    assert set(holding(tmp_path / "data")) <= {"events.db", "events.db-wal"}
    assert len(ended(tmp_path).golden_records) == 1


def test_a_replay_goes_on(right: Outcome, tmp_path: Path) -> None:
    """After the last blob whose lines were sent."""
    lose(tmp_path, "logs.db", "events.db", "alerts.db", "registry.db", "analytics")
    with ctrl_c(replaying, "_send", 3):
        assert run(tmp_path, "replay", "--from", SINCE) == INTERRUPTED
    assert run(tmp_path, "replay", "--from", SINCE) == 0
    assert ended(tmp_path) == right


def test_a_replay_that_is_begun_again_elsewhere_brings_nothing_back(right: Outcome, tmp_path: Path) -> None:
    """From another time, over state that was lost once more: owners are told first what was erased."""
    assert right.golden_records
    with pytest.MonkeyPatch.context() as patch:  # the raw history keeps her, as a backup of it might
        patch.delitem(erasing.STEPS, "raw")  # type: ignore[arg-type]  # a dict
        assert run(tmp_path, "erase", MAIL) == 0
    lose(tmp_path, "logs.db", "events.db", "analytics")
    with ctrl_c(replaying, "_send", 2):
        assert run(tmp_path, "replay", "--from", SINCE) == INTERRUPTED
    lose(tmp_path, "logs.db", "events.db", "analytics")
    assert run(tmp_path, "replay", "--from", "2026-01-01") == 0
    assert len(ended(tmp_path).golden_records) == 1


def test_an_export_leaves_no_half_a_file(right: Outcome, tmp_path: Path) -> None:
    """Neither the file nor its beginning; then it is made."""
    assert right.golden_records
    file = tmp_path / "state.zip"
    with ctrl_c(transfer, "_export_alerts"):
        assert run(tmp_path, "state", "export", str(file)) == INTERRUPTED
    assert not list(tmp_path.glob("state.zip*"))
    assert run(tmp_path, "state", "export", str(file)) == 0
    assert Archive(file).manifest.counts["alerts"] > 0


def test_an_import_goes_on(right: Outcome, tmp_path: Path) -> None:
    """Without --force, since what is there is its own half."""
    file = tmp_path / "state.zip"
    assert run(tmp_path, "state", "export", str(file)) == 0
    lose(tmp_path, "logs.db", "alerts.db", "registry.db")
    with ctrl_c(transfer, "_restore_log", 6):
        assert run(tmp_path, "state", "import", str(file)) == INTERRUPTED
    assert run(tmp_path, "state", "import", str(file)) == 0
    assert ended(tmp_path) == right


def test_an_erasure_that_is_asked_for_again_at_once_says_of_when_its_report_is(
    right: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody takes it for what the second command found; after half a minute it looks once more."""
    assert right.golden_records
    assert run(tmp_path, "erase", MAIL) == 0
    assert "report of then" not in capsys.readouterr().out
    assert run(tmp_path, "erase", MAIL) == 0
    assert "this is the report of then" in capsys.readouterr().out
    monkeypatch.setattr(erasure, "AGAIN_US", 0)
    assert run(tmp_path, "erase", MAIL) == 1
    told = capsys.readouterr().out
    assert "report of then" not in told
    assert "Nothing was known under this key" in told
