"""What Dataverse tells, in its own words, and what it leaves out and has to be read again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flockiq.shared.services import Services
from tests.capture.peers.server import serve
from tests.capture.telling import KEY, KNOCK, after, open_world, post, run_work


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
