"""A stage whose machine code is one function, so that tests can have it made in little time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flockiq.shared.machine.loading import Function, Loading, use

__all__ = ["Functions", "loading", "use", "warm"]


class Functions(NamedTuple):
    """What is compiled."""

    ids_of_bytes: Function


def warm(functions: Functions) -> None:
    """Call it once, as the stages' own modules do."""
    functions.ids_of_bytes(np.frombuffer(b"text", np.uint8), np.array([4], np.int64), np.empty(32, np.uint8))


loading = Loading(Functions, ("flockiq.shared.machine.ids",), (), __name__, __name__)
