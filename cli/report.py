"""What a run says when it ends: what happened, where things are, what one can do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from flockiq.cli.summary import Summary
from flockiq.cli.view import clock

FAULTS_SHOWN = 20


class Ended(NamedTuple):
    """A run that has come to its end."""

    summary: Summary
    elapsed_s: float
    faults: Sequence[str]  # what the story's checker says of each thing missed or unexpected

    @property
    def well(self) -> bool:
        """Whether the story was told right; without sample systems there is none to tell."""
        return not self.faults


def report(ended: Ended, *, data: Path, log: Path, written: Path | None) -> Iterator[str]:
    """The closing lines, for a run that kept its data, its log and its summary there."""
    summary = ended.summary
    records, sources = sum(summary.captured.values()), len(summary.captured)
    yield f"Stopped after {clock(ended.elapsed_s)}."
    yield ""
    yield (
        f"  {_n(records, 'record')} of {_n(sources, 'source')} became {_n(summary.entities, 'entity', 'entities')}; "
        f"{_n(summary.deltas, 'delta')} on the way."
    )
    raised = sum(each.firing + each.acknowledged + each.resolved for each in summary.alerts.values())
    still = sum(each.firing + each.acknowledged for each in summary.alerts.values())
    yield f"  {_n(raised, 'alert')}, {still:,} of them still open."
    if summary.latency_ms.p99 is not None and summary.latency_ms.p50 is not None:
        p50, p99 = summary.latency_ms.p50 / 1000, summary.latency_ms.p99 / 1000
        yield f"  From a change to its answer: median {p50:.1f} s, 99th percentile {p99:.1f} s."
    failures = {name: calls.failures for name, calls in summary.functions.items() if calls.failures}
    if failures:
        told = ", ".join(f"{name} {count:,}" for name, count in failures.items())
        yield f"  Functions that failed and were called again or gave up: {told}. The log says why."
    if summary.dead_letters:
        yield f"  {_n(summary.dead_letters, 'record')} set aside as dead letters: the page lists the reasons."
    yield from _story(ended)
    yield ""
    yield f"  data {data}   log {log}" + (f"   summary {written}" if written else "")
    yield f"  Run again to go on from here; remove {data} to begin afresh."


def _story(ended: Ended) -> Iterator[str]:
    story, faults = ended.summary.story, ended.faults
    if not story.planted and not faults:
        return
    wrong = f"{story.missed} missed, {story.unexpected} unexpected" if faults else "nothing missed, nothing unexpected"
    yield f"  The story: {story.found} of {_n(story.planted, 'planted event')} found; {wrong}."
    yield from (f"    {fault}" for fault in faults[:FAULTS_SHOWN])
    if len(faults) > FAULTS_SHOWN:
        yield f"    and {len(faults) - FAULTS_SHOWN:,} more"


def _n(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
