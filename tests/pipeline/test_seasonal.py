"""Weekly rhythms in the engine: machine code and numpy agree to the bit, and state survives being written."""

from __future__ import annotations

import random

import numpy as np
import pytest

from flockiq.pipeline import compiled
from flockiq.pipeline.store import apply, snapshot_of
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import Plan
from flockiq.shared.lanes import NULL, Texts, lane_of
from flockiq.shared.layout import Baseline, Field, Layout
from flockiq.shared.rows import Rows

HOUR_US = 3_600_000_000
GROUPS = 5
LAYOUT = Layout(
    entity="meter",
    fields=(Field("load", "float"), Field("sold", "float"), Field("price", "decimal", 2)),
    sources=("scada",),
    partition_by="",
    survivorship=(("recent",),) * 3,
    ranks=((0,),) * 3,
    baselines=(
        Baseline(0, alpha=0.03, warm_up=50, zone="Europe/Berlin"),
        Baseline(1, alpha=0.1, warm_up=8),
        Baseline(2, alpha=0.05, warm_up=30, refractory_us=5 * HOUR_US, zone="America/New_York"),
    ),
)


def _plan(zone: str = "Europe/Berlin") -> Plan:
    first, *others = LAYOUT.baselines
    return Plan(LAYOUT._replace(baselines=(first._replace(zone=zone), *others)), ())


def _state(plan: Plan, texts: Texts) -> TypeState:
    state = TypeState(plan)
    for number in range(GROUPS):
        state.entity(f"e{number}", f"e{number}", f"e{number}", texts.lane(f"e{number}"))
    return state


def _rows(hours: range, texts: Texts) -> Rows:
    """A reading of every meter in each of some hours."""
    rng = random.Random(hours.start)
    at = [(entity, hour) for hour in hours for entity in range(GROUPS)]
    n = len(at)
    entity, hour = (np.array(column, np.int64) for column in zip(*at, strict=True))
    load = [50 + 40 * (one % 24 in range(8, 18)) + rng.gauss(0, 2) for one in hour.tolist()]
    price = np.array([int(100 * rng.lognormvariate(3, 0.2 + (one % 168 > 120))) for one in hour.tolist()])
    event = hour * GROUPS + entity + 1
    texts.keep({int(one): f"event {one}" for one in event.tolist()})
    values = [lane_of("float", 0, one, texts) for one in load]
    return Rows(
        entity=entity,
        group=entity,
        source=np.zeros(n, np.int64),
        op=np.zeros(n, np.int8),
        us=1_790_000_000_000_000 + hour * HOUR_US,
        rr=np.ones(n, np.int64) << 32,
        key=np.full(n, NULL, np.int64),
        shown=np.full(n, NULL, np.int64),
        event=event,
        value=np.stack([np.array(values, np.int64), np.array(values, np.int64), price], axis=1),
        arrived_us=hour,
        revision=np.zeros(n, np.int64),
    )


def _learnt(mode: compiled.Mode, texts: Texts) -> TypeState:
    compiled.use(mode)
    state = _state(_plan(), texts)
    for first in range(0, 400, 37):
        state.process(_rows(range(first, min(first + 37, 400)), texts), texts, 0)
    compiled.use("wait")
    return state


def test_machine_code_learns_a_rhythm_to_the_same_bit() -> None:
    """Several zones and a plain baseline side by side, over more than two weeks."""
    texts = Texts()
    plain, fast = _learnt("off", texts), _learnt("wait", texts)
    assert compiled.failure() is None
    for name in plain.live.series.names:
        ours, its = getattr(plain.live.series, name), getattr(fast.live.series, name)
        assert ours.tobytes() == its.tobytes(), name
    assert (plain.live.series.hits[:GROUPS, 0].sum(axis=1) == 400).all()
    assert (np.abs(plain.live.series.offset[:GROUPS, 0]).max(axis=1) > 10).all()


@pytest.mark.parametrize(("zone", "kept"), [("Europe/Berlin", True), ("Asia/Tokyo", False)])
def test_a_rhythm_is_kept_with_its_zone(zone: str, kept: bool) -> None:  # noqa: FBT001
    """Written and read again it is the same; under other clocks the hours are learnt anew, the mean is not."""
    texts = Texts()
    state = _learnt("wait", texts)
    again = TypeState(_plan(zone))
    apply(again, snapshot_of(state), texts, 0)
    mine, theirs = state.live.series, again.live.series
    assert np.array_equal(mine.mean[:GROUPS], theirs.mean[:GROUPS])
    assert np.array_equal(mine.offset[:GROUPS, 1], theirs.offset[:GROUPS, 1])
    assert np.array_equal(mine.offset[:GROUPS, 0], theirs.offset[:GROUPS, 0]) == kept
    assert kept or not theirs.hits[:GROUPS, 0].any()


def test_state_written_before_there_were_rhythms_is_read() -> None:
    """Baselines go on where they were, rhythms begin."""
    texts = Texts()
    state = _learnt("wait", texts)
    entry = snapshot_of(state)
    entry.seasons = []
    assert entry.live is not None
    assert entry.base is not None
    for part in (entry.live, entry.base):
        part.series = {
            name: column for name, column in part.series.items() if name in ("count", "mean", "variance", "quiet_us")
        }
    again = TypeState(_plan())
    apply(again, entry, texts, 0)
    assert np.array_equal(state.live.series.mean[:GROUPS], again.live.series.mean[:GROUPS])
    assert not again.live.series.offset.any()
