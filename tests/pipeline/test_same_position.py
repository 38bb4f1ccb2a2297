"""Two sources that speak at one position: no order of theirs decides, but what the rules say next."""

from __future__ import annotations

import numpy as np
import pytest

from flockiq.pipeline import compiled
from flockiq.pipeline.play import play
from flockiq.pipeline.world import Plan, World
from flockiq.shared.lanes import Texts, text_lane
from flockiq.shared.layout import Field, Layout
from flockiq.shared.rows import UPSERT, Rows


def rows_of(sources: tuple[int, ...], us: tuple[int, ...]) -> Rows:
    """Rows of one entity, of a word of each source's own, at positions that differ by time alone."""
    n = len(sources)
    numbers = {name: np.zeros(n, np.int64) for name in Rows.names}
    words = np.array([[text_lane(f"word of {source}")] for source in sources])
    columns = numbers | {"source": np.array(sources), "us": np.array(us), "value": words}
    return Rows(**columns | {"op": np.full(n, UPSERT, np.int8)})


@pytest.mark.parametrize("mode", ["off", "wait"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("best", [0, 1])
def test_the_rank_decides_between_two_that_are_equally_recent(mode: compiled.Mode, first: int, best: int) -> None:
    """By machine code as by numpy, in one batch or in two, whichever comes first."""
    compiled.use(mode)
    ranks = ((0, 1) if best == 0 else (1, 0),)
    layout = Layout("thing", (Field("name", "string"),), ("crm", "erp"), "", (("recent",),), ranks)
    plan, texts, second = Plan(layout, ()), Texts(), 1 - first
    for batches in ([rows_of((first, second), (5, 5))], [rows_of((first,), (5,)), rows_of((second,), (5,))]):
        world = World.empty(layout, 1, 1)
        for batch in batches:
            play(world, plan, batch, texts)
        assert world.golden.winner[0].tolist() == [best]
        assert world.golden.golden[0].tolist() == [text_lane(f"word of {best}")]
