"""Dead letters as programs and people meet them over HTTP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from flockiq.serve.app import application
from flockiq.serve.deadletters import MOST_SHOWN, DeadLetterRecord
from flockiq.shared.deadletters import DeadLetter, bury
from tests.deadletters.world import US, World, change

HOSTILE = "<script>alert(1)</script>"
LETTER = DeadLetter(
    stage="merge",
    source="web",
    stream="contacts",
    key=HOSTILE,
    field="staff",
    line=3,
    reason="'many' is not a whole number",
    at_us=US,
    body=change("7", {"name": HOSTILE, "staff": "many"}),
)
UNREADABLE = DeadLetter(stage="process", source="", stream="", reason="is no zstd", at_us=US - 1, body=b"\xff\xfe")


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A program that asks an app with two records set aside."""
    await bury(world.services, [LETTER, UNREADABLE])
    transport = httpx.ASGITransport(application(lambda: world.services))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7071") as asking:
        yield asking


async def ids(client: httpx.AsyncClient, **which: str) -> list[str]:
    """The ids of the letters listed."""
    return [each["id"] for each in (await client.get("/api/dead-letters", params=which)).json()["dead_letters"]]


async def test_letters_are_listed_newest_first_and_filtered(client: httpx.AsyncClient) -> None:
    """By stage, source, stream and state, a page at a time."""
    first, second = (await client.get("/api/dead-letters")).json()["dead_letters"]
    assert first["key"] == HOSTILE
    assert (first["field"], first["line"], first["open"], first["replayed_at"]) == ("staff", 3, True, "")
    for which in ({"stage": "merge"}, {"source": "web"}, {"stream": "contacts"}, {"stage": "merge", "state": "all"}):
        assert await ids(client, **which) == [first["id"]]
    assert await ids(client, state="replayed") == []
    page = (await client.get("/api/dead-letters", params={"limit": 1})).json()
    assert await ids(client, limit="1", continuation=page["continuation"]) == [second["id"]]
    assert (await client.get("/api/dead-letters", params={"continuation": "' or 1"})).status_code == 400
    assert (await client.get("/api/dead-letters", params={"state": "lost"})).status_code == 422


async def test_a_record_is_shown_as_text_or_in_base64_and_cut_at_a_size(
    client: httpx.AsyncClient, world: World
) -> None:
    """What is shown says what it is, and whether it is all of it."""
    await bury(world.services, [msgspec.structs.replace(LETTER, key="long", body=b"x" * 1_000_001)])
    found = {}
    for letter_id in await ids(client):
        answer = await client.get(f"/api/dead-letters/{letter_id}")
        record = msgspec.json.decode(answer.content, type=DeadLetterRecord)
        found[record.letter.key] = record
    assert found[HOSTILE].record.encode() == LETTER.body
    assert (found[HOSTILE].base64, found[HOSTILE].cut, found[HOSTILE].refusal) == (False, False, "")
    assert base64.b64decode(found[""].record) == UNREADABLE.body
    assert found[""].base64
    assert (len(found["long"].record), found["long"].size, found["long"].cut) == (MOST_SHOWN, 1_000_000, True)
    assert (await client.get("/api/dead-letters/nobody")).status_code == 404


async def test_a_replay_sends_the_record_and_closes_the_letter(client: httpx.AsyncClient, world: World) -> None:
    """The answer says where it went; what can't be sent is a conflict that says what to do."""
    merge, process = await ids(client)
    answer = await client.post(f"/api/dead-letters/{merge}/replay")
    assert (answer.status_code, answer.json()["hub"]) == (200, "changes")
    assert sum([(await world.services.events.bounds("changes", partition)).end for partition in range(2)]) == 1
    assert await ids(client) == [process]
    assert (await client.get("/api/summary")).json()["dead_letters"] == 1
    refused = await client.post(f"/api/dead-letters/{process}/replay")
    assert refused.status_code == 409
    assert "have it send the record again" in refused.json()["detail"]
    assert (await client.post("/api/dead-letters/nobody/replay")).status_code == 404


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://elsewhere.example"}])
@pytest.mark.parametrize("prefix", ["/api", ""])
async def test_a_page_of_another_site_can_replay_nothing(
    client: httpx.AsyncClient, headers: dict[str, str], prefix: str
) -> None:
    """Replaying changes something: it is taken from our own page, or from a program."""
    letter, _ = await ids(client)
    answer = await client.post(f"{prefix}/dead-letters/{letter}/replay", headers=headers)
    assert answer.status_code == 403
    assert letter in await ids(client)


async def test_a_person_finds_a_letter_reads_it_and_replays_it(client: httpx.AsyncClient) -> None:
    """From the list to its page to the press; what the record holds stays text."""
    merge, process = await ids(client)
    listed = (await client.get("/sources")).text
    assert f'href="/dead-letters/{merge}"' in listed
    assert "not a whole number" in listed
    page = (await client.get(f"/dead-letters/{merge}")).text
    assert "&lt;script&gt;" in page
    assert HOSTILE not in listed + page
    assert f'action="/dead-letters/{merge}/replay"' in page
    done = await client.post(f"/dead-letters/{merge}/replay", headers={"sec-fetch-site": "same-origin"})
    assert (done.status_code, done.headers["location"]) == (303, f"/dead-letters/{merge}")
    assert "Replay again" in (await client.get(f"/dead-letters/{merge}")).text
    refused = (await client.get(f"/dead-letters/{process}")).text
    assert "It can't be replayed" in refused
    assert "/replay" not in refused
    gone = await client.get("/dead-letters/nobody", headers={"accept": "text/html"})
    assert (gone.status_code, "Not found" in gone.text) == (404, True)
