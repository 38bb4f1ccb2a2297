"""Deliveries to /api/webhooks/{source}, through the function itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import azure.functions as func
import msgspec
import pytest

from flockiq.capture import functions
from flockiq.capture.signatures import Delivery, Unsigned, hubspot_v3, verify
from flockiq.shared.config.secrets import SecretName
from flockiq.shared.config.webhooks import HubSpotV3
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.services import Services
from tests.capture.conftest import World

SECRET = "correct horse"
URL = "https://app.example/api/webhooks/marketing"
MARKETING = {
    "source": "marketing",
    "connector": "webhook",
    "webhook": {"signature": {"kind": "hubspot_v3", "secret": {"secret": "token"}}, "delivery_id": "eventId"},
    "limits": {"body_bytes": "10KB"},
    "streams": {
        "contacts": {
            "primary_key": ["objectId"],
            "modified": "occurredAt",
            "webhook": {
                "match": {"subscriptionType": "contact.*"},
                "property_events": {"name": "propertyName", "value": "propertyValue"},
            },
            "deleted_when": {"field": "subscriptionType", "values": ["contact.deletion"]},
            "entity": "contact",
            "fields": {"email": "email"},
        },
    },
}


@pytest.fixture
async def it(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A capture with one webhook source, which the functions use."""
    made = World(services, MARKETING)
    made.serve(monkeypatch)
    monkeypatch.delenv("FLOCKIQ_PUBLIC_URL", raising=False)
    yield made
    await made.capture.close()


def event(number: int, name: str = "email", value: object = "ann@example.com", **more: Any) -> dict[str, Any]:
    """One of HubSpot's events."""
    return {
        "eventId": number,
        "subscriptionType": "contact.propertyChange",
        "objectId": 7,
        "occurredAt": 1_772_359_200_000 + number,
        "propertyName": name,
        "propertyValue": value,
    } | more


