"""What a run says when it ends."""

from __future__ import annotations

from pathlib import Path

import msgspec

from flockiq.cli.report import Ended, report
from flockiq.cli.summary import Calls, Latency, Runtime, Standing, Story, Summary

SUMMARY = Summary(
    runtime=Runtime("runtime", "1"),
    functions={"serve": Calls(10, 0)},
    captured={"crm": 1},
    entities=1,
    deltas=0,
    alerts={},
    dead_letters=0,
    duplicates_absorbed=0,
    too_late=0,
    latency_ms=Latency(),
    story=Story(),
)


def told(ended: Ended, written: Path | None = None) -> str:
    """The report's text."""
    return "\n".join(report(ended, data=Path("data"), log=Path("data/run.log"), written=written))


def test_a_quiet_run_is_told_in_words_that_fit_its_numbers() -> None:
    """One record is no records; nothing is said of what there was none of."""
    text = told(Ended(SUMMARY, 61, ()))
    assert "Stopped after 01:01." in text
    assert "1 record of 1 source became 1 entity; 0 deltas on the way." in text
    for unsaid in ("story", "dead letter", "failed", "percentile"):
        assert unsaid not in text


def test_what_went_wrong_is_named() -> None:
    """Failing functions, dead letters, and every fault of the story."""
    summary = msgspec.structs.replace(
        SUMMARY,
        functions={"serve": Calls(10, 0), "merge_changes": Calls(10, 3)},
        dead_letters=2,
        alerts={"a": Standing(firing=1, resolved=1)},
        story=Story(planted=8, found=7, missed=1, unexpected=1),
        latency_ms=Latency(p50=900.0, p99=2600.0),
    )
    ended = Ended(summary, 60, ["missed: payment-terms-disagree for Acme", "unexpected: feed-silent"])
    text = told(ended, Path("out.json"))
    assert not ended.well
    assert "merge_changes 3" in text
    assert "serve 0" not in text
    assert "2 records set aside as dead letters" in text
    assert "7 of 8 planted events found; 1 missed, 1 unexpected" in text
    assert "missed: payment-terms-disagree for Acme" in text
    assert "median 0.9 s, 99th percentile 2.6 s" in text
    assert "summary out.json" in text


def test_a_story_told_right_is_a_success() -> None:
    """All found, nothing missed, nothing unexpected."""
    ended = Ended(msgspec.structs.replace(SUMMARY, story=Story(planted=8, found=8)), 60, [])
    assert ended.well
    assert "8 of 8 planted events found; nothing missed, nothing unexpected" in told(ended)


def test_of_many_faults_the_first_are_named_and_the_rest_counted() -> None:
    """Nobody reads a thousand lines."""
    story = Story(planted=8, found=8, unexpected=1_030)
    faults = [f"unexpected: rule {n}" for n in range(1_030)]
    text = told(Ended(msgspec.structs.replace(SUMMARY, story=story), 60, faults))
    assert "unexpected: rule 19\n" in text
    assert "unexpected: rule 20" not in text
    assert "and 1,010 more" in text
