"""The terminal view: aligned, calm, and proof against what customers' records say."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flockiq.cli.picture import Feed, Fired, Picture, Stage, Totals
from flockiq.cli.view import Screen, ago, alert_line, clock, line, plain, rate

ALERT = Fired(id="a", at="12:00:01", severity="critical", status="firing", title="Acme: credit limit cut to 2500.00")
PICTURE = Picture(
    address="http://127.0.0.1:7071",
    elapsed_s=42,
    duration_s=60,
    seed=7,
    feeds=[
        Feed(source="crm", records=5012, rate=3.2, age_s=1, state="fresh"),
        Feed(source="erp", records=25_012, rate=310, age_s=3, state="failing", error="answered 500"),
        Feed(source="marketing", records=0, rate=0, age_s=None, state="waiting"),
    ],
    stages=[
        Stage(function="capture_schedule", waiting=None, calls=42, rate=1, failures=0),
        Stage(function="merge_changes", waiting=1234, calls=423, rate=12.3, failures=2),
    ],
    alerts=[ALERT],
    totals=Totals(captured=30_024, entities=2345, deltas=123, alerts=1, dead_letters=4, p99_s=2.34),
)


def drawn(picture: Picture, width: int, height: int = 40) -> list[str]:
    """The lines of the picture on a terminal of this size."""
    console = Console(
        width=width, height=height, file=io.StringIO(), record=True, color_system=None, force_terminal=True
    )
    console.print(Screen(picture))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 100, 160, 220])
def test_everything_that_matters_is_on_the_screen(width: int) -> None:
    """Address, time, seed, sources, functions, alerts and how to stop, at any width."""
    text = "\n".join(drawn(PICTURE, width))
    for part in ("http://127.0.0.1:7071", "00:42 of 01:00 · seed 7", "25,012", "failing", "never", "1,234"):
        assert part in text
    for part in ("merge_changes", "failures", "2,345 entities", "4 dead letters", ALERT.title, "Ctrl-C to stop"):
        assert part in text


@pytest.mark.parametrize("width", [60, 80, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """A wrapped line would make the live table jump."""
    long = "x" * 500
    feeds = [Feed(source=long, records=10**12, rate=1e9, age_s=9e9, state="failing", error=long)]
    stages = [Stage(function=long, waiting=10**12, calls=10**12, rate=1e9, failures=10**12)]
    alerts = [Fired(id="a", at="12:00:01", severity="critical", status="acknowledged", title=long)]
    picture = Picture(
        address="http://127.0.0.1:7071", elapsed_s=1, feeds=feeds, stages=stages, alerts=alerts, note=long
    )
    lines = drawn(picture, width)
    assert max(map(len, lines)) <= width
    assert len(lines) < 20


def test_a_wide_terminal_shows_sources_and_functions_side_by_side() -> None:
    """160 columns are used for both."""
    assert any("source" in text and "function" in text for text in drawn(PICTURE, 160))
    assert not any("source" in text and "function" in text for text in drawn(PICTURE, 80))


def test_numbers_line_up_under_their_heading() -> None:
    """Right-aligned columns end in the same place."""
    lines = drawn(PICTURE, 80)
    head = next(text for text in lines if text.startswith("source"))
    for name, value in (("crm", "5,012"), ("erp", "25,012")):
        row = next(text for text in lines if text.startswith(name))
        assert row.index(value) + len(value) == head.index("records") + len("records")


def test_the_screen_is_no_taller_than_the_terminal() -> None:
    """Old alerts give way; the footer stays."""
    alerts = [Fired(id=str(n), at="12:00:01", severity="info", status="firing", title=f"alert {n}") for n in range(100)]
    picture = Picture(address="http://127.0.0.1:7071", elapsed_s=1, feeds=PICTURE.feeds, alerts=alerts)
    lines = drawn(picture, 80, height=24)
    assert len(lines) <= 24
    assert "Ctrl-C to stop" in lines[-1]
    assert any("alert 0" in text for text in lines)


def test_a_short_terminal_leaves_out_functions_that_cannot_fall_behind() -> None:
    """With 24 lines, every source, what waits, what failed, alerts and the footer still fit."""
    timers = [Stage(function=f"timer_{n}", waiting=None, calls=1, rate=1, failures=0) for n in range(6)]
    failed = Stage(function="serve", waiting=None, calls=9, rate=1, failures=1)
    fed = [Stage(function=f"fed_{n}", waiting=0, calls=1, rate=1, failures=0) for n in range(3)]
    picture = Picture(
        address="http://127.0.0.1:7071",
        elapsed_s=1,
        feeds=PICTURE.feeds,
        stages=[*timers, failed, *fed],
        alerts=[ALERT] * 5,
    )
    lines = drawn(picture, 80, height=24)
    assert len(lines) <= 24
    assert not any("timer" in text for text in lines)
    assert sum("fed_" in text or "serve" in text for text in lines) == 4
    assert sum(ALERT.title in text for text in lines) == 5
    assert sum("timer" in text for text in drawn(picture, 80, height=40)) == 6


def test_markup_in_a_title_is_shown_as_it_is() -> None:
    """A company called [bold] keeps its name."""
    picture = Picture(
        address="http://127.0.0.1:7071",
        elapsed_s=1,
        alerts=[Fired(id="a", at="12:00:01", severity="info", status="firing", title="[red]Acme[/red] :smile:")],
    )
    assert any("[red]Acme[/red] :smile:" in text for text in drawn(picture, 80))


@given(st.text(alphabet=st.characters()))
def test_a_record_cannot_reach_the_terminal(text: str) -> None:
    """No control or direction-changing character gets through, and what does can be encoded."""
    shown = plain(text)
    assert not any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u200e\u200f\u202a\u202b\u202c\u202d\u202e" for c in shown)
    shown.encode()


def test_an_escape_sequence_is_shown_harmlessly() -> None:
    """Clearing the screen by an account's name does not work, in the table or in a line."""
    alert = Fired(id="a", at="12:00:01", severity="info", status="firing", title="\x1b[2J\x1b]0;pwned\x07Acme\r\nnext")
    picture = Picture(address="http://127.0.0.1:7071", elapsed_s=1, alerts=[alert], note="\x1b[2J")
    text = "".join([*drawn(picture, 80), alert_line(alert), line(picture)])
    assert "\x1b" not in text
    assert "Acme next" in text