def signed(it: World, body: bytes, *, url: str = URL, skew_s: float = 0, secret: str = SECRET) -> dict[str, str]:
    """The headers of a genuine delivery, computed apart from the code under test."""
    timestamp = str(it.capture.now_us() // 1_000 + int(skew_s * 1_000))
    text = b"POST" + url.encode() + body + timestamp.encode()
    signature = base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": timestamp}


async def post(body: bytes, headers: dict[str, str], *, url: str = URL, source: str = "marketing") -> int:
    """Deliver; the answer's status."""
    request = func.HttpRequest("POST", url, headers=headers, route_params={"source": source}, body=body)
    answer = await functions.capture_webhook(request)
    return int(answer.status_code)


async def deliver(it: World, *events: dict[str, Any]) -> int:
    """Deliver events, signed."""
    body = msgspec.json.encode(list(events))
    return await post(body, signed(it, body))


async def test_a_signed_delivery_becomes_one_change_a_property(it: World) -> None:
    """Each event tells one field; its key, its time and that field travel, as an update."""
    assert await deliver(it, event(1), event(2, "phone", None)) == 204
    changes = await it.changes()
    assert [change.data.op for change in changes] == ["u", "u"]
    assert [msgspec.json.decode(change.data.after) for change in changes] == [
        {
            "objectId": 7,
            "occurredAt": 1_772_359_200_001,
            "subscriptionType": "contact.propertyChange",
            "email": "ann@example.com",
        },
        {"objectId": 7, "occurredAt": 1_772_359_200_002, "subscriptionType": "contact.propertyChange", "phone": None},
    ]
    assert [(change.data.key, change.data.ts_us) for change in changes] == [
        ("7", 1_772_359_200_001_000),
        ("7", 1_772_359_200_002_000),
    ]
    status = await it.status("marketing", "contacts")
    assert (status.records, status.last_source_us) == (2, 1_772_359_200_002_000)
    assert status.last_record_us > 0


async def test_a_delivery_told_again_changes_nothing(it: World, services: Services) -> None:
    """The same event ids again publish nothing, in this process and (once another came) in the next."""
    assert await deliver(it, event(1), event(2)) == 204
    assert await deliver(it, event(2), event(1)) == 204
    assert await deliver(it, event(3), event(3)) == 204
    assert len(await it.changes()) == 3
    restarted = World(services, MARKETING)
    functions.capture = lambda: restarted.capture  # the fixture's patch restores it
    assert await deliver(restarted, event(1), event(4)) == 204
    assert len(await it.changes()) == 4


async def test_every_delivery_has_a_run_number_of_its_own(it: World) -> None:
    """Events without a time are ordered by delivery, then by row."""
    for number in range(3):
        assert await deliver(it, event(number, occurredAt=None)) == 204
    changes = await it.changes()
    assert [change.data.run for change in changes] == [1, 2, 3]
    assert sorted(change.data.ts_us for change in changes) == [change.data.ts_us for change in changes]


async def test_a_deletion_event_deletes(it: World) -> None:
    """What ``deleted_when`` names is a tombstone."""
    gone = {"eventId": 9, "subscriptionType": "contact.deletion", "objectId": 7, "occurredAt": 1_772_359_300_000}
    assert await deliver(it, gone) == 204
    (change,) = await it.changes()
    assert (change.data.op, change.data.key, bytes(change.data.after)) == ("d", "7", b"{}")


async def test_events_that_fit_nothing_become_dead_letters(it: World) -> None:
    """An unknown kind, a number, an event without a key: each is kept; the good one beside them arrives."""
    body = msgspec.json.encode(
        [event(1), event(2, subscriptionType="deal.creation"), 5, event(3, objectId=None), event(4, occurredAt="soon")]
    )
    assert await post(body, signed(it, body)) == 204
    assert len(await it.changes()) == 1
    reasons = sorted(letter["Reason"] for letter in await it.letters())
    assert len(reasons) == 4
    assert [reason for reason in reasons if "matches no stream" in reason or "is no JSON object" in reason] == [
        "is no JSON object",
        "matches no stream of the source",
    ]


@pytest.mark.parametrize("skew_s", [-299, 299])
async def test_five_minutes_of_skew_are_tolerated(it: World, skew_s: float) -> None:
    """Clocks differ a little, either way."""
    body = msgspec.json.encode([event(1)])
    assert await post(body, signed(it, body, skew_s=skew_s)) == 204


REFUSED = {
    "too old": {"skew_s": -301},
    "from the future": {"skew_s": 301},
    "another secret": {"secret": "wrong"},
    "another address": {"url": "https://evil.example/api/webhooks/marketing"},
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_delivery_that_does_not_prove_itself_is_refused(it: World, name: str) -> None:
    """401, and nothing is published."""
    body = msgspec.json.encode([event(1)])
    assert await post(body, signed(it, body, **REFUSED[name])) == 401  # type: ignore[arg-type]
    assert await it.changes() == []


async def test_a_changed_body_or_header_is_refused(it: World) -> None:
    """The signature covers every byte; without one, or with nonsense for one, the answer is 401 too."""
    body = msgspec.json.encode([event(1)])
    headers = signed(it, body)
    assert await post(body + b" ", headers) == 401
    assert await post(body, {}) == 401
    assert await post(body, headers | {"X-HubSpot-Request-Timestamp": "1e9"}) == 401
    assert await post(body, headers | {"X-HubSpot-Signature-v3": "ü"}) == 401
    assert await it.changes() == []


@pytest.mark.parametrize("body", [b"", b"{", b"7", b'"text"', b"[" * 9_000, b'[{"a": "\xff"}]', b"null"])
async def test_a_malformed_body_is_400(it: World, body: bytes) -> None:
    """Signed nonsense is the sender's mistake, and no dead letter."""
    assert await post(body, signed(it, body)) == 400
    assert await it.letters() == []


@pytest.mark.usefixtures("it")
async def test_a_body_over_the_limit_is_413_before_anything_is_computed() -> None:
    """Even unsigned."""
    assert await post(b" " * 10_001, {}) == 413


async def test_an_unknown_source_is_404(it: World) -> None:
    """Whatever it is signed with."""
    body = msgspec.json.encode([event(1)])
    assert await post(body, signed(it, body), source="nobody") == 404


async def test_a_hub_that_is_away_is_503_and_the_repeat_arrives(it: World, services: Services) -> None:
    """Never an answer that makes the sender give up; what was not acknowledged is not remembered as told."""

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(services.events, name)

        async def publish(self, *_: object) -> None:
            raise HubUnavailable("the hub is away")

    it.capture.services = services._replace(events=Away())  # type: ignore[arg-type]
    assert await deliver(it, event(1)) == 503
    it.capture.services = services
    assert await deliver(it, event(1)) == 204
    assert len(await it.changes()) == 1


async def test_a_missing_secret_is_503(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our mistake, so the sender is asked to keep the delivery."""
    monkeypatch.delenv("FLOCKIQ_SECRET_TOKEN")
    assert await deliver(it, event(1)) == 503


async def test_behind_a_gateway_the_public_address_is_what_was_signed(
    it: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLOCKIQ_PUBLIC_URL replaces the address that the app sees."""
    monkeypatch.setenv("FLOCKIQ_PUBLIC_URL", "https://hooks.example/")
    body = msgspec.json.encode([event(1)])
    headers = signed(it, body, url="https://hooks.example/api/webhooks/marketing?a=1")
    assert await post(body, headers, url="http://127.0.0.1:7071/api/webhooks/marketing?a=1") == 204


def test_the_uri_is_signed_with_hubspots_characters_decoded() -> None:
    """developers.hubspot.com lists which escapes are decoded before signing; others stay."""
    encoded = Delivery("POST", "https://a.example/x%3Ay%20z%2F", {}, b"")
    plain = Delivery("POST", "https://a.example/x:y%20z/", {}, b"")
    assert hubspot_v3(SECRET, encoded, "1") == hubspot_v3(SECRET, plain, "1")
    with pytest.raises(Unsigned):
        verify(HubSpotV3(kind="hubspot_v3", secret=SecretName(secret="token")), SECRET, plain, 0)
