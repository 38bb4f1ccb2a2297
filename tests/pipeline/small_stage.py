"""A stage whose machine code is one function, so that tests can have it made in little time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flockiq.shared.lanetable import places
from flockiq.shared.machine.loading import Function, Loading, use

__all__ = ["Functions", "loading", "use", "warm"]


class Functions(NamedTuple):
    """What is compiled."""

    numbered: Function


def warm(functions: Functions) -> None:
    """Call it once, as the stages' own modules do."""
    lanes = np.zeros(1, np.int64)
    functions.numbered(lanes, lanes.copy(), lanes.copy(), *places(1))


loading = Loading(Functions, ("flockiq.shared.machine.writing",), (), __name__, __name__)
