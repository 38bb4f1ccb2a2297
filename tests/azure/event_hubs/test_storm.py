"""Everything that can go wrong at Event Hubs, at random and at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from flockiq.shared.errors import HubUnavailable
from flockiq.shared.ports import OutgoingEvent
from tests.azure.event_hubs.conftest import HUB, SDK_LEAVES_SOCKETS, Opens
from tests.peers.event_hubs.peer import KINDS, EventHubs

pytestmark = [
    pytest.mark.usefixtures("hasty"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings(SDK_LEAVES_SOCKETS),
]
SEED = 11
PUBLICATIONS = 12  # a publisher's
PUBLISHERS = 3


async def test_a_storm_loses_nothing_and_keeps_each_publishers_order(opens: Opens) -> None:
    """Publishers publish again what was not acknowledged; at the end every event is there, first in order."""
    with EventHubs({HUB: PUBLISHERS}, slow_s=0.05) as peer:
        events = opens(peer)
        chance = random.Random(SEED)

        async def publisher(number: int) -> None:
            for n in range(PUBLICATIONS):
                some = [OutgoingEvent(number, b"%d.%d" % (n, m)) for m in range(chance.randint(1, 4))]
                while True:
                    try:
                        await events.publish(HUB, some)
                    except HubUnavailable:
                        continue
                    break

        await events.partition_count(HUB)
        for kind in KINDS:
            peer.faults.plan(kind)  # each once at least, whatever chance and the order of things bring
        peer.faults.storm(SEED, dict.fromkeys(KINDS, 0.05))
        await asyncio.gather(*(publisher(number) for number in range(PUBLISHERS)))

        async def reader(number: int) -> list[bytes]:
            found: list[bytes] = []
            while len(found) < len(peer.events(HUB, number)):
                try:
                    found += [event.body for event in await events.read(HUB, number, len(found), 25)]
                except HubUnavailable:
                    continue
            return found

        read = await asyncio.gather(*(reader(number) for number in range(PUBLISHERS)))
        assert set(peer.faults.injected) == set(KINDS)
        for number, found in enumerate(read):
            assert found == [event.body for event in peer.events(HUB, number)]
            first = list(dict.fromkeys(tuple(map(int, body.split(b"."))) for body in found))
            assert first == sorted(first)
            assert {n for n, _ in first} == set(range(PUBLICATIONS))
        await events.close()
