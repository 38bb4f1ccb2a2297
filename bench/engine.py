"""The engine as the pipeline calls it: bytes of ``resolved`` in, deltas and alerts out as columns.

What is measured is everything of ``pipeline.resolved.Resolved.fold`` but telling (golden records,
deltas and alerts as rows of JSON and packed events) and encoding the commit.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence

from flockiq.pipeline import compiled
from flockiq.pipeline.decode import lines_of, rows_of
from flockiq.pipeline.types import Effect, TypeState
from flockiq.pipeline.world import Plan
from flockiq.shared.lanes import Texts
from flockiq.shared.triggers import GARBAGE

CLOCK_US = 0  # no tick has come: conditions that wait for time are settled by the reference's tick


class Engine:
    """The state of one partition and the steps that a batch goes through."""

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        gc.set_threshold(*GARBAGE)  # as in the app
        compiled.use("wait")
        if compiled.ready() is None:
            raise RuntimeError("machine code can't be loaded: it is what is measured") from compiled.failure()
        self.texts = Texts()
        self.types = {name: TypeState(plan) for name, plan in plans.items()}
        self.letters = 0

    def give(self, bodies: Sequence[bytes], now_us: int = 0) -> dict[str, Effect]:
        """One batch of packed events; what it did, by entity type."""
        found = lines_of(bodies, self.types, now_us)
        rows, letters = rows_of(found, self.types, self.texts, now_us)
        self.letters += len(found.letters) + len(letters)
        return {name: self.types[name].process(batch, self.texts, CLOCK_US) for name, batch in rows.items()}

    def committed(self) -> None:
        """What a commit takes off the state's hands: texts new since the one before."""
        self.texts.taken()
