"""What an app ended with, held against a clean replay and against the sources themselves.

1. A clean replay of the recorded ``changes`` log: golden records, effective deltas, open alerts.
2. The systems' own records: every source's every record, mapped as the app maps it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console

from flockiq.local import outcome
from flockiq.local.lives import App
from flockiq.local.outcome import Outcome
from flockiq.local.replay import replay, tick
from flockiq.local.settled import opened
from flockiq.shared.config.load import load
from flockiq.shared.config.model import Config
from flockiq.shared.services import Services

SHOWN = 12  # differences printed of each kind


@dataclass
class Report:
    """What was compared, by what it is, and the differences found."""

    compared: dict[str, int] = field(default_factory=dict)
    differences: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many differences there are."""
        return sum(map(len, self.differences.values()))

    @property
    def untested(self) -> list[str]:
        """What there was nothing of to compare."""
        return [what for what, count in self.compared.items() if not count]

    def note(self, what: str, expected: Mapping[object, object], given: Mapping[object, object]) -> None:
        """Compare what is expected with what is there."""
        self.compared[what] = len(expected)
        self.differences[what] = differences(expected, given)

    def show(self, console: Console) -> None:
        """Print it."""
        for what, count in self.compared.items():
            console.print(f"{what} {count:,}")
        for what, found in self.differences.items():
            console.print(f"differences in {what}: {len(found)}")
            for line in found[:SHOWN]:
                console.print(f"  {line}", markup=False, highlight=False)
        console.print(f"differences {self.total}")


async def compared(app: App, step: Callable[[], object]) -> Report:
    """Compare what a stopped app's stores hold; ``step`` is called after each of the two comparisons."""
    report, config = Report(), load(app.config, os.environ)
    services = opened(app)
    try:
        await _against_replay(app, config, services, report)
        step()
        await _against_sources(app, config, services, report)
        step()
    finally:
        await services.close()
    return report


async def _against_replay(app: App, config: Config, services: Services, report: Report) -> None:
    now_us = time.time_ns() // 1000
    clean = await replay(services.events, config, services.settings, app.data / "replay")
    try:
        await tick(clean, config, now_us)
        await clean.analytics.flush()
        right, found = await outcome.read(clean), await outcome.read(services)
    finally:
        await clean.close()
    for what in Outcome._fields:
        report.note(what.replace("_", " "), getattr(right, what), getattr(found, what))


async def _against_sources(app: App, config: Config, services: Services, report: Report) -> None:
    held = await outcome.held_by_app(services)
    for (source, stream), expected in outcome.held_by_sources(app.data, config).items():
        report.note(f"records of {source}/{stream}", expected, held.get((source, stream), {}))


def differences(expected: Mapping[object, object], given: Mapping[object, object]) -> list[str]:
    """A line for each key whose value is not the expected one."""
    lines = []
    for key in sorted(expected.keys() | given.keys(), key=str):
        if key not in given:
            lines.append(f"{key}: missing, expected {expected[key]}")
        elif key not in expected:
            lines.append(f"{key}: not expected, but there: {given[key]}")
        elif expected[key] != given[key]:
            lines.append(f"{key}: {given[key]}, expected {expected[key]}")
    return lines
