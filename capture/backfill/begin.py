"""The beginning of a backfill: a run of its own, and its slices."""

from __future__ import annotations

import msgspec

from flockiq.capture import cursor as steps
from flockiq.capture.backfill.asking import definition
from flockiq.capture.backfill.plan import spans
from flockiq.capture.cursor import Cursor, Cursors
from flockiq.capture.deliveries import last_told
from flockiq.capture.lease import under_lease
from flockiq.capture.sources import Capture
from flockiq.shared.backfills import Backfill, Backfills, Slice
from flockiq.shared.config.backfilled import way_of
from flockiq.shared.config.sources import Source

_MICRO = 1e6


async def begin(capture: Capture, source: Source, stream: str, backfill: Backfill) -> bool:
    """Make the slices of a backfill that was asked for; False while the stream's poll does not make room.

    The run's number is taken under the stream's lease: every poll begun before has ended, and every one begun
    after has a greater number. So what a poll tells is never taken back by a slice that read the same earlier.
    """
    lease = f"capture/{capture.tenant}/{source.source}/{stream}"
    registry = capture.services.registry

    async def numbered() -> Cursor:
        return await _number(capture, source, stream)

    ttl_s = capture.services.settings.lease_s
    wait_s = source.limits.slice_time / _MICRO + ttl_s
    run = await under_lease(registry, lease, numbered, ttl_s=ttl_s, wait_s=wait_s)
    if run is None:
        return False
    way = way_of(source, stream)
    keeper = Backfills(registry, capture.tenant)
    for number, span in enumerate(spans(way, backfill.since_us, capture.now_us())):
        await keeper.kept(source.source, stream, backfill.id, f"{number:04d}").make(Slice(span=span))

    def running(before: Backfill) -> Backfill:
        return msgspec.structs.replace(
            before,
            state="running",
            started_us=capture.now_us(),
            run=run.run,
            run_us=run.run_us,
            definition=definition(source.streams[stream], way),
        )

    await keeper.move(source.source, stream, backfill, running)
    return True


async def _number(capture: Capture, source: Source, stream: str) -> Cursor:
    """The stream's cursor with the next run's number and start, stored; nothing else of it moves."""
    registry = capture.services.registry
    cursors = Cursors(registry, capture.tenant, source.source, stream)
    before = await cursors.load()
    told = 0
    if source.streams[stream].webhook is not None:
        told = await last_told(registry, capture.tenant, source.source, stream)
    after = steps.numbered(msgspec.structs.replace(before, run=max(before.run, told)), capture.now_us())
    await cursors.save(after)
    return after
