"""Where spans and numbers go without Azure Monitor: to the log, and never more of them than has something to say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flockiq.shared import telemetry
from flockiq.shared.errors import ConfigError

ROOT = Path(__file__).parents[2]
LINES = """
import asyncio, logging, sys, time
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stdout)
from flockiq.shared import telemetry
import os
telemetry.start(os.environ)
"""


def run(code: str, **settings: str) -> str:
    """What a process of its own logs, with these settings; ends in order."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {telemetry.CONNECTION, telemetry.WHERE}
    }
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", LINES + code],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment | settings,
    )
    assert done.stderr == ""
    return done.stdout


def test_without_azure_monitor_numbers_are_logged_once_a_minute_and_at_the_end() -> None:
    """One line for each metric, none for a span; lines that are captured carry no trace."""
    said = run(
        "assert telemetry.captured('crm', 'accounts') == ''\n"
        "with telemetry.within('alerts', steps=1): pass\n"
        "telemetry.add(telemetry.LETTERS, 2, stage='merge')\n"
        "telemetry.add(telemetry.LETTERS, 1, stage='merge')\n"
        "telemetry.level(telemetry.LAG_EVENTS, 7, hub='changes', partition='0', function='merge_changes')\n"
        "time.sleep(0.2)\n"
    )
    assert said.splitlines() == [
        "flockiq.telemetry: flockiq.dead_letters in {record}: stage=merge: 3",
        "flockiq.telemetry: flockiq.lag_events in {event}: function=merge_changes hub=changes partition=0: 7",
    ]


def test_what_has_nothing_new_to_say_is_not_said_again() -> None:
    """A count without more, a level that stays: an app at rest writes nothing."""
    said = run(
        "tell = lambda: telemetry.level(telemetry.LAG, 0.0, hub='changes', partition='0', function='merge_changes')\n"
        "telemetry.add(telemetry.FENCES, 1, function='merge_changes')\n"
        "for _ in range(12): tell(); time.sleep(0.1)\n",
        OTEL_METRIC_EXPORT_INTERVAL="100",
    )
    assert len(re.findall("fence_losses", said)) == 1
    assert len(re.findall("flockiq.lag ", said)) == 1


def test_the_console_has_spans_as_well() -> None:
    """With their attributes, how long they took, how they failed (never what they were about), and their trace."""
    said = run(
        "trace = telemetry.captured('crm', 'accounts')\n"
        "try:\n"
        "    with telemetry.within('alerts', steps=3): raise ValueError('Contoso')\n"
        "except ValueError: pass\n"
        "print(trace)\n",
        FLOCKIQ_TELEMETRY="console",
    )
    trace, first, second = said.splitlines()
    assert re.fullmatch(
        rf"flockiq.telemetry: span capture source=crm stream=accounts took \d+\.\d ms, trace {trace.split('-')[1]}",
        first,
    )
    assert re.match(r"flockiq.telemetry: span alerts steps=3 took \d+\.\d ms failed with ValueError, trace ", second)
    assert "Contoso" not in said


def test_a_setting_that_names_nothing_is_refused() -> None:
    """It says what there is; a misspelled "off" must not tell."""
    with pytest.raises(ConfigError, match=r"FLOCKIQ_TELEMETRY.*'of'.*console, off"):
        telemetry.start({telemetry.WHERE: "of"})
    telemetry.start({telemetry.WHERE: "off", telemetry.CONNECTION: "InstrumentationKey=…"})
    assert not telemetry.on()
