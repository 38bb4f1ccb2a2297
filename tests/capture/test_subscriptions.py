"""Subscriptions at Business Central: made, renewed before they expire, mended when they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import azure.functions as func
import httpx
import msgspec
import pytest

from flockiq.capture import functions
from flockiq.capture.subscriptions import Subscription, is_due
from flockiq.shared.services import Services
from tests.capture.conftest import FROM_HOST, World
from tests.capture.door import open_door
from tests.capture.peers.business_central import COMPANY, BusinessCentral
from tests.capture.peers.server import serve
from tests.capture.telling import central

DAY_S = 86_400.0
SUBSCRIBED = {"subscription": {}}


class Renewing:
    """A capture beside a Business Central, with the functions that both call."""

    def __init__(self, world: World, peer: BusinessCentral, read_to: dict[int, int]) -> None:
        self.world, self.peer, self.read_to = world, peer, read_to

    async def tick(self, seconds: float) -> None:
        """Let time pass; the schedule sends what is due, and the work is done."""
        self.world.ahead_us += int(seconds * 1e6)
        await functions.capture_schedule(func.TimerRequest())  # type: ignore[abstract]
        events = self.world.services.events
        for partition in range(await events.partition_count("work")):
            for event in await events.read("work", partition, self.read_to.get(partition, 0), 1_000):
                self.read_to[partition] = event.sequence + 1
                await functions.capture_slice([func.EventHubEvent(body=event.body, trigger_metadata=FROM_HOST)])
        running = [*self.world.capture.errands, *self.world.capture.running.values()]
        await asyncio.gather(*running, return_exceptions=True)

    def asked(self, method: str) -> int:
        """How often subscriptions were asked so."""
        return sum(each == method for each, _ in self.peer.requests)

    async def held(self) -> Subscription:
        """What the registry keeps."""
        document = await self.world.services.registry.get("subscription/default/bc/customers")
        return msgspec.json.decode(document.value, type=Subscription) if document else Subscription()


@pytest.fixture
async def it(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Renewing]:
    """Business Central, and a capture that it can reach."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_door() as door:
        environment = {"FLOCKIQ_PUBLIC_URL": door.removesuffix("/api/webhooks")}
        made = World(services, central(url, **SUBSCRIBED), environment=environment)
        made.serve(monkeypatch)
        yield Renewing(made, peer, {})
        await made.capture.close()


async def test_a_subscription_is_made_and_renewed_long_before_it_expires(it: Renewing) -> None:
    """One POST, then a PATCH a day; each shakes hands with our own webhook."""
    await it.tick(0)
    ((key, made),) = it.peer.subscriptions.items()
    assert made["resource"].endswith(f"{COMPANY}/customers")
    assert made["notificationUrl"].endswith("/api/webhooks/bc")
    assert made["clientState"] == "correct horse"
    for _ in range(48):
        await it.tick(3_600)
    assert (it.asked("POST"), it.asked("PATCH")) == (1, 2)
    assert list(it.peer.subscriptions) == [key]
    assert (await it.held()).error == ""


async def test_a_notification_of_the_made_subscription_is_taken(it: Renewing) -> None:
    """What was subscribed to is what is told of."""
    await it.tick(0)
    it.peer.put("c1", "Acme", "2026-03-01T10:00:00Z")
    (made,) = it.peer.subscriptions.values()
    told = it.peer.notification("c1", state=made["clientState"])
    assert await it.peer.notify(made["notificationUrl"], told) == 204


async def test_a_subscription_that_is_gone_is_made_again(it: Renewing) -> None:
    """Somebody deleted it; the next renewal finds out."""
    await it.tick(0)
    it.peer.subscriptions.clear()
    await it.tick(DAY_S)
    assert (it.asked("POST"), len(it.peer.subscriptions)) == (2, 1)


async def test_a_subscription_whose_id_was_lost_is_found(it: Renewing) -> None:
    """Business Central admits one for a resource: ours is renewed instead of made, another's is left alone."""
    await it.tick(0)
    await it.world.services.registry.delete("subscription/default/bc/customers")
    await it.tick(60)
    assert (it.asked("PATCH"), len(it.peer.subscriptions)) == (1, 1)
    assert (await it.held()).id == "sub1"
    await it.world.services.registry.delete("subscription/default/bc/customers")
    it.peer.subscriptions["sub1"]["notificationUrl"] = "https://another.example/hook"
    await it.tick(60)
    held = await it.held()
    assert held.id == ""
    assert "exists" in held.error
    assert it.peer.subscriptions["sub1"]["notificationUrl"] == "https://another.example/hook"


async def test_what_fails_is_tried_again_with_growing_patience(it: Renewing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a public address nothing can be subscribed; once it is set, it is."""
    address = it.world.capture.environment["FLOCKIQ_PUBLIC_URL"]
    monkeypatch.setitem(it.world.capture.environment, "FLOCKIQ_PUBLIC_URL", "https://127.0.0.1:9")  # type: ignore[misc]
    for _ in range(20):
        await it.tick(30)
    assert it.asked("POST") == 4  # at 30 s, then after one, two and four minutes
    assert "no handshake" in (await it.held()).error
    monkeypatch.setitem(it.world.capture.environment, "FLOCKIQ_PUBLIC_URL", address)  # type: ignore[misc]
    await it.tick(3_600)
    assert (await it.held()).error == ""
    assert len(it.peer.subscriptions) == 1


def test_when_a_renewal_is_due() -> None:
    """At once, then a day after the last one; while one is under way, not again."""
    day, minute = int(DAY_S * 1e6), 60_000_000
    assert is_due(Subscription(), day, day)
    assert not is_due(Subscription(renewed_us=day), 2 * day - 1, day)
    assert is_due(Subscription(renewed_us=day), 2 * day, day)
    assert not is_due(Subscription(tried_us=day, failures=1), day + minute - 1, day)
    assert is_due(Subscription(tried_us=day, failures=1), day + minute, day)
    assert not is_due(Subscription(tried_us=day, failures=99), day + 60 * minute, day)
    assert is_due(Subscription(tried_us=day, failures=99), day + 64 * minute, day)


async def test_our_own_webhook_says_yes_to_a_handshake_within_five_seconds(it: Renewing) -> None:
    """Business Central waits no longer."""
    async with httpx.AsyncClient(timeout=5) as client:
        address: Any = it.world.capture.environment["FLOCKIQ_PUBLIC_URL"]
        answer = await client.post(f"{address}/api/webhooks/bc?validationToken=abc")
    assert (answer.status_code, answer.text) == (200, "abc")
