"""What deliveries of each kind tell: records, parts, deletions, and pointers that are followed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import azure.functions as func
import httpx
import msgspec
import pytest
from pydantic import ValidationError

from flockiq.capture import functions
from flockiq.capture.told import at
from flockiq.shared.config.document import parse
from flockiq.shared.config.problems import validate
from flockiq.shared.config.sources import SourceFile
from flockiq.shared.errors import BadRecord, HubUnavailable
from flockiq.shared.services import Services
from tests.capture.conftest import World
from tests.capture.door import open_door
from tests.capture.peers.business_central import COMPANY, BusinessCentral
from tests.capture.peers.server import serve
from tests.capture.test_signatures import b64, mac

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


@asynccontextmanager
async def open_world(
    services: Services, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any]
) -> AsyncIterator[tuple[World, str]]:
    """A capture that the functions use, and the address of the source's webhook."""
    made = World(services, source)
    monkeypatch.setattr(functions, "capture", lambda: made.capture)
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


def dataverse(url: str) -> dict[str, Any]:
    """Accounts that are polled by delta link, and told of by a webhook with a key in a header."""
    return {
        "source": "crm",
        "connector": "dataverse",
        "connection": {"base_url": f"{url}/api/data/v9.2", "allow_private": True, "read_timeout": "500ms"},
        "limits": {"attempts": 1, "longest_wait": "100ms"},
        "webhook": {"signature": {"kind": "shared_key", "header": "X-Our-Key", **KEY}},
        "streams": {
            "accounts": {
                "path": "accounts",
                "primary_key": ["accountid"],
                "modified": "modifiedon",
                "incremental": {"kind": "delta"},
                "webhook": {
                    "match": {"PrimaryEntityName": "account"},
                    "record": "InputParameters.Target.Attributes",
                    "carry": {"accountid": "PrimaryEntityId", "message": "MessageName"},
                    "partial": True,
                    "reread": {"get": "accounts({PrimaryEntityId})"},
                },
                "deleted_when": {"field": "message", "values": ["Delete"]},
                "entity": "company",
                "fields": {"name": "name"},
            }
        },
    }


def context(message: str = "Update", **attributes: Any) -> dict[str, Any]:
    """A RemoteExecutionContext, as Dataverse posts it."""
    pairs = [{"key": name, "value": value} for name, value in attributes.items()]
    target = {"__type": "Entity:http://schemas.microsoft.com/xrm/2011/Contracts", "Attributes": pairs}
    return {
        "MessageName": message,
        "PrimaryEntityName": "account",
        "PrimaryEntityId": "a1",
        "InputParameters": [{"key": "Target", "value": target}],
    }


class Accounts:
    """An answer for every account asked for, and how often that was."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        del receive
        self.asked.append(scope["path"])
        body = b'{"@odata.etag": "1", "accountid": "a1", "name": "Acme", "modifiedon": "2026-03-01T11:00:00Z"}'
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def run_work(it: World) -> None:
    """Hand everything on hub work to the function that works it off."""
    for partition in range(await it.services.events.partition_count("work")):
        for event in await it.services.events.read("work", partition, 0, 10_000):
            await functions.capture_slice([func.EventHubEvent(body=event.body)])
    while it.capture.errands:
        await asyncio.wait(it.capture.errands)


KNOCK = {"X-Our-Key": "correct horse"}


async def test_dataverse_tells_what_changed_in_the_web_apis_words(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choices and amounts are their value, a lookup is _name_value, and the rest of the record is not known."""
    peer = Accounts()
    async with serve(peer) as url, open_world(services, monkeypatch, dataverse(url)) as (it, door):  # type: ignore[arg-type]
        told = context(
            name="Acme",
            modifiedon="/Date(1772359200000)/",
            creditlimit={"__type": "Money:http://x", "Value": 12.50},
            paymenttermscode={"__type": "OptionSetValue:http://x", "Value": 2},
            primarycontactid={"__type": "EntityReference:http://x", "Id": "c1", "LogicalName": "contact"},
        )
        assert await post(door, msgspec.json.encode(told), KNOCK) == 204
        (change,) = await it.changes()
        assert (change.data.op, change.data.key, change.data.ts_us) == ("u", "a1", 1_772_359_200_000_000)
        assert after(change) == {
            "accountid": "a1",
            "message": "Update",
            "name": "Acme",
            "modifiedon": "/Date(1772359200000)/",
            "creditlimit": 12.5,
            "paymenttermscode": 2,
            "_primarycontactid_value": "c1",
        }
        deleted = context("Delete") | {"InputParameters": []}
        assert await post(door, msgspec.json.encode(deleted), KNOCK) == 204
        assert await it.final() == {}
        assert peer.asked == []


