"""Columns: what expressions read and give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class TextsOf(Protocol):
    """What knows the texts behind int64 [k] lanes, each of which has one."""

    def many(self, lanes: npt.NDArray[np.int64]) -> Sequence[str]:
        """The texts."""

    def together(self, lanes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The texts in UTF-8, with the byte shared.stored_texts.BETWEEN before, between and behind them."""

    def lengths(self, lanes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many characters each has."""


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
