"""Files that land, through the function itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import azure.functions as func
import msgspec
import pytest

from flockiq.capture import files, functions
from flockiq.shared.services import Services
from tests.capture.conftest import FROM_HOST, World
from tests.capture.test_crash import Killed

BUREAU = {
    "source": "bureau",
    "connector": "files",
    "files": {"path": "inbox/bureau"},
    "limits": {"file_bytes": "1MB"},
    "streams": {
        "ratings": {
            "pattern": "ratings-*.csv",
            "format": {"kind": "csv"},
            "primary_key": ["tax_id"],
            "modified": "rated_at",
            "entity": "company",
            "fields": {"risk_score": "score"},
        }
    },
}


@pytest.fixture
async def it(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A capture with one source of files, which the functions use."""
    made = World(services, BUREAU)
    made.serve(monkeypatch)
    yield made
    await made.capture.close()


def rows(numbers: range, score: int = 50) -> str:
    """Rows of a ratings file."""
    return "".join(f"DE{number},{score},2026-03-01T10:00:00Z\n" for number in numbers)


HEADER = "tax_id,score,rated_at\n"


async def land(it: World, content: str | bytes, name: str = "bureau/ratings-1.csv", etag: str = "1") -> None:
    """Drop a file and tell of it, as a storage account does."""
    body = content.encode() if isinstance(content, str) else content
    await it.services.blobs.put(f"inbox/{name}", body)
    await told(created(name, etag, len(body)))


def created(name: str, etag: str = "1", size: int = 0) -> dict[str, Any]:
    """A BlobCreated event in the CloudEvents schema."""
    return {
        "specversion": "1.0",
        "type": "Microsoft.Storage.BlobCreated",
        "source": "/subscriptions/1/resourceGroups/a/providers/Microsoft.Storage/storageAccounts/b",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "time": "2026-03-01T10:00:00Z",
        "subject": f"/blobServices/default/containers/inbox/blobs/{name}",
        "data": {"api": "PutBlob", "eTag": etag, "contentLength": size, "url": f"https://b.example/inbox/{name}"},
    }


async def told(message: object) -> None:
    """Invoke the function with one message of hub files."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    await functions.capture_file([func.EventHubEvent(body=body, trigger_metadata=FROM_HOST)])


async def test_every_row_becomes_a_change(it: World) -> None:
    """Text as the file has it, nothing where it is empty, the row's own time."""
    await land(it, "\ufefftax_id,score,rated_at,note\nDE1,50,2026-03-01T10:00:00Z,\n" + 'DE2,60,,"a, ""b""\n"\n')
    first, second = await it.changes()
    assert msgspec.json.decode(first.data.after) == {
        "tax_id": "DE1",
        "score": "50",
        "rated_at": "2026-03-01T10:00:00Z",
        "note": None,
    }
    assert msgspec.json.decode(second.data.after)["note"] == 'a, "b"\n'
    assert first.data.ts_us == 1_772_359_200_000_000
    assert second.data.ts_us > first.data.ts_us  # the run's start stands in
    assert (await it.status("bureau", "ratings")).records == 2


async def test_the_same_file_twice_changes_nothing(it: World) -> None:
    """Told again, or written again with the same content; another content is read."""
    await land(it, HEADER + rows(range(3)))
    await land(it, HEADER + rows(range(3)))
    await land(it, HEADER + rows(range(3)), etag="2")
    assert len(await it.changes()) == 3
    await land(it, HEADER + rows(range(3), score=51), etag="3")
    assert len(await it.changes()) == 6


