"""What a test may ask of the machine, by marker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flockiq.pipeline import compiled

compiled.use("wait")  # what a test runs must not depend on how far a compiler is

CHROMIUM = Path("/usr/bin/chromium")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine can't run, and say how it could; in CI that is a failure."""
    if item.get_closest_marker("browser") is None or CHROMIUM.exists():
        return
    reason = f"needs {CHROMIUM}: as root, .ci/packages installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
