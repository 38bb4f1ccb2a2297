"""Records over Event Hubs through the app's adapter, packed and one an event; run in a process of its own.

What is counted is this process's CPU alone (``process_time``, every thread of it), and the peers' aside. Senders are
open before they are timed; receivers open while they are.
"""

from __future__ import annotations

import asyncio
import gc
import time
from asyncio import gather
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import batched
from pathlib import Path
from typing import Final, NamedTuple

from flockiq.bench.history import Size
from flockiq.bench.peers_part import session_cpu_s
from flockiq.bench.workload import workload
from flockiq.local.folding import BATCH
from flockiq.shared import wire
from flockiq.shared.ports import EventStream, OutgoingEvent
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.shared.triggers import GARBAGE

BILLED_BYTES: Final = 65_536
"""Of an ingress event: a larger one is billed as several. https://azure.microsoft.com/pricing/details/event-hubs/"""

TENANT: Final = "default"
PACKED, EACH = "changes", "resolved"  # hubs, one for each way
GIVEN: Final = 16_000  # records published in one call: about what a batch of host.json makes

type Environment = Mapping[str, str]
type Packs = Callable[[int, Sequence[bytes]], Iterable[OutgoingEvent]]
type Unpacks = Callable[[bytes], Sequence[bytes]]


class Way(NamedTuple):
    """One way of putting records into events: what came of it, and CPU seconds of either end and of the peer."""

    records: int
    events: int
    body_bytes: int
    billed: int
    send_s: float
    receive_s: float
    peer_s: float

    @property
    def send_rate(self) -> float:
        """Records sent in a CPU second."""
        return self.records / self.send_s

    @property
    def receive_rate(self) -> float:
        """Records received in a CPU second."""
        return self.records / self.receive_s


class Hub(NamedTuple):
    """What a hub was given."""

    events: int
    body_bytes: int
    billed: int
    lines: int


def lines_of(size: Size) -> list[bytes]:
    """The records of a workload as encoded lines."""
    return [line for one in workload(size, "changes").timed() for line in wire.unpack(one.body).split(b"\n")]


def ways(environment: Environment, session: int, packed: Size, each: Size, reps: int) -> list[tuple[Way, Way]]:
    """Send and receive records packed, and others one an event, in turn."""
    return asyncio.run(_ways(environment, session, lines_of(packed), lines_of(each), reps))


async def _ways(
    environment: Environment, session: int, packed: Sequence[bytes], each: Sequence[bytes], reps: int
) -> list[tuple[Way, Way]]:
    async with opened(environment, "events") as services:
        for hub in (PACKED, EACH):
            count = await services.events.partition_count(hub)
            await services.events.publish(hub, [OutgoingEvent(number, b"first") for number in range(count)])
        return [
            (
                await _way(services.events, session, PACKED, packed, _pack, _unpack),
                await _way(services.events, session, EACH, each, _single, _whole),
            )
            for _ in range(reps)
        ]


async def _way(
    events: EventStream, session: int, hub: str, lines: Sequence[bytes], pack: Packs, unpack: Unpacks
) -> Way:
    """Encoded lines in, encoded lines out."""
    count = await events.partition_count(hub)
    ends = await gather(*((events.bounds(hub, number)) for number in range(count)))
    peer_s = session_cpu_s(session)
    began = time.process_time()
    for some in batched(lines, GIVEN, strict=False):
        await events.publish(hub, [one for number in range(count) for one in pack(number, some[number::count])])
    sent = time.process_time()
    came = await gather(*(_received(events, hub, number, end, unpack) for number, (_, end) in enumerate(ends)))
    read = time.process_time()
    bodies = [body for some, _ in came for body in some]
    received = sum(records for _, records in came)
    if received != len(lines):
        raise AssertionError(f"{len(lines):,} records were sent and {received:,} came back")
    size = sum(map(len, bodies))
    peer_s = session_cpu_s(session) - peer_s
    return Way(received, len(bodies), size, sum(map(_billed, bodies)), sent - began, read - sent, peer_s)


async def _received(
    events: EventStream, hub: str, partition: int, start: int, unpack: Unpacks
) -> tuple[list[bytes], int]:
    """What a partition holds from ``start`` on: bodies, and how many lines are in them."""
    bodies: list[bytes] = []
    lines = 0
    while some := await events.read(hub, partition, start, BATCH):
        bodies += [one.body for one in some]
        lines += sum(len(unpack(one.body)) for one in some)
        start = some[-1].sequence + 1
    return bodies, lines


def _pack(partition: int, lines: Sequence[bytes]) -> Iterable[OutgoingEvent]:
    return wire.pack(partition, wire.CHANGE, lines)


def _unpack(body: bytes) -> Sequence[bytes]:
    return wire.unpack(body).split(b"\n")


def _single(partition: int, lines: Sequence[bytes]) -> Iterable[OutgoingEvent]:
    return [OutgoingEvent(partition, line) for line in lines]


def _whole(body: bytes) -> Sequence[bytes]:
    return (body,)


def _billed(body: bytes) -> int:
    return -(-len(body) // BILLED_BYTES)


async def held(events: EventStream, hub: str) -> Hub:
    """What a hub holds."""
    count = await events.partition_count(hub)
    came = await gather(*(_received(events, hub, number, 0, _unpack) for number in range(count)))
    bodies = [body for some, _ in came for body in some]
    return Hub(len(bodies), sum(map(len, bodies)), sum(map(_billed, bodies)), sum(lines for _, lines in came))


@asynccontextmanager
async def opened(environment: Environment, *ports: str, folder: Path = Path("none")) -> AsyncIterator[Services]:
    """The app's services: ``ports`` over the peers that ``environment`` names, the others in ``folder``."""
    gc.set_threshold(*GARBAGE)  # as in the app
    chosen = dict.fromkeys(ports, "azure")
    services = connect(Settings(data=folder, adapters_of=chosen, compiled="off", tenant=TENANT), environment)
    try:
        yield services
    finally:
        await services.close()
