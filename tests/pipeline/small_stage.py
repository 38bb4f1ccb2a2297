"""A stage whose machine code is one function, so that tests can have it made in little time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flockiq.shared.laneindex import FREE
from flockiq.shared.machine.loading import Function, Loading, use

__all__ = ["Functions", "loading", "use", "warm"]


class Functions(NamedTuple):
    """What is compiled."""

    reindex: Function


def warm(functions: Functions) -> None:
    """Call it once, as the stages' own modules do."""
    functions.reindex(np.full(2, FREE, np.int32), np.zeros(1, np.int64), 0, 1)


loading = Loading(Functions, ("flockiq.shared.machine.code",), (), __name__, __name__)
