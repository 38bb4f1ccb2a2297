"""What compiled code finds a line's record by while it looks for lines: a row of addresses for each entity type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flockiq.pipeline import parts
from flockiq.pipeline.prints import HOMES
from flockiq.pipeline.types import TypeState
from flockiq.shared.laneindex import Reindex
from flockiq.shared.lanes import Int64s


class Homes:
    """``rows`` int64 [T, HOMES], see pipeline/prints.py: of use as long as this is kept, and no state has changed.

    ``values``, by type: int64 [lines, F], where the lanes of lines that are known are put.
    """

    def __init__(self, types: Mapping[str, TypeState], reindex: Reindex, lines: int) -> None:
        self.values = [np.empty((lines, len(one.plan.layout.fields)), np.int64) for one in types.values()]
        self._kept: list[npt.NDArray[Any]] = []
        rows = [self._row(*one, reindex, read) for one, read in zip(types.items(), self.values, strict=True)]
        self.rows = np.array(rows, np.int64).reshape(len(types), HOMES)

    def _row(self, name: str, state: TypeState, reindex: Reindex, read: Int64s) -> list[int]:
        layout, golden, prints = state.plan.layout, state.live.golden, state.prints.of
        called, sources, ids = parts.named((name,)), parts.named(layout.sources), state.ids.columns(0, reindex)
        at = self._at
        return [
            *(at(called.names), int(called.bounds[-1])),
            *(at(sources.names), at(sources.bounds), len(layout.sources)),
            *(at(ids.places), at(ids.lanes), at(ids.counts), at(ids.rest), len(ids.places) - 1),
            *(at(prints), at(golden.value), at(golden.key), golden.rows.strides[0], min(len(prints), len(golden))),
            *(len(layout.tellers), len(layout.fields), at(read)),
        ]

    def _at(self, column: npt.NDArray[Any]) -> int:
        """The address of a column, which is kept."""
        self._kept.append(column)
        return column.ctypes.data
