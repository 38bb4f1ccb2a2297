"""Files dropped into ``<data>/blobs/inbox`` become events in the hub ``files``.

In Azure, Event Grid sends a BlobCreated event for every blob of the container ``inbox``; here this
watcher does, in the same words (the CloudEvents schema), at least once per version of a file.
A file is complete when two looks in a row find the same size and time: one that was renamed into
place passes at once, one that is being written waits. Files called ``.something``, ``*.tmp`` or
``*.part`` are unfinished by their own word. Where the app's blobs are not that folder, a file is put
there first.

https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import mimetypes
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from flockiq.local.host.errors import Stopped
from flockiq.local.host.ledger import FileVersion, Ledger
from flockiq.local.host.retries import unless_stopped
from flockiq.shared.adapters.embedded.blobs import FolderBlobs
from flockiq.shared.errors import TransientError
from flockiq.shared.ports import Blobs, EventStream, OutgoingEvent

log = logging.getLogger("flockiq.host")

HUB = "files"
CONTAINER = "inbox"
_LOOK_S = 0.5
_BUSY_SHARE = 10  # a large inbox is looked at less often: at most a tenth of the time
_BATCH = 100
_UNFINISHED = (".tmp", ".part")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Watcher:
    """Looks into the inbox until the host stops; ``blobs`` are where the app will look for what it finds."""

    def __init__(
        self, data: Path, events: EventStream, ledger: Ledger, stopping: asyncio.Event, blobs: Blobs | None = None
    ) -> None:
        self._inbox = (data / "blobs" / CONTAINER).resolve()
        self._events = events
        self._ledger = ledger
        self._stopping = stopping
        held = isinstance(blobs, FolderBlobs) and blobs.root.resolve() == self._inbox.parent
        self._blobs = None if held else blobs
        self._inbox.mkdir(parents=True, exist_ok=True)
        self._announced = ledger.announced()
        self._seen: dict[str, FileVersion] = {}
        self._took_s = 0.0

    async def run(self) -> None:
        """One look after another. A hub that takes nothing, or a folder that can't be read, is tried again."""
        try:
            while True:
                try:
                    await self.look()
                except (TransientError, OSError) as error:
                    log.warning("the inbox waits: %s: %s", type(error).__name__, error)
                pause = max(_LOOK_S, _BUSY_SHARE * self._took_s)
                await unless_stopped(self._stopping, asyncio.sleep(pause))
        except Stopped:
            return

    async def look(self) -> int:
        """Announce every file that is complete and new; how many were."""
        began = time.monotonic()
        found = await asyncio.to_thread(lambda: dict(_files(self._inbox)))
        self._took_s = time.monotonic() - began  # a hub that is slow to take what is found makes no inbox large
        complete = [
            (path, version)
            for path, version in found.items()
            if self._seen.get(path) == version and self._announced.get(path) != version
        ]
        self._seen = found
        gone = self._announced.keys() - found.keys()
        self._ledger.forget(gone)
        for path in gone:
            del self._announced[path]
        complete.sort(key=lambda file: (file[1].mtime_ns, file[0]))
        for start in range(0, len(complete), _BATCH):
            batch = [file for file in complete[start : start + _BATCH] if await self._put(file[0])]
            bodies = [created(self._inbox, path, version) for path, version in batch]
            await self._events.publish(HUB, [OutgoingEvent(0, body) for body in bodies])
            for path, version in batch:
                self._announced[path] = version
                self._ledger.announce(path, version)
        return len(complete)

    async def _put(self, path: str) -> bool:
        """Put a file where the app will look for it; False if it was taken away meanwhile."""
        if self._blobs is not None:
            try:
                body = await asyncio.to_thread((self._inbox / path).read_bytes)
            except FileNotFoundError:
                return False
            await self._blobs.put(f"{CONTAINER}/{path}", body)
        return True


def created(inbox: Path, path: str, version: FileVersion) -> bytes:
    """The BlobCreated event of one version of a file; the same version gives the same event."""
    etag = f"0x{version.mtime_ns:016X}{version.size:X}"
    event = {
        "specversion": "1.0",
        "id": hashlib.sha256(f"{path}\0{etag}".encode()).hexdigest()[:32],
        "source": f"/local/storageAccounts/{inbox.parent.parent.name}",
        "subject": f"/blobServices/default/containers/{CONTAINER}/blobs/{path}",
        "type": "Microsoft.Storage.BlobCreated",
        "time": _EPOCH + timedelta(microseconds=version.mtime_ns // 1000),
        "data": {
            "api": "PutBlob",
            "eTag": etag,
            "contentType": mimetypes.guess_type(path)[0] or "application/octet-stream",
            "contentLength": version.size,
            "blobType": "BlockBlob",
            "url": (inbox / path).as_uri(),
            "sequencer": f"{version.mtime_ns:032x}",
        },
    }
    return msgspec.json.encode(event)


def _files(folder: Path) -> Iterator[tuple[str, FileVersion]]:
    """Every finished-looking file below ``folder``. Links are not followed: they may lead anywhere."""
    pending = [folder]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except FileNotFoundError:
            continue  # a folder taken away while we looked
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and not entry.name.lower().endswith(_UNFINISHED):
                try:
                    path = Path(entry.path).relative_to(folder).as_posix()
                    path.encode()
                    status = entry.stat(follow_symlinks=False)
                except (FileNotFoundError, UnicodeEncodeError):
                    continue  # taken away while we looked, or a name no text can carry
                yield path, FileVersion(status.st_size, status.st_mtime_ns)
