"""The characters of JSON, and the words and powers of ten that compiled code writes.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array


def bytes_of(text: str) -> Array:
    """A text's bytes, for compiled code to copy."""
    return np.frombuffer(text.encode(), np.uint8)


TRUE_WORD = bytes_of("true")
FALSE_WORD = bytes_of("false")

QUOTE, MINUS, POINT, ZERO = 34, 45, 46, 48
COMMA, COLON, OPEN = 44, 58, 123
TENS = np.array([10**power for power in range(19)], np.int64)
