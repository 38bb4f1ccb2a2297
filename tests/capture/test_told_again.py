"""An event of a delivery that was set aside tells, when it is replayed, what its delivery would tell now."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flockiq.capture.again import take_again
from flockiq.capture.sources import Capture
from flockiq.shared import wire
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.replay import SLICE
from flockiq.shared.services import Services
from tests.capture.conftest import World
from tests.capture.peers.business_central import BusinessCentral
from tests.capture.peers.server import serve
from tests.capture.telling import after, central, open_world, run_work
from tests.capture.test_told import BILLING, of_stripe, stripe


async def again(it: World, source: dict[str, Any]) -> None:
    """Replay every letter under a config that was mended."""
    named = {source["source"]: SourceFile.model_validate(source)}
    mended = Capture(it.services, named, {}, it.capture.now_us)
    works = [
        wire.Work(
            id="w",
            source=source["source"],
            type=wire.WORK,
            time="2026-03-01T10:00:00Z",
            tenant=mended.tenant,
            data=wire.WorkData(source=source["source"], stream="customers", slice=SLICE + path),
        )
        for path in await it.services.blobs.list("dead-letters/")
    ]
    await take_again(mended, works)
    await mended.close()


def billing(**stream: Any) -> dict[str, Any]:
    """Stripe's customers, their stream to taste."""
    whole: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(BILLING))
    whole["streams"]["customers"] |= stream
    return whole


async def test_the_record_is_found_in_the_event_again_with_what_it_carries(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key was looked for in the wrong field: mended, it is the whole record, at its own time."""
    async with open_world(services, monkeypatch, billing(primary_key=["number"])) as (it, door):
        assert await stripe(door, of_stripe(1)) < 300
        assert await it.changes() == []
        await again(it, billing())
        [change] = await it.changes()
    async with open_world(services, monkeypatch, billing()) as (it, door):
        assert await stripe(door, of_stripe(2)) < 300
        told = [each for each in await it.changes() if each.id != change.id]
    assert change.data.op == told[0].data.op == "r"
    assert after(change).keys() == after(told[0]).keys()
    assert change.data.run == 0


async def test_a_deletion_that_named_no_record_is_one_again(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says that it is a deletion is in the event, not in a record of its own."""
    mended = billing(deleted_when={"field": "event", "values": ["customer.deleted"]})
    broken = billing(deleted_when={"field": "event", "values": ["customer.deleted"]}, primary_key=["number"])
    async with open_world(services, monkeypatch, broken) as (it, door):
        assert await stripe(door, of_stripe(1, "customer.deleted")) < 300
        assert len(await it.letters()) == 1
        await again(it, mended)
        assert [change.data.op for change in await it.changes()] == ["d"]


async def test_a_pointer_is_followed_when_it_is_understood(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pointer that config looked for in the wrong place leads to its record once that is mended."""
    peer = BusinessCentral()
    peer.put("c1", "Acme", "2026-03-01T10:00:00Z")
    async with serve(peer.app) as url:
        broken = central(url)
        broken["streams"]["customers"]["webhook"]["reread"] = {"get": "{adress}"}
        async with open_world(services, monkeypatch, broken) as (it, door):
            assert await peer.notify(door, peer.notification("c1")) == 204
            assert len(await it.letters()) == 1
            await again(it, central(url))
        async with open_world(services, monkeypatch, central(url)) as (it, _):
            await run_work(it)
            assert {key: record["displayName"] for key, record in (await it.final()).items()} == {"c1": "Acme"}
        assert [asked for _, asked in peer.requests] == ["c1"]


async def test_an_event_that_still_can_not_be_taken_is_the_same_letter(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was mended: it is set aside again, as the event that it is."""
    async with open_world(services, monkeypatch, billing(primary_key=["number"])) as (it, door):
        assert await stripe(door, of_stripe(1)) < 300
        before = await it.letters()
        await again(it, billing(primary_key=["number"]))
        assert await it.letters() == before
        assert [letter["Told"] for letter in before] == [True]