async def test_a_killed_reading_goes_on_where_it_was(
    it: World, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were published and noted are not published again."""
    monkeypatch.setattr(files, "ROWS", 10)
    content = (HEADER + rows(range(35))).encode()
    puts = 0

    class Mortal:
        def __getattr__(self, name: str) -> Any:
            return getattr(services.registry, name)

        async def put(self, key: str, value: bytes, etag: str | None) -> str:
            nonlocal puts
            puts += key.startswith("file/")
            if puts == 3:
                raise Killed
            return await services.registry.put(key, value, etag)

    it.capture.services = services._replace(registry=Mortal())  # type: ignore[arg-type]
    with pytest.raises(Killed):
        await land(it, content)
    it.capture.services = services
    await land(it, content)
    keys = [change.data.key for change in await it.changes()]
    assert sorted(set(keys), key=keys.index) == [f"DE{number}" for number in range(35)]
    assert len(keys) == 45  # the ten that were published but not noted come again, with the same ids
    assert len({change.id for change in await it.changes()}) == 35


async def test_bad_rows_become_dead_letters_and_the_rest_arrives(it: World) -> None:
    """Too few values, not UTF-8, no key, no time: each is kept with its row number or field."""
    bad = b"DE98\nDE\xff99,1,\n,5,\nDE97,1,soon\n\n"
    await land(it, (HEADER + rows(range(5))).encode() + bad + rows(range(5, 7)).encode())
    assert len(await it.changes()) == 7
    reasons = sorted(letter["Reason"] for letter in await it.letters())
    assert len(reasons) == 4
    assert any("row 7 has 1 values where the header has 3" in reason for reason in reasons)
    assert any("row 8 is not utf-8 text" in reason for reason in reasons)


USELESS = {
    "empty": (b"", "the file is empty"),
    "no key column": (b"a,b\n" + b"1,2\n" * 30, "30 of 30 records can't be taken"),
    "a column twice": (b"tax_id,tax_id\n1,2\n", "names a column twice"),
    "too large": (b"x" * 1_000_001, "limits.file_bytes is 1,000,000"),
    "not text": (b"\xff\xfe" * 500, "names a column twice, or not at all"),
}


@pytest.mark.parametrize("name", USELESS)
async def test_a_useless_file_is_one_dead_letter(it: World, name: str) -> None:
    """The letter names the file and why; it is not tried for ever."""
    content, said = USELESS[name]
    await land(it, content)
    await land(it, content)
    (letter,) = [letter for letter in await it.letters() if letter["Key"]]
    assert letter["Key"] == "inbox/bureau/ratings-1.csv"
    assert said in letter["Reason"]
    assert await it.changes() == []


async def test_a_file_that_is_gone_is_a_dead_letter(it: World) -> None:
    """It may have been removed before it was read; that must not stop the hub."""
    await told([created("bureau/ratings-2.csv")])
    (letter,) = await it.letters()
    assert "it is gone" in letter["Reason"]


async def test_files_of_nobody_are_passed_over(it: World) -> None:
    """Another folder, a deeper one, another name, another kind of event."""
    for name in ("other/ratings-1.csv", "bureau/old/ratings-1.csv", "bureau/ratings-1.txt", "bureau2/ratings-1.csv"):
        await land(it, HEADER + rows(range(1)), name=name)
    await told(created("bureau/ratings-1.csv") | {"type": "Microsoft.Storage.BlobDeleted"})
    assert await it.changes() == []
    assert await it.letters() == []


async def test_event_grids_own_schema_is_understood(it: World) -> None:
    """An array of events with ``eventType``."""
    await it.services.blobs.put("inbox/bureau/ratings-1.csv", (HEADER + rows(range(2))).encode())
    event = created("bureau/ratings-1.csv")
    event["eventType"] = event.pop("type")
    await told([event, event])
    assert len(await it.changes()) == 2


@pytest.mark.parametrize(
    "message",
    [b"", b"[1]", b"{", b"\xff", [created("../../etc/passwd")], [created("bureau/../../x.csv")], [created("")]],
)
async def test_a_message_that_is_no_event_becomes_a_dead_letter(it: World, message: object) -> None:
    """Nothing is read, and the hub goes on."""
    await told(message)
    assert len(await it.letters()) == 1
    assert await it.changes() == []
