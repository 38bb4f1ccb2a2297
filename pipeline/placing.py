"""Which partition of hubs ``entities`` and ``deltas`` tells of a group."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flockiq.pipeline.types import TypeState
from flockiq.shared.lanes import Int64s
from flockiq.shared.positions import buckets

Partitions = npt.NDArray[np.int16]

_UNKNOWN = -1
_NOWHERE = np.zeros(0, np.int16)


class Placing:
    """The partitions of groups that were told of, by entity type, for as long as its state is in memory."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions  # of the hubs; 0: nothing is told there
        self._known: dict[str, Partitions] = {}

    def of(self, state: TypeState, entities: Int64s) -> Partitions:
        """The partitions of an entity type's groups, int16 [g]; those of other entities than these may be unknown."""
        if not self.partitions:
            return _NOWHERE
        name, groups = state.plan.layout.entity, state.group_of[entities]
        known = self._known.get(name, np.zeros(0, np.int16))
        if len(known) < len(state.groups):
            longer = np.full(2 * len(state.groups), _UNKNOWN, np.int16)
            longer[: len(known)] = known
            known = self._known[name] = longer
        new = groups[known[groups] == _UNKNOWN]
        known[new] = buckets(state.groups.names.many(new), self.partitions)
        return known
