"""Marketing sends HubSpot's webhooks: signed, in order, until taken, sometimes twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flockiq.local.samples.hubspot import signature
from flockiq.local.samples.records import outstanding, records
from flockiq.local.samples.systems import control, start, stop
from tests.samples.app import App
from tests.samples.conftest import NOBODY, eventually


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    """One app for all tests here."""
    with (found := App()).listening():
        yield found


@pytest.fixture(scope="module")
def sending(tmp_path_factory: pytest.TempPathFactory, app: App) -> Iterator[Path]:
    """Marketing that sends to ``app``, and edits only what it is told to after the first."""
    app.data = tmp_path_factory.mktemp("marketing")
    asyncio.run(start(app.data, 5, app.url, story=False, rate=0.0))
    yield app.data
    asyncio.run(stop(app.data))


def told(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Contacts as somebody knows them who heard every event, first to last."""
    known: dict[str, dict[str, Any]] = {}
    seen: set[int] = set()
    for event in events:
        if event["eventId"] not in seen:
            seen.add(event["eventId"])
            contact = known.setdefault(str(event["objectId"]), {"objectId": event["objectId"]})
            if event["subscriptionType"] == "contact.propertyChange":
                contact[event["propertyName"]] = event["propertyValue"]
    return known


def test_the_signature_is_the_one_documented() -> None:
    """A value worked out with openssl: HMAC-SHA256 of POSThttps://a.example/x[]1700000000000 under key k."""
    assert (
        signature("k", "POST", "https://a.example/x", b"[]", "1700000000000")
        == "Lk7J6uDV2AoME7eM7VSKsvvlGXRVs5tLxUNAj++1BcA="
    )


async def test_every_event_arrives_signed_and_in_the_order_of_its_object(sending: Path, app: App) -> None:
    """Nothing is forged or lost, e-mail addresses come first, times never go back."""
    await control(sending, "marketing", edit=60)
    await eventually(lambda: bool(app.posts) and not outstanding(sending))
    events = app.taken
    assert not app.forged
    assert told(events) == records(sending)["marketing", "contacts"]
    first = {event["objectId"]: event.get("propertyName") for event in reversed(events)}
    assert set(first.values()) == {"email"}
    created = [event["objectId"] for event in events if event["subscriptionType"] == "contact.creation"]
    assert set(created) == set(first)
    fresh = list({event["eventId"]: event for event in events}.values())
    assert [event["eventId"] for event in fresh] == sorted(event["eventId"] for event in fresh)
    assert [event["occurredAt"] for event in fresh] == sorted({event["occurredAt"] for event in fresh})


async def test_refused_deliveries_are_sent_again_with_the_same_ids(sending: Path, app: App) -> None:
    """401, 500, 503 and redirects are all refusals; nothing is lost, and attempts are counted."""
    await eventually(lambda: bool(app.posts))
    app.answers = [500, 302, 503, 401]
    await control(sending, "marketing", edit=3)
    await eventually(lambda: not app.answers and not outstanding(sending))
    refused = [events for _, status, events in app.posts if status not in (204, 200)]
    assert len(refused) == 4
    final = {event["eventId"]: event for event in app.taken}
    for attempt, events in enumerate(refused):
        for event in events:
            assert {**event, "attemptNumber": 0} == {**final[event["eventId"]], "attemptNumber": 0}
        assert events[0]["attemptNumber"] == attempt
    assert told(app.taken) == records(sending)["marketing", "contacts"]


async def test_a_repeated_delivery_carries_the_same_events(sending: Path, app: App) -> None:
    """Told to make every delivery twice, marketing sends each event twice with the same id, and no other."""
    await eventually(lambda: bool(app.posts) and not outstanding(sending))
    before = len(app.taken)
    await control(sending, "marketing", repeat_one_in=1, edit=10)
    await eventually(lambda: not outstanding(sending) and len(app.taken) % 2 == before % 2)
    await control(sending, "marketing", repeat_one_in=0)
    counts = Counter(event["eventId"] for event in app.taken[before:])
    assert set(counts.values()) == {2}
    assert len(counts) >= 10


async def test_what_happens_while_the_app_is_away_is_delivered_when_it_is_back(sending: Path, app: App) -> None:
    """The outbox outlives the app's absence and marketing's own restart, and the app may have moved."""
    await eventually(lambda: bool(app.posts) and not outstanding(sending))
    await control(sending, "marketing", app_url=NOBODY, edit=30)
    waiting = outstanding(sending)
    assert waiting >= 30
    await stop(sending)
    assert outstanding(sending) == waiting
    moved = App()
    moved.data = sending
    with moved.listening():
        await start(sending, 5, moved.url, story=False, rate=0.0)
        await eventually(lambda: not outstanding(sending))
        assert told(app.taken + moved.taken) == records(sending)["marketing", "contacts"]