def test_a_note_says_why_nothing_moves() -> None:
    """While the app does not answer, the header says so."""
    picture = Picture(address="http://127.0.0.1:7071", elapsed_s=1, note="The app answers 503 at /api/summary")
    assert any("503" in text for text in drawn(picture, 80))
    assert "503" in line(picture)


def test_a_line_tells_the_same_without_a_terminal() -> None:
    """Numbers, what waits and what failed."""
    assert line(PICTURE) == (
        "00:42  30,024 records (+313/s)  2,345 entities  123 deltas  1 open alerts  1,234 waiting  2 failures"
        "  4 dead letters"
    )
    assert alert_line(ALERT) == "12:00:01  critical  firing        Acme: credit limit cut to 2500.00"


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00"), (65.9, "01:05"), (3600, "1:00:00"), (90_061, "25:01:01")])
def test_elapsed_time_reads_as_a_clock(seconds: float, text: str) -> None:
    """Hours appear when there are some."""
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "never"), (0.2, "now"), (12, "12 s ago"), (300, "5 min ago"), (10_800, "3 h ago")]
)
def test_age_reads_in_its_largest_unit(seconds: float | None, text: str) -> None:
    """Seconds, minutes, hours."""
    assert ago(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "·"), (0.5, "0.5"), (9.94, "9.9"), (12.4, "12"), (12_345, "12,345")])
def test_a_rate_has_two_digits_that_matter(value: float, text: str) -> None:
    """Small ones keep a decimal, large ones none, none is a dot."""
    assert rate(value) == text
