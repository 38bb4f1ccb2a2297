"""Files dropped into the inbox become events, at least once and only when they are complete."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flockiq.local.host.files import Watcher
from flockiq.local.host.ledger import Ledger
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.adapters.embedded.events import SqliteEvents
from flockiq.shared.errors import HubUnavailable
from tests.host.apps import Start, eventually


class Inbox:
    """A watcher under a test's control, over a real folder and a real stream."""

    def __init__(self, data: Path, events: SqliteEvents) -> None:
        self.folder = data / "blobs" / "inbox"
        self._data = data
        self._events = events
        self._ledger = Ledger(data)
        self.watcher = Watcher(data, events, self._ledger, asyncio.Event())

    def restart(self) -> None:
        """Forget everything that is not stored."""
        self._ledger.close()
        self._ledger = Ledger(self._data)
        self.watcher = Watcher(self._data, self._events, self._ledger, asyncio.Event())

    def close(self) -> None:
        """Let go of the data folder."""
        self._ledger.close()

    async def looks(self, times: int = 2) -> list[int]:
        """How many files each of the next looks announced."""
        return [await self.watcher.look() for _ in range(times)]

    async def published(self) -> list[dict[str, Any]]:
        """Every event in the hub."""
        return [json.loads(event.body) for event in await self._events.read("files", 0, 0, 1000)]


@pytest.fixture
async def inbox(data: Path, events: SqliteEvents) -> AsyncIterator[Inbox]:
    """An empty inbox."""
    inbox = Inbox(data, events)
    yield inbox
    inbox.close()


async def test_a_file_becomes_a_blob_created_event(inbox: Inbox) -> None:
    """In the words of Event Grid's CloudEvents schema."""
    path = inbox.folder / "erp" / "2026 11.csv"
    path.parent.mkdir()
    path.write_bytes(b"id,name\n1,a\n")
    await inbox.looks()
    (event,) = await inbox.published()
    assert event["specversion"] == "1.0"
    assert event["type"] == "Microsoft.Storage.BlobCreated"
    assert event["subject"] == "/blobServices/default/containers/inbox/blobs/erp/2026 11.csv"
    assert event["time"].endswith("Z")
    assert event["source"].startswith("/")
    assert event["data"]["contentLength"] == 12
    assert event["data"]["contentType"] == "text/csv"
    assert event["data"]["blobType"] == "BlockBlob"
    assert event["data"]["api"] == "PutBlob"
    assert event["data"]["url"] == path.as_uri()
    assert event["data"]["eTag"].startswith("0x")


async def test_a_file_is_where_the_app_reads_files_before_its_event_says_so(
    inbox: Inbox, data: Path, events: SqliteEvents, tmp_path: Path
) -> None:
    """Blobs that are not the inbox's own folder get a copy; a file that is gone by then is not announced."""
    elsewhere = FolderBlobs(tmp_path / "elsewhere")
    ledger = Ledger(tmp_path)
    watcher = Watcher(data, events, ledger, asyncio.Event(), elsewhere)
    (inbox.folder / "a.csv").write_bytes(b"id\n1\n")
    (inbox.folder / "b.csv").write_bytes(b"id\n2\n")
    await watcher.look()
    gone = watcher._put

    async def put(path: str) -> bool:
        (inbox.folder / "b.csv").unlink(missing_ok=True)
        return await gone(path)

    watcher._put = put  # type: ignore[method-assign]
    await watcher.look()
    assert [event["subject"][-6:] for event in await inbox.published()] == ["/a.csv"]
    assert await elsewhere.get("inbox/a.csv") == b"id\n1\n"
    await elsewhere.close()
    ledger.close()


async def test_a_growing_file_waits_until_it_is_complete(inbox: Inbox) -> None:
    """As long as two looks differ in size or time, nothing is said."""
    path = inbox.folder / "a.csv"
    announced = []
    for size in range(1, 4):
        path.write_bytes(b"x" * size)
        os.utime(path, ns=(size, size))
        announced += await inbox.looks(1)
    announced += await inbox.looks(2)
    assert announced == [0, 0, 0, 1, 0]
    assert [event["data"]["contentLength"] for event in await inbox.published()] == [3]


@pytest.mark.parametrize("name", ["a.csv.tmp", "a.csv.PART", ".a.csv"])
async def test_an_unfinished_name_waits_for_its_rename(inbox: Inbox, name: str) -> None:
    """A file that calls itself unfinished is announced under its final name only."""
    (inbox.folder / name).write_bytes(b"x")
    assert await inbox.looks(3) == [0, 0, 0]
    (inbox.folder / name).rename(inbox.folder / "a.csv")
    assert sum(await inbox.looks()) == 1
    assert [event["subject"][-6:] for event in await inbox.published()] == ["/a.csv"]


async def test_a_restart_announces_nothing_twice_and_misses_nothing(inbox: Inbox) -> None:
    """What was announced is stored; what came while the host was down is found."""
    (inbox.folder / "a.csv").write_bytes(b"x")
    await inbox.looks()
    inbox.restart()
    (inbox.folder / "b.csv").write_bytes(b"x")
    assert sum(await inbox.looks()) == 1
    assert [event["subject"][-6:] for event in await inbox.published()] == ["/a.csv", "/b.csv"]


async def test_a_file_written_anew_is_a_new_event(inbox: Inbox) -> None:
    """Overwritten, or removed and put back: each version has an event and an id of its own."""
    path = inbox.folder / "a.csv"
    for version in range(3):
        path.write_bytes(b"x")
        os.utime(path, ns=(version, version))
        await inbox.looks()
    path.unlink()
    await inbox.looks()
    path.write_bytes(b"x")
    os.utime(path, ns=(2, 2))
    await inbox.looks()
    ids = [event["id"] for event in await inbox.published()]
    assert len(ids) == 4
    assert len(set(ids)) == 3


async def test_a_hub_that_does_not_answer_gets_the_file_later(
    inbox: Inbox, events: SqliteEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file counts as announced only once its event is acknowledged."""
    (inbox.folder / "a.csv").write_bytes(b"x")
    await inbox.looks(1)
    with monkeypatch.context() as patch:

        async def refuse(*_: object) -> None:
            raise HubUnavailable("busy")

        patch.setattr(events, "publish", refuse)
        with pytest.raises(HubUnavailable):
            await inbox.looks(1)
    assert sum(await inbox.looks()) == 1


async def test_links_are_not_followed(inbox: Inbox, tmp_path: Path) -> None:
    """A link may lead out of the inbox, or round in circles."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_bytes(b"x")
    (inbox.folder / "folder").symlink_to(outside)
    (inbox.folder / "file.csv").symlink_to(outside / "secret.csv")
    (inbox.folder / "loop").symlink_to(inbox.folder)
    assert await inbox.looks(3) == [0, 0, 0]


async def test_a_dropped_file_reaches_the_function(start: Start, data: Path) -> None:
    """End to end: the host watches because a function reads the hub files."""
    running = await start(
        """
        import json

        @hub("files")
        async def capture_file(events: Events) -> None:
            seen.extend(json.loads(event.get_body())["subject"] for event in events)
        """
    )
    partial = data / "blobs" / "inbox" / "a.csv.part"
    await asyncio.to_thread(partial.write_bytes, b"x")
    partial.rename(partial.with_suffix(""))
    await eventually(lambda: running.app.seen == ["/blobServices/default/containers/inbox/blobs/a.csv"])
