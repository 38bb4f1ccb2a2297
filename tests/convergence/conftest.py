"""The ports' suites over the doubles, so that cases run over what adapters promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flockiq.shared.ports import AlertStore, StateStore
from flockiq.shared.services import Services
from flockiq.shared.settings import Settings
from tests.convergence.doubles import Memory


@pytest.fixture
def another() -> Callable[[], Services]:
    """Opens services over one memory once more."""
    memory = Memory()
    return lambda: memory.services(Settings())


@pytest.fixture
def state(another: Callable[[], Services]) -> StateStore:
    """A state store."""
    return another().state


@pytest.fixture
def alerts(another: Callable[[], Services]) -> AlertStore:
    """An alert store."""
    return another().alerts
