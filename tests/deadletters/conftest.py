"""A world with nothing in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deadletters.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """One app over an empty data folder."""
    opened = World(tmp_path)
    yield opened
    await opened.close()
