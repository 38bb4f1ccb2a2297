"""What people did, as rows of the partition that keeps the alert's condition."""

from __future__ import annotations

from flockiq.pipeline.resolved import Resolved
from flockiq.shared.settings import Settings
from tests.engine.histories import plan
from tests.engine.reference import Event
from tests.pipeline.partition import packed

DAY_US = 86_400_000_000


def event(us: int, op: str = "say", rule: str = "") -> Event:
    """A version of the one entity, or a resolution of its alert."""
    return Event(us, 0, us, f"event-{us}", "e0", "e0", "erp", op, (("amount", 60_000),) if op == "say" else (), rule)


def test_an_action_told_late_does_not_hide_what_came_before_it_from_replays() -> None:
    """It counts by when it arrived, like everything else: a press from long ago is not old at once."""
    now_us = 100 * DAY_US
    partition = Resolved({"thing": plan()}, Settings(), lambda: now_us)
    partition.load(b"", [])
    partition.fold(packed([event(100)]), 1)
    partition.fold(packed([event(50, "close", "halved")]), 2)
    partition.snapshot()
    partition.fold(packed([event(20)]), 3)
    assert partition.too_late == 0
