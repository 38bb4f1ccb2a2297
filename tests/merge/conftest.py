"""Config and record state for the tests of merge."""

from __future__ import annotations

from pathlib import Path

import pytest

from flockiq.merge.changes import Changes
from flockiq.shared.config.model import Config
from tests.merge.feed import changes_of, write_config


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The config of ``feed``."""
    folder: Path = tmp_path_factory.mktemp("merge")
    return write_config(folder)


@pytest.fixture
def changes(config: Config) -> Changes:
    """A partition in which nothing has happened; everything it forwards goes to one partition."""
    return changes_of(config, partitions=1)
