"""Files by path in one folder, written whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from flockiq.shared.errors import BadRecord, Conflict, NotFound, StoreUnavailable
from flockiq.shared.paths import RESERVED, checked

STALE_S = 3600.0  # a file this old there was left by a crash


class FolderBlobs:
    """Blobs over a folder. A path is names joined by ``/``; BadRecord for any other.

    Unlike Azure Blob Storage a folder can't hold both ``a`` and ``a/b``: the second is a BadRecord.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._thread = ThreadPoolExecutor(1, "blobs")
        self._ready = False
        self._closed = False

    async def put(self, path: str, body: bytes, *, create_only: bool = False) -> None:
        """See ``Blobs.put``."""
        name = checked(path)
        await self._run(lambda: self._put(name, body, create_only=create_only))

    async def get(self, path: str) -> bytes:
        """See ``Blobs.get``."""
        name = checked(path)
        return await self._run(lambda: self._get(name))

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See ``Blobs.list``."""
        return await self._run(lambda: self._list(prefix, after, limit))

    async def delete(self, path: str) -> None:
        """See ``Blobs.delete``."""
        name = checked(path)
        await self._run(lambda: self._delete(name))

    async def close(self) -> None:
        """See ``Blobs.close``."""
        if not self._closed:
            await self._run(lambda: None)  # what is being written is finished without holding the loop
            self._closed = True
            self._thread.shutdown()

    async def _run[T](self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreUnavailable(f"{self.root} has been closed; open it again")
        try:
            return await asyncio.wrap_future(self._thread.submit(work))
        except (NotADirectoryError, IsADirectoryError) as error:
            raise BadRecord("a folder and a file can't have the same name", field=str(error.filename)) from error
        except OSError as error:
            raise StoreUnavailable(f"{self.root}: {error}; check the disk's space and rights") from error

    def _put(self, path: str, body: bytes, *, create_only: bool) -> None:
        self._prepare()
        target = self.root / path
        incoming = self.root / RESERVED / uuid.uuid4().hex
        try:
            with incoming.open("xb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            _make_folder(target.parent)
            if create_only:
                os.link(incoming, target)  # fails if the target exists, in one step
            else:
                incoming.replace(target)
            _sync_folder(target.parent)
        except FileExistsError as error:
            if create_only and target.is_file():
                raise Conflict(f"blob {path!r} exists already") from error
            raise BadRecord("a folder and a file can't have the same name", field=path) from error
        finally:
            incoming.unlink(missing_ok=True)

    def _get(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound(f"there is no blob {path!r}") from error

    def _list(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return [*islice(_paths(self.root, "", prefix, after), max(limit, 0))]

    def _delete(self, path: str) -> None:
        target = self.root / path
        try:
            target.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        except (IsADirectoryError, PermissionError):  # which one unlinking a folder gives is the system's choice
            if target.is_dir():
                return
            raise
        _sync_folder(target.parent)

    def _prepare(self) -> None:
        """Make the folders, and once remove what a crash left half written."""
        if self._ready:
            return
        incoming = self.root / RESERVED
        try:
            _make_folder(incoming)
        except OSError as error:
            raise StoreUnavailable(f"{self.root} can't be made: {error}") from error
        stale = time.time() - STALE_S
        for left in incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another writer has just finished with it
                if left.stat().st_mtime < stale:
                    left.unlink()
        self._ready = True


def _paths(folder: Path, within: str, prefix: str, after: str) -> Iterator[str]:
    """Paths below ``folder`` in the order of their texts, without visiting folders that hold none asked for."""
    try:
        entries = sorted(
            (entry.name + "/" if entry.is_dir() else entry.name, entry.path) for entry in os.scandir(folder)
        )
    except FileNotFoundError:
        return
    for name, place in entries:
        path = within + name
        if path == RESERVED + "/":
            continue
        if not path.endswith("/"):
            if path > after and path.startswith(prefix):
                yield path
        elif (path.startswith(prefix) or prefix.startswith(path)) and (path > after or after.startswith(path)):
            yield from _paths(Path(place), path, prefix, after)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each durably."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
