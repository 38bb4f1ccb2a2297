"""Adapters broken on purpose: what holds of a sound one does not hold of a broken one, and so is held by something.

A *behaviour* is a function over what a folder's fixture ``given`` gives it; it passes over the adapters as they are. A
*mutant* plants one mistake in an adapter, and fails a behaviour of it. Every folder beside this has its mutants in
``test_mutants.py``, in this one shape; ``test_mutants.py`` here sees that no port is without.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import NamedTuple

import pytest

from flockiq.shared.errors import FlockIQError

type Plant = Callable[[pytest.MonkeyPatch], None]
type Behaviour = Callable[..., Awaitable[None]]


class Kind(Enum):
    """What sort of mistake is made."""

    FENCE_IGNORED = "a fence ignored"
    ANSWER_ASSUMED = "an acknowledgement assumed"
    NOT_READ_AGAIN = "a retry without reading again"
    OTHER = "another"


class Mutant(NamedTuple):
    """A mistake in the adapter of a port, and what finds it."""

    port: str
    kind: Kind
    plant: Plant
    behaviour: Behaviour

    async def is_found(self, monkeypatch: pytest.MonkeyPatch, *given: object) -> None:
        """The mistake is made, and the behaviour no longer holds: by its own words, or by the adapter's."""
        self.plant(monkeypatch)
        with pytest.raises((AssertionError, FlockIQError, pytest.fail.Exception)):
            await self.behaviour(*given)


def sound(mutants: Sequence[Mutant]) -> pytest.MarkDecorator:
    """Run a test over every behaviour that finds one of ``mutants``."""
    behaviours = list(dict.fromkeys(mutant.behaviour for mutant in mutants))
    return pytest.mark.parametrize("behaviour", behaviours, ids=lambda behaviour: behaviour.__name__)


def broken(mutants: Sequence[Mutant]) -> pytest.MarkDecorator:
    """Run a test over every one of ``mutants``."""
    names = [f"{mutant.port}-{mutant.plant.__name__}-{mutant.behaviour.__name__}" for mutant in mutants]
    return pytest.mark.parametrize("mutant", mutants, ids=names)
