"""Faults planted in infra/, one at a time: each is found, and said in words that lead to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.infra.bicep.evaluate import Deployment
from tests.infra.checks import complaints
from tests.infra.definitions import wrong_types
from tests.infra.zones import INFRA

PLANTED = yaml.safe_load((Path(__file__).parent / "faults.yaml").read_text())


class Fault(NamedTuple):
    """A mistake: in ``file``, ``right`` becomes ``wrong``; the complaint holds ``said``."""

    file: str
    right: str
    wrong: str
    said: str

    def found(self, more: Callable[[Deployment], list[str]] = lambda _: []) -> bool:
        """Whether anyone complains of it."""
        (path,) = INFRA.rglob(self.file)
        text = path.read_text()
        assert self.right in text, f"{self.file} no longer holds what this fault replaces"
        broken = text.replace(self.right, self.wrong, 1)
        told = complaints(lambda asked: broken if asked.resolve() == path else asked.read_text(), more=more)
        return any(self.said in each for each in told)


@pytest.mark.parametrize("fault", PLANTED["whole"].values(), ids=PLANTED["whole"])
def test_a_fault_in_the_whole_is_found(fault: dict[str, str]) -> None:
    """Each of these would deploy, or half deploy, and be wrong."""
    assert Fault(**fault).found()


@pytest.mark.parametrize("fault", PLANTED["compiler"].values(), ids=PLANTED["compiler"])
def test_a_fault_that_the_compiler_would_find_is_found(fault: dict[str, str]) -> None:
    """Each of these Azure would refuse."""
    assert Fault(**fault).found(more=wrong_types())
