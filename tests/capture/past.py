"""A backfill as the app runs it: the schedule sends, hub work carries, slices are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from flockiq.capture.backfill import due
from flockiq.capture.backfill import work as slices
from flockiq.shared import wire
from flockiq.shared.backfills import Backfill, Backfills, Progress, Slice
from tests.capture.conftest import World
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, orders

_work = msgspec.json.Decoder(wire.Work).decode


HOUR = 60


class Past:
    """The backfill of one stream in a world."""

    def __init__(self, world: World, source: str, stream: str) -> None:
        self.world = world
        self.source = source
        self.stream = stream
        self.keeper = Backfills(world.services.registry, world.capture.tenant)
        self.sent: list[str] = []  # what was sent, in order
        self._read: dict[int, int] = {}

    async def ask(self, since_us: int = 0) -> Backfill:
        """Ask for it."""
        return await self.keeper.ask(self.source, self.stream, since_us, self.world.capture.now_us())

    async def send(self) -> list[wire.Work]:
        """Send what is due; what was sent."""
        await due.send_due(self.world.capture)
        found: list[wire.Work] = []
        events = self.world.services.events
        for partition in range(await events.partition_count("work")):
            for event in await events.read("work", partition, self._read.get(partition, 0), 10_000):
                self._read[partition] = event.sequence + 1
                found += [_work(line) for line in wire.unpack(event.body).splitlines()]
        found = [work for work in found if slices.is_backfill(work)]
        self.sent += [work.data.slice for work in found]
        return found

    async def step(self, seconds: float = 1.0) -> int:
        """Let time pass, send what is due and read it; how much was sent."""
        self.world.ahead_us += int(seconds * 1e6)
        works = await self.send()
        slices.run(self.world.capture, works)
        while self.world.capture.slices:
            await asyncio.gather(*self.world.capture.slices.values(), return_exceptions=True)
            await asyncio.sleep(0)
        return len(works)

    async def through(self, most: int = 60) -> Backfill:
        """Step until it has ended and its slices are gone."""
        for _ in range(most):
            await self.step()
            if (found := await self.now()).cleared:
                return found
        left = {name: each for name, each in (await self.slices()).items() if each.state == "open"}
        raise AssertionError(f"the backfill does not end: {await self.now()}, {left}")

    async def now(self) -> Backfill:
        """How it stands."""
        found = await self.keeper.get(self.source, self.stream)
        assert found is not None
        return found

    async def slices(self) -> dict[str, Slice]:
        """Its slices."""
        return await self.keeper.slices(self.source, self.stream, (await self.now()).id)

    async def progress(self) -> Progress:
        """How far it is."""
        return await self.keeper.progress(self.source, self.stream, await self.now())


BY_TIME: dict[str, Any] = {
    "kind": "time",
    "query": {"since": "{since}", "until": "{until}"},
    "start": "2026-03-01T10:00:00Z",
    "slice": "10m",
}
"""The shop's orders, ten minutes a slice."""


def source(url: str, way: str = "cursor", *, limits: dict[str, Any] | None = None, **backfill: Any) -> dict[str, Any]:
    """The shop, polled for what is new, its past in slices of ten minutes up to the hour's end."""
    return orders(
        url,
        way,
        limits=limits,
        incremental={"kind": "watermark", "query": {"since": "{since}"}, "start": "2026-03-01T11:00:00Z"},
        backfill=BY_TIME | backfill,
    )


def at_the_hours_end(world: World) -> Past:
    """The backfill, asked for at 10:59:30 of the shop's day."""
    world.ahead_us += 1_772_362_770_000_000 - world.capture.now_us()
    return Past(world, "shop", "orders")


@asynccontextmanager
async def hour_of_orders() -> AsyncIterator[tuple[Shop, str]]:
    """A shop with an hour of orders, one a minute; and its address."""
    peer = Shop(cap=4)
    for minute in range(HOUR):
        peer.put(minute, minute)
    async with serve(peer.app) as url:
        yield peer, url
