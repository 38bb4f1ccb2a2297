"""Each of the seven ports has an adapter broken on purpose, in every way that it can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from flockiq.shared.settings import PORTS
from tests.azure.cosmos import test_mutants as cosmos
from tests.azure.event_hubs import test_mutants as event_hubs
from tests.azure.key_vault import test_mutants as key_vault
from tests.azure.kusto import test_mutants as kusto
from tests.azure.mutants import Kind
from tests.azure.storage import test_mutants as storage

ALL: Final = [
    mutant for folder in (cosmos, event_hubs, key_vault, kusto, storage) for mutant in folder.MUTANTS
]  # fmt: skip

CAN_NOT: Final[Mapping[tuple[str, Kind], str]] = {
    ("events", Kind.FENCE_IGNORED): "publishing has none; whose a partition is to read is the host's affair",
    ("analytics", Kind.FENCE_IGNORED): "rows are only added, and whoever comes first is right",
    ("analytics", Kind.NOT_READ_AGAIN): "what is sent again rests on nothing that was read",
    ("secrets", Kind.FENCE_IGNORED): "the vault knows none: who rotates a secret holds a lease",
}
"""Mistakes that an adapter has no occasion to make, and why."""


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.OTHER], ids=lambda kind: kind.value)
@pytest.mark.parametrize("port", PORTS)
def test_every_port_has_a_mutant_of_every_kind_that_it_can_meet(port: str, kind: Kind) -> None:
    """And what is said to be impossible is not shown to be possible."""
    made = [mutant for mutant in ALL if (mutant.port, mutant.kind) == (port, kind)]
    assert bool(made) != ((port, kind) in CAN_NOT)
