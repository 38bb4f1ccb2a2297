"""Columns: what expressions read and give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

TextsOf = Callable[[npt.NDArray[np.int64]], Sequence[str]]
"""The texts of int64 [k] lanes, each of which has one."""


class Column(NamedTuple):
    """n values. ``null`` (bool [n]) says where there is none; what ``values`` holds there is no matter.

    values: bool, int64 (integers; timestamps and durations in µs), float64, or object (str). Texts may stand
    as their lanes (shared.lanes), int64, with ``texts`` to ask for them.
    """

    values: npt.NDArray[Any]
    null: npt.NDArray[np.bool_]
    texts: TextsOf | None = None

    def take(self, rows: npt.NDArray[np.int64]) -> Column:
        """Some of its values."""
        return Column(self.values[rows], self.null[rows], self.texts)
