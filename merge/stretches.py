"""Stretches of a text, gathered."""

from __future__ import annotations

import numpy as np

from flockiq.merge.compiled import Functions
from flockiq.merge.known import Bytes
from flockiq.shared.lanes import Int64s


def stretches(text: Bytes, begin: Int64s, end: Int64s, functions: Functions | None) -> Bytes:
    """Stretches of a text, one after the other."""
    if functions is not None:
        found = np.empty(int((end - begin).sum()), np.uint8)
        functions.gather(text, begin, end, found)
        return found
    whole = text.data
    joined = bytearray().join([whole[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True)])
    return np.frombuffer(joined, np.uint8)
