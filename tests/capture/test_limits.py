"""A source is never asked more than it allows, by all instances together."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from flockiq.capture.http.client import SourceClient, Tally
from flockiq.capture.http.pace import Pace
from flockiq.shared.config.connection import Rate
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.errors import SourceUnavailable
from flockiq.shared.ports import Registry
from flockiq.shared.services import Services
from tests.capture.conftest import Open, World
from tests.capture.peers.server import serve
from tests.capture.peers.shop import Shop, orders


class Counted:
    """A registry whose writes are counted."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    async def put(self, key: str, value: bytes, etag: str | None) -> str:
        """Count, and write."""
        self.writes += 1
        return await self._registry.put(key, value, etag)


def rated(requests: int, per: str) -> Rate:
    """A rate as YAML would give it."""
    return Rate.model_validate({"requests": requests, "per": per})


async def test_instances_share_one_rate(services: Services) -> None:
    """Three of them at 100 a second: 60 moments, none before its time, for a handful of writes."""
    counted = Counted(services.registry)
    rate = rated(100, "1s")
    instances = [Pace(rate, counted, "default", "shop") for _ in range(3)]  # type: ignore[arg-type]
    went: list[float] = []

    async def go(pace: Pace) -> None:
        for _ in range(20):
            await pace.wait(5.0)
            went.append(time.monotonic())

    # Each reserves a second's worth, so three of them take up to three seconds' moments; their clock is shared.
    began = time.monotonic()
    await asyncio.gather(*(go(pace) for pace in instances))
    assert max(went) - began >= 2.1  # the third one's block begins two seconds in
    assert counted.writes <= 3 + 3  # a lost race is one more


async def test_a_rate_is_kept_from_request_to_request(services: Services) -> None:
    """Requests go out evenly spread, not in bursts."""
    shop = Shop()
    async with serve(shop.app) as url:
        source = orders(url, "link-header", limits={"rate": {"requests": 20, "per": "1s"}, "longest_wait": "2s"})
        client = SourceClient(SourceFile.model_validate(source), services, {})
        began = time.monotonic()
        await asyncio.gather(*(client.get("link-header", {}, Tally()) for _ in range(11)))
        await client.close()
    assert time.monotonic() - began >= 0.5


async def test_a_rate_that_asks_for_more_patience_than_a_run_has_ends_it(services: Services) -> None:
    """The moment is not used up: the next run has it."""
    now = [1_000_000_000]
    pace = Pace(rated(1, "60s"), services.registry, "default", "shop", lambda: now[0])
    await pace.wait(1.0)
    for _ in range(3):
        with pytest.raises(SourceUnavailable, match="used up for 60 s") as caught:
            await pace.wait(1.0)
        assert caught.value.retry_after_s == 60.0
    now[0] += 60_000_000
    await pace.wait(1.0)


async def test_moments_that_were_let_pass_are_not_made_up_for(services: Services) -> None:
    """After an hour of silence there is no burst of an hour's requests."""
    now = [1_000_000_000]
    pace = Pace(rated(10, "1s"), services.registry, "default", "shop", lambda: now[0])
    await pace.wait(0.0)
    now[0] += 3_600_000_000
    await pace.wait(0.0)
    with pytest.raises(SourceUnavailable):
        await pace.wait(0.0)


QUOTAS: dict[str, tuple[dict[str, Any], dict[str, str], tuple[int, int]]] = {
    "what remains": (
        {"header": "X-RateLimit-Remaining", "limit_header": "X-RateLimit-Limit"},
        {"X-RateLimit-Remaining": "100", "X-RateLimit-Limit": "1000"},
        (100, 1000),
    ),
    "used of the limit": (
        {"header": "Sforce-Limit-Info", "tells": "used_of_limit"},
        {"Sforce-Limit-Info": "api-usage=91000/100000"},
        (9000, 100000),
    ),
    "a limit that config knows": (
        {"header": "X-Left", "limit": 50},
        {"X-Left": "5"},
        (5, 50),
    ),
}


@pytest.mark.parametrize("name", QUOTAS)
async def test_reading_stops_at_the_floor_of_an_allowance(world: Open, name: str) -> None:
    """What the last answer brought is kept; the rest waits, and status says how much is left."""
    quota, headers, (left, of) = QUOTAS[name]
    peer = Shop(cap=3)
    for number in range(1, 11):
        peer.put(number)
    peer.headers = headers
    async with serve(peer.app) as url:
        async with world(orders(url, "offset", limits={"quota": quota})) as it:
            await it.poll()
            status = await it.status("shop", "orders")
            assert len(await it.changes()) == 3
            await it.poll(60)
            assert len(peer.requests) == 1  # ten minutes are not over
        assert (status.outcome, status.quota_left, status.quota_of) == ("unavailable", left, of)
        assert f"{left:,} of {of:,}" in status.error
        peer.headers = {}
        async with world(orders(url, "offset", limits={"quota": quota})) as it:
            await it.poll(3600)
            assert [change.data.key for change in await it.changes()] == [str(number) for number in range(1, 11)]


async def test_an_allowance_says_when_it_is_renewed(services: Services) -> None:
    """Reading goes on then, not later."""
    peer = Shop()
    peer.headers = {"X-Left": "0", "X-Reset": "1"}
    quota = {"header": "X-Left", "limit": 10, "reset_header": "X-Reset"}
    async with serve(peer.app) as url:
        source = SourceFile.model_validate(orders(url, "offset", limits={"quota": quota}))
        client = SourceClient(source, services, {})
        await client.get("link-header", {}, Tally())
        with pytest.raises(SourceUnavailable, match="0 of 10 requests left") as caught:
            await client.get("link-header", {}, Tally())
        await client.close()
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s <= 1.0


async def test_a_refusal_for_want_of_an_allowance_is_no_lack_of_rights(world: Open) -> None:
    """403 with the source's own word for it: wait, do not ask for rights, do not try at once again."""
    peer = Shop()
    peer.answers = [JSONResponse([{"errorCode": "REQUEST_LIMIT_EXCEEDED"}], 403)]
    async with serve(peer.app) as url:
        source = orders(url, "link-header", limits={"exhausted": ["REQUEST_LIMIT_EXCEEDED"], "attempts": 5})
        async with world(source) as it:
            await it.poll()
            status = await it.status("shop", "orders")
    assert (status.outcome, len(peer.requests)) == ("unavailable", 1)
    assert "REQUEST_LIMIT_EXCEEDED" in status.error
    assert status.retry_at_us - status.last_run_us > 250_000_000


async def test_no_more_streams_are_read_at_a_time_than_a_source_has_places_for(services: Services) -> None:
    """Two instances, six streams, two places."""
    at_once, most = [0], [0]

    async def slow(_: Request) -> JSONResponse:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        await asyncio.sleep(0.05)
        at_once[0] -= 1
        return JSONResponse([])

    async with serve(Starlette(routes=[Route("/api/link-header", slow)])) as url:
        source = orders(url, "link-header", limits={"concurrency": 2})
        stream = source["streams"]["orders"]
        source["streams"] = {f"s{number}": stream for number in range(6)}
        instances = [World(services, source), World(services, source)]
        for each in instances:
            each.ahead_us = 60_000_000
        await instances[0].poll()
        await asyncio.gather(*(each.work() for each in instances))
        found = [await instances[0].status("shop", f"s{number}") for number in range(6)]
        for each in instances:
            await each.capture.close()
    assert most[0] <= 2
    assert all(status.outcome == "read" for status in found)
