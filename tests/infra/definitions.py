"""Azure's type definitions, which lie beside the repository and are no part of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from tests.infra.bicep.definitions import Types
from tests.infra.bicep.evaluate import Deployment
from tests.infra.zones import ROOT

FOLDER = ROOT.parent / "shared" / "data" / "bicep-types"


@cache
def _types() -> Types:
    return Types(FOLDER)


def wrong_types() -> Callable[[Deployment], list[str]]:
    """What the definitions say of a deployment; skips the test where they are not there."""
    if not FOLDER.is_dir():
        pytest.skip(f"needs Azure's type definitions in {FOLDER}; `bicep build` in the public workflow checks the same")
    return _types().wrong
