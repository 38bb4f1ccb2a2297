"""What reaches the person at the terminal while a run goes on, and what the log keeps."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from flockiq.cli import show
from flockiq.cli.picture import Fired, Picture
from flockiq.cli.show import logged, news

log = logging.getLogger("flockiq.tests.show")


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[io.StringIO]:
    """What is printed, while everything is logged under ``tmp_path``."""
    shown = io.StringIO()
    with logged(tmp_path, Console(file=shown, width=60)):
        yield shown


def test_warnings_are_printed_and_everything_is_kept(tmp_path: Path, screen: io.StringIO) -> None:
    """The terminal is for what somebody should see; the file is for looking back."""
    log.info("a batch of 5")
    log.warning("the source is slow")
    assert screen.getvalue() == "WARNING flockiq.tests.show: the source is slow\n"
    kept = (tmp_path / "run.log").read_text()
    assert "a batch of 5" in kept
    assert "the source is slow" in kept


def test_what_repeats_itself_is_printed_once_and_kept_every_time(tmp_path: Path, screen: io.StringIO) -> None:
    """A rule that fails each second does not drown the rest."""
    for _ in range(5):
        log.error("rule x can't be run")
    log.error("rule y can't be run")
    assert screen.getvalue().count("rule x") == 1
    assert screen.getvalue().count("rule y") == 1
    assert (tmp_path / "run.log").read_text().count("rule x") == 5


def test_it_is_printed_again_after_a_while(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who looks later sees that it still goes on."""
    monkeypatch.setattr(show, "REPEAT_S", 0.0)
    log.error("rule x can't be run")
    log.error("rule x can't be run")
    assert screen.getvalue().count("rule x") == 2


def test_ever_new_messages_are_not_remembered_for_ever(screen: io.StringIO) -> None:
    """What is remembered to know a repetition is bounded."""
    (handler,) = [each for each in logging.getLogger().handlers if isinstance(each, show.Above)]
    for number in range(3 * show.REMEMBERED):
        log.error("record %d is wrong", number)
    assert screen.getvalue().count("is wrong") == 3 * show.REMEMBERED
    assert len(handler._printed) <= show.REMEMBERED


def test_a_traceback_keeps_its_shape_and_a_record_cannot_reach_the_terminal(screen: io.StringIO) -> None:
    """Indentation stays, lines are not wrapped, escape sequences do not work."""
    try:
        _fail("\x1b[2J[bold]Acme[/bold] " + "x" * 100)
    except ValueError:
        log.exception("merge_changes failed")
    lines = screen.getvalue().splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert any(each.startswith("    raise ValueError(why)") for each in lines)
    assert lines[-1] == "ValueError: \ufffd[2J[bold]Acme[/bold] " + "x" * 100


def _fail(why: str) -> None:
    raise ValueError(why)


def test_logging_is_as_before_after_a_run(tmp_path: Path) -> None:
    """Nothing is left behind in the process."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    with logged(tmp_path, Console(file=io.StringIO())):
        assert (list(root.handlers), root.level) != before
    assert (list(root.handlers), root.level) == before


def test_an_alert_is_news_when_it_fires_and_when_it_changes() -> None:
    """Each status is told once, oldest alert first."""

    def picture(**alerts: str) -> Picture:
        shown = [Fired(id=i, at="", severity="info", status=status, title=i) for i, status in alerts.items()]
        return Picture(address="", elapsed_s=0, alerts=shown)

    told: set[tuple[str, str]] = set()
    assert [each.id for each in news(picture(b="firing", a="firing"), told)] == ["a", "b"]
    assert list(news(picture(b="firing", a="firing"), told)) == []
    assert [(each.id, each.status) for each in news(picture(b="firing", a="resolved"), told)] == [("a", "resolved")]
