"""What the tests of webhooks share: a shop that tells, Business Central that points, and a capture that listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import azure.functions as func
import httpx
import msgspec
import pytest

from flockiq.capture import functions
from flockiq.shared.services import Services
from tests.capture.conftest import FROM_HOST, World
from tests.capture.door import open_door
from tests.capture.peers.business_central import COMPANY

KEY = {"secret": {"secret": "token"}}
SHOP = {
    "source": "shop",
    "connector": "webhook",
    "webhook": {"signature": {"kind": "shopify", **KEY}, "headers": {"topic": "X-Shopify-Topic"}},
    "streams": {
        "customers": {
            "primary_key": ["id"],
            "modified": "updated_at",
            "webhook": {"match": {"topic": "customers/*"}},
            "deleted_when": {"field": "topic", "values": ["customers/delete"]},
            "entity": "company",
            "fields": {"name": "name"},
        }
    },
}
KNOCK = {"X-Our-Key": "correct horse"}


@asynccontextmanager
async def open_world(
    services: Services, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any]
) -> AsyncIterator[tuple[World, str]]:
    """A capture that the functions use, and the address of the source's webhook."""
    made = World(services, source)
    made.serve(monkeypatch)
    monkeypatch.delenv("FLOCKIQ_PUBLIC_URL", raising=False)
    try:
        async with open_door() as url:
            yield made, f"{url}/{source['source']}"
    finally:
        await made.capture.close()


async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Deliver; the answer's status."""
    async with httpx.AsyncClient() as client:
        return (await client.post(url, content=body, headers=headers)).status_code


def after(change: Any) -> Any:
    """The record of a change."""
    return msgspec.json.decode(change.data.after)


async def run_work(it: World) -> None:
    """Hand everything on hub work to the function that works it off."""
    for partition in range(await it.services.events.partition_count("work")):
        for event in await it.services.events.read("work", partition, 0, 10_000):
            await functions.capture_slice([func.EventHubEvent(body=event.body, trigger_metadata=FROM_HOST)])
    while it.capture.errands:
        await asyncio.wait(it.capture.errands)


def central(url: str, **webhook: Any) -> dict[str, Any]:
    """Business Central's customers: polled, and told of by pointers."""
    return {
        "source": "bc",
        "connector": "odata_v4",
        "connection": {"base_url": f"{url}{COMPANY}", "allow_private": True, "read_timeout": "500ms"},
        "limits": {"attempts": 1, "longest_wait": "100ms", "body_bytes": "10KB"},
        "webhook": {"signature": {"kind": "business_central", **KEY}, "events_at": "value"} | webhook,
        "streams": {
            "customers": {
                "path": "customers",
                "primary_key": ["id"],
                "modified": "lastModifiedDateTime",
                "webhook": {
                    "match": {"resource": "*/customers*"},
                    "carry": {"change": "changeType"},
                    "reread": {"get": "{resource}", "many": {"changeType": "collection"}},
                },
                "deleted_when": {"field": "change", "values": ["deleted"]},
                "entity": "company",
                "fields": {"name": "displayName"},
            }
        },
    }
