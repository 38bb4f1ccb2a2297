"""Columns: what expressions read and give."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Column(NamedTuple):
    """n values. ``null`` (bool [n]) says where there is none; what ``values`` holds there is no matter.

    values: bool, int64 (integers; timestamps and durations in µs), float64, or object (str).
    """

    values: npt.NDArray[Any]
    null: npt.NDArray[np.bool_]