async def test_a_delivery_that_dataverse_trimmed_is_read_again(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 256 KB the body lacks the record: a work item reads it, and the sender does not wait for it."""
    peer = Accounts()
    async with serve(peer) as url, open_world(services, monkeypatch, dataverse(url)) as (it, door):  # type: ignore[arg-type]
        trimmed = {**context(name="half"), "InputParameters": None}
        headers = KNOCK | {"x-ms-dynamics-msg-size-exceeded": "true"}
        assert await post(door, msgspec.json.encode(trimmed), headers) == 204
        assert await it.changes() == []
        await run_work(it)
        (change,) = await it.changes()
        assert (change.data.op, change.data.ts_us) == ("r", 1_772_362_800_000_000)
        assert after(change) == {"accountid": "a1", "name": "Acme", "modifiedon": "2026-03-01T11:00:00Z"}
        assert peer.asked == ["/api/data/v9.2/accounts(a1)"]


@pytest.mark.parametrize("status", [404, 500, 400])
async def test_a_pointer_that_leads_nowhere_brings_the_poll_forward(
    services: Services, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Nothing is deleted for it, nothing is retried for ever; the stream's own read finds out."""
    peer = Accounts()
    peer.status = status
    async with serve(peer) as url, open_world(services, monkeypatch, dataverse(url)) as (it, door):  # type: ignore[arg-type]
        from flockiq.capture.turn import Turn, Turns  # noqa: PLC0415 - only here

        turns = Turns(services.registry, it.capture.tenant)
        far = it.capture.now_us() + 3_600_000_000
        await turns.change("crm", "accounts", lambda _: Turn(due_us=far))
        headers = KNOCK | {"x-ms-dynamics-msg-size-exceeded": "true"}
        assert await post(door, msgspec.json.encode(context()), headers) == 204
        await run_work(it)
        assert await it.changes() == []
        assert (await turns.get("crm", "accounts")).due_us <= it.capture.now_us()


async def test_a_pointer_can_not_lead_out_of_its_place(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is one escaped part of a path: no slash, no query, no parent folder."""
    peer = Accounts()
    async with serve(peer) as url, open_world(services, monkeypatch, dataverse(url)) as (it, door):  # type: ignore[arg-type]
        headers = KNOCK | {"x-ms-dynamics-msg-size-exceeded": "true"}
        for evil in ("..", "", None, "a\nb"):
            body = msgspec.json.encode(context() | {"PrimaryEntityId": evil})
            assert await post(door, body, headers) == 204
        assert await post(door, msgspec.json.encode(context() | {"PrimaryEntityId": "x)/../../y?z"}), headers) == 204
        await run_work(it)
        assert len(await it.letters()) == 4
        assert [path for path in peer.asked if "x)" not in path] == []
        assert all(path.startswith("/api/data/v9.2/accounts(") for path in peer.asked)


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


async def test_business_centrals_pointers_are_followed_once_each(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several notifications of one record are one GET; a deletion needs none."""
    peer = BusinessCentral()
    peer.put("c1", "Acme", "2026-03-01T10:00:00Z")
    peer.put("c2", "Bolt", "2026-03-01T10:00:00Z")
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        told = [peer.notification(key) for key in ("c1", "c1", "c2")]
        assert await peer.notify(door, *told) == 204
        await run_work(it)
        assert sorted(key for _, key in peer.requests) == ["c1", "c2"]
        assert {key: record["displayName"] for key, record in (await it.final()).items()} == {
            "c1": "Acme",
            "c2": "Bolt",
        }
        del peer.customers["c1"]
        assert await peer.notify(door, peer.notification("c1", "deleted")) == 204
        assert list(await it.final()) == ["c2"]


async def test_the_handshake_echoes_the_token(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """As plain text that no browser takes for anything else; a token of nonsense is no handshake."""
    async with (
        open_world(services, monkeypatch, central("http://127.0.0.1:9")) as (_, door),
        httpx.AsyncClient() as http,
    ):
        answer = await http.post(door, params={"validationToken": "a <b>token</b>/+&="})
        assert (answer.status_code, answer.text) == (200, "a <b>token</b>/+&=")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"
        for nonsense in ("", "x" * 3_000, "a\nb"):
            assert (await http.post(door, params={"validationToken": nonsense})).status_code == 503


async def test_only_business_central_is_answered_with_its_token(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else asks for one."""
    async with open_world(services, monkeypatch, SHOP) as (_, door), httpx.AsyncClient() as http:
        assert (await http.post(door, params={"validationToken": "token"})).status_code == 401


async def test_no_answer_makes_business_central_give_up(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong, malformed, too large: it would delete the subscription at a 4xx, so it is told to come again."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        peer.subscriptions["sub"] = {"resource": "x"}
        assert await peer.notify(door, peer.notification("c1", state="wrong")) == 503
        assert await peer.notify(door, peer.notification("c1", more="x" * 20_000)) == 503
        assert await post(door, b"{", {}) == 503
        assert peer.subscriptions
        assert await it.changes() == []


async def test_a_collection_brings_the_poll_forward(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a thousand changes come as one notification: reading what changed is the poll's work."""
    peer = BusinessCentral()
    for number in range(3):
        peer.put(f"c{number}", "Acme", "2026-03-01T10:00:00Z")
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        assert await it.poll() == 1
        assert len(await it.changes()) == 3
        peer.put("c3", "Bolt", "2026-03-01T10:00:01Z")
        whole = f"{COMPANY}/customers?$filter=lastModifiedDateTime gt 2026-03-01T10:00:00Z"
        assert await it.poll(1) == 0
        assert await peer.notify(door, peer.notification("c3", "collection", resource=whole)) == 204
        assert await it.poll(1) == 1
        assert sorted(await it.final()) == ["c0", "c1", "c2", "c3"]


async def test_a_source_that_hangs_holds_neither_sender_nor_hub(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delivery is answered at once; the errand goes on by itself within its limits."""
    peer = BusinessCentral()
    peer.hang.clear()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        began = time.monotonic()
        assert await peer.notify(door, peer.notification("c1")) == 204
        assert time.monotonic() - began < 0.5
        await run_work(it)
        assert await it.changes() == []
        peer.hang.set()


async def test_a_hub_that_is_away_is_503_for_pointers_too(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errand is on the hub before the sender hears that all is well."""

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(services.events, name)

        async def publish(self, *_: object) -> None:
            raise HubUnavailable("the hub is away")

    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        it.capture.services = services._replace(events=Away())  # type: ignore[arg-type]
        assert await peer.notify(door, peer.notification("c1")) == 503


async def test_of_what_is_told_and_read_with_one_time_the_later_wins(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both number their runs after the other's: a source that counts in seconds does not go back in time."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        for number in range(4):
            peer.put("c1", f"read {number}", "2026-03-01T10:00:00Z")
            assert await it.poll() == 1
            assert (await it.final())["c1"]["displayName"] == f"read {number}"
            peer.put("c1", f"told {number}", "2026-03-01T10:00:00Z")
            await peer.notify(door, peer.notification("c1"))
            await run_work(it)
            assert (await it.final())["c1"]["displayName"] == f"told {number}"


FILED: dict[str, Any] = {
    "customers": {
        "pattern": "*.csv",
        "format": {"kind": "csv"},
        "primary_key": ["id"],
        "webhook": {},
        "entity": "company",
        "fields": {"name": "name"},
    }
}
MISTAKES = {
    "a webhook for files": ({"connector": "files", "files": {"path": "inbox"}}, "has no use for webhook"),
    "a stream's without the source's": (
        {"webhook": None, "connector": "files", "files": {"path": "inbox"}, "streams": FILED},
        "has no use for webhook",
    ),
    "two places for a key": (
        {"webhook": {"signature": {"kind": "shared_key", "header": "A", "query": "b", **KEY}}},
        "one place for the key",
    ),
    "a subscription elsewhere": (
        {"webhook": {"signature": {"kind": "stripe", **KEY}, "subscription": {}}},
        "business_central",
    ),
    "a pointer that can't be followed": (
        {"streams": {"customers": SHOP["streams"]["customers"] | {"webhook": {"reread": {"get": "x"}}}}},  # type: ignore[index]
        "reread needs a connection",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_webhook_is_named(name: str) -> None:
    """The message says what is wrong or what is allowed."""
    change, said = MISTAKES[name]
    with pytest.raises(ValidationError, match=said):
        SourceFile.model_validate(SHOP | change)


def test_the_examples_in_the_documentation_are_sources() -> None:
    """Every one can be copied into a file as it stands."""
    examples = re.findall(r"```yaml\n(.*?)```", Path("docs/connectors.md").read_text("utf-8"), re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        source, problems = validate(SourceFile, parse(example.encode(), "docs/connectors.md"))
        assert source is not None, problems


async def test_a_poll_finds_a_return_that_nobody_told(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read A, told B, and A again without a word: the poll says A, although it read A before."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        peer.put("c1", "A", "2026-03-01T10:00:00Z")
        assert await it.poll() == 1
        peer.put("c1", "B", "2026-03-01T10:00:00Z")
        await peer.notify(door, peer.notification("c1"))
        await run_work(it)
        assert (await it.final())["c1"]["displayName"] == "B"
        peer.put("c1", "A", "2026-03-01T10:00:00Z")
        assert await it.poll() == 1
        assert (await it.final())["c1"]["displayName"] == "A"


async def test_what_was_told_of_is_known_to_be_gone_when_a_poll_lacks_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created and told, deleted without a word: the full read finds it missing."""
    peer = BusinessCentral()
    async with serve(peer.app) as url, open_world(services, monkeypatch, central(url)) as (it, door):
        peer.put("c1", "A", "2026-03-01T10:00:00Z")
        assert await it.poll() == 1
        peer.put("c2", "B", "2026-03-01T10:00:00Z")
        await peer.notify(door, peer.notification("c2"))
        await run_work(it)
        del peer.customers["c2"]
        assert await it.poll() == 1
        assert list(await it.final()) == ["c1"]
