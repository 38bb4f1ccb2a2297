"""What is too large for an event reaches its function whole, through the trigger every function of the app has."""

from __future__ import annotations

from pathlib import Path

import pytest

from flockiq.shared import overflow
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.ports import OutgoingEvent
from flockiq.shared.services import close
from tests.host.apps import Start, eventually

APP = """
from flockiq.shared.triggers import inputs, on_hub, partition_of

async def orders(events: Events) -> None:
    seen.append((partition_of(events), inputs(events)))

blueprint = func.Blueprint()
on_hub(blueprint, "orders", "orders")(orders)
app.register_functions(blueprint)
"""


async def test_a_large_body_is_brought_from_the_blobs_before_the_function_sees_it(
    start: Start, events: SqliteEvents, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its place among the others; one that is gone is left as it is, to be set aside."""
    monkeypatch.setenv("FLOCKIQ_DATA", str(data))
    blobs = FolderBlobs(data / "blobs")
    large, lost = b"large" * 300_000, b"lost" * 300_000
    kept = [await overflow.keep(blobs, "orders", 0, body) for body in (large, lost)]
    await blobs.delete(next(path for path in await blobs.list(overflow.PREFIX) if path.encode() in kept[1]))
    await events.publish("orders", [OutgoingEvent(0, body) for body in (kept[0], b"small", kept[1])])
    running = await start(APP)
    await eventually(lambda: len(running.app.seen) == 1)
    partition, given = running.app.seen[0]
    assert partition == 0
    assert given == [(0, large), (1, b"small"), (2, kept[1])]
    await running.host.stop()
    await close()
    await blobs.close()
