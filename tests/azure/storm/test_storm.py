"""The whole app in a short storm; ``make azure-storm`` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.azure.storm.weather import ROOT
from tests.peers.serve import PLACES
from tests.peers.storage.azurite import Missing, azurite

WITHIN_S = 540


@pytest.mark.slow
@pytest.mark.timeout(WITHIN_S + 30)
def test_the_app_killed_in_a_storm_ends_where_an_undisturbed_one_does(tmp_path: Path) -> None:
    """Every kind of fault strikes at every port, the planted story is found, nothing differs from a clean replay."""
    try:
        azurite()
    except Missing as missing:
        pytest.skip(str(missing))
    command = ("-m", "tests.azure.storm.main", "--kills", "1", "--seed", "3", "--data", str(tmp_path / "storm"))
    ended = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "\ndifferences 0\n" in ended.stdout
    assert "never struck" not in ended.stdout
    assert all(port in ended.stdout for port in PLACES)
