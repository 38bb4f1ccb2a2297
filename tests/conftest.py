"""What a test may ask of the machine, by marker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flockiq.pipeline import compiled
from flockiq.shared import services

compiled.use("wait")  # also of what is made before the first test

CHROMIUM = Path("/usr/bin/chromium")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine can't run, and say how it could; in CI that is a failure."""
    if item.get_closest_marker("browser") is None or CHROMIUM.exists():
        return
    reason = f"needs {CHROMIUM}: as root, .ci/packages installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def machine_code() -> None:
    """What a test runs depends neither on how far a compiler is, nor on what the test before has chosen."""
    compiled.use("wait")


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """The services that functions share in a process are closed by the test that opened them: the next has others."""
    yield
    left, services._open = services._open, None
    assert left is None, "services() is still open: await flockiq.shared.services.close()"
