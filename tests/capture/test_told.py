"""What deliveries tell: records, parts and deletions, found where the sender puts them."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from flockiq.capture.told import at
from flockiq.shared.errors import BadRecord
from flockiq.shared.services import Services
from tests.capture.telling import KEY, SHOP, after, open_world, post
from tests.capture.test_signatures import b64, mac

BILLING = {
    "source": "billing",
    "connector": "webhook",
    "webhook": {"signature": {"kind": "stripe", **KEY}, "delivery_id": "id"},
    "streams": {
        "customers": {
            "primary_key": ["id"],
            "modified": "told_at",
            "webhook": {
                "match": {"type": "customer.*"},
                "record": "data.object",
                "carry": {"told_at": "created", "event": "type"},
            },
            "deleted_when": {"field": "event", "values": ["customer.deleted"]},
            "entity": "company",
            "fields": {"name": "name"},
        }
    },
}


async def shopify(url: str, record: dict[str, Any], event: str, topic: str = "customers/update") -> int:
    """Deliver as Shopify does."""
    body = msgspec.json.encode(record)
    headers = {"X-Shopify-Topic": topic, "X-Shopify-Event-Id": event}
    return await post(url, body, headers | {"X-Shopify-Hmac-Sha256": b64("correct horse", body)})


async def test_a_shopify_event_counts_once_a_topic(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shopify tells again until it is answered, with the same event id; one action may have two topics."""
    async with open_world(services, monkeypatch, SHOP) as (it, url):
        record = {"id": 7, "name": "Acme", "updated_at": "2026-03-01T10:00:00Z"}
        assert await shopify(url, record, "e1") == 204
        assert await shopify(url, record, "e1") == 204
        assert await shopify(url, record | {"name": "Acme AG"}, "e1", "customers/enable") == 204
        first, second = await it.changes()
        assert (first.data.op, first.data.key, after(first)["name"]) == ("r", "7", "Acme")
        assert after(second)["name"] == "Acme AG"
        assert await shopify(url, {"id": 7}, "e2", "customers/delete") == 204
        assert await it.final() == {}


async def stripe(url: str, event: dict[str, Any]) -> int:
    """Deliver as Stripe does."""
    body, stamp = msgspec.json.encode(event), str(int(time.time()))
    signed = mac("correct horse", stamp.encode() + b"." + body).hex()
    return await post(url, body, {"Stripe-Signature": f"t={stamp},v1={signed}"})


def of_stripe(number: int, kind: str = "customer.updated", **more: Any) -> dict[str, Any]:
    """One of Stripe's events."""
    record = {"id": "cus_1", "name": f"Acme {number}", "created": 1}
    return {"id": f"evt_{number}", "type": kind, "created": 1_772_359_200 + number, "data": {"object": record}} | more


async def test_the_record_is_found_inside_the_event_with_what_it_carries(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe's data.object is the record; the event gives the time and the kind, and its id counts once."""
    async with open_world(services, monkeypatch, BILLING) as (it, url):
        for event in (of_stripe(2), of_stripe(1), of_stripe(2), of_stripe(9, "charge.failed")):
            assert await stripe(url, event) == 204
        late, early = sorted(await it.changes(), key=lambda change: -change.data.ts_us)
        assert late.data.ts_us == 1_772_359_202_000_000
        assert after(late) == {
            "id": "cus_1",
            "name": "Acme 2",
            "created": 1,
            "told_at": 1_772_359_202,
            "event": "customer.updated",
        }
        assert early.data.key == "cus_1"
        assert (await it.final())["cus_1"]["name"] == "Acme 2"
        assert await stripe(url, of_stripe(3, "customer.deleted")) == 204
        assert await it.final() == {}
        (letter,) = await it.letters()
        assert letter["Reason"] == "matches no stream of the source"


@pytest.mark.parametrize("data", [None, 5, [], {"object": 5}, {"object": None}, {"object": [1]}])
async def test_an_event_without_its_record_is_a_dead_letter(
    services: Services, monkeypatch: pytest.MonkeyPatch, data: object
) -> None:
    """Genuine and of no use: kept whole with the reason; the sender is not asked again."""
    async with open_world(services, monkeypatch, BILLING) as (it, url):
        assert await stripe(url, of_stripe(1, data=data)) == 204
        (letter,) = await it.letters()
        assert "data.object" in (letter["Field"], letter["Reason"].partition(" ")[0]) or "missing" in letter["Reason"]
        assert await it.changes() == []


def test_a_path_enters_objects_and_lists_of_keys_and_values() -> None:
    """a.b; a name with a dot in it comes first."""
    event = msgspec.json.decode(
        b'{"a": {"b": {"c": 1}}, "x.y": 2, "p": [{"key": "k", "value": {"z": 3}}], "l": [1]}',
        type=dict[str, msgspec.Raw],
    )
    found = [at(event, path) for path in ("a.b.c", "x.y", "p.k.z", "l.k", "a.q", "x.y.z")]
    assert [bytes(raw) if raw is not None else None for raw in found] == [b"1", b"2", b"3", None, None, None]
    with pytest.raises(BadRecord):
        at({"a": msgspec.Raw(b'{"b"')}, "a.b")
