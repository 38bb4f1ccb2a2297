"""Rows on their way to the DuckDB file, which one process at a time can hold: files in a folder, taken in by it.

What waits together is left as one file, on disk when ``leave`` returns. A file is taken as a whole, and DuckDB notes
which it has in the transaction that brings their rows (intake.py): a crash neither loses nor doubles a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import NamedTuple

import msgspec
import xxhash
import zstandard

from flockiq.shared.adapters.embedded.insertion import Insertion
from flockiq.shared.errors import QueryError, StateCorrupt, StoreUnavailable
from flockiq.shared.ports import Table
from flockiq.shared.tables import read_tables

SPOOL = ".spool"  # how the folder's name ends, that begins as the DuckDB file's
MOST_BYTES = 1 << 29  # that may wait; whoever has more waits for them to be taken, and with it what it folds
LEAVE_S = 60.0  # how long it waits, before it is to come again
FLUSH_S = 30.0  # how long a flush waits for the process that holds DuckDB
GROUP = 256  # ingestions in one file
STALE_S = 10.0  # nobody writes a file for so long
_LOOK_S = 0.02
_DONE, _HALF, _DAMAGED = ".rows", ".half", ".damaged"  # how the names of files end
_NAME = re.compile(rf"(\d{{20}})-\d+-\d+{re.escape(_DONE)}")  # when (ns since the epoch), by which process, which one
_DIGEST = 8  # bytes of a checksum, before what it is of


class Given(msgspec.Struct, array_like=True, frozen=True):
    """Rows of one table: columns as ``tabular.packed`` gives them, or NDJSON, compressed while it is kept."""

    table: str
    columns: bool
    rows: bytes


class Waiting(NamedTuple):
    """A file that waits: its name, its bytes, and when it was left (seconds since the epoch)."""

    name: str
    size: int
    left_s: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Given]).decode


class Spool:
    """The folder between the processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held = 0  # bytes that waited when this process left its last rows
        self._waiting: deque[tuple[Given, Future[None]]] = deque()
        self._writing = ThreadPoolExecutor(1, "spool-write")
        self._numbers = count()
        self._closed = False

    async def leave(self, table: str, rows: bytes, *, columns: bool) -> None:
        """Rows for the process that holds DuckDB; durable when it returns.

        StoreUnavailable if MOST_BYTES wait already and nobody takes them, or the folder can't be written to.
        """
        if self._closed:
            raise StoreUnavailable(f"{self.path} has been closed; open it again")
        await self._room()
        outcome: Future[None] = Future()
        self._waiting.append((Given(table, columns, rows), outcome))
        self._writing.submit(self._write_waiting)
        await asyncio.wrap_future(outcome)

    def waiting(self) -> Sequence[Waiting]:
        """The files that wait, the oldest first."""
        found: list[Waiting] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                if (named := _NAME.fullmatch(entry.name)) is not None:
                    with contextlib.suppress(FileNotFoundError):  # it has been taken meanwhile
                        found.append(Waiting(entry.name, entry.stat().st_size, int(named[1]) / 1e9))
        return sorted(found)

    def read(self, name: str) -> list[Given]:
        """What a file holds. StateCorrupt if that is not what was written."""
        body = memoryview((self.path / name).read_bytes())
        digest, rows = body[:_DIGEST], body[_DIGEST:]
        if xxhash.xxh3_64_digest(rows) != digest:
            raise StateCorrupt(f"{self.path / name} is not what was written")
        decompress = zstandard.ZstdDecompressor().decompress
        return [
            one if one.columns else msgspec.structs.replace(one, rows=decompress(one.rows)) for one in _decode(rows)
        ]

    def forget(self, names: Sequence[str]) -> None:
        """Remove files that are in DuckDB, for good."""
        if names:
            for name in names:
                (self.path / name).unlink(missing_ok=True)
            _sync(self.path)

    def set_aside(self, name: str) -> None:
        """Take a damaged file out of the way of others."""
        (self.path / name).rename((self.path / name).with_suffix(_DAMAGED))

    def sweep(self) -> None:
        """Remove what nobody can take: files that were left half written, or set aside, STALE_S ago."""
        until = time.time() - STALE_S
        for path in [*self.path.glob(f"*{_HALF}"), *self.path.glob(f"*{_DAMAGED}")]:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime <= until:
                    path.unlink()

    async def close(self) -> None:
        """Write what is in hand. Closing twice is harmless."""
        if not self._closed:
            self._closed = True
            await asyncio.wrap_future(self._writing.submit(lambda: None))
            self._writing.shutdown()

    async def _room(self) -> None:
        """Wait until no more than MOST_BYTES are left."""
        until = time.monotonic() + LEAVE_S
        while self.held > MOST_BYTES:
            self.held = sum(one.size for one in await asyncio.to_thread(self.waiting))
            if self.held <= MOST_BYTES:
                return
            if time.monotonic() > until:
                raise StoreUnavailable(
                    f"{self.path}: {MOST_BYTES:,} bytes of rows wait for the history; is the process that holds DuckDB "
                    "running, and is its disk well?"
                )
            await asyncio.sleep(_LOOK_S)

    def _write_waiting(self) -> None:
        """One file for all that wait; every call of ``leave`` brings one here, and late ones find nothing."""
        group: list[tuple[Given, Future[None]]] = []
        while self._waiting and len(group) < GROUP:
            given, outcome = self._waiting.popleft()
            if outcome.set_running_or_notify_cancel():
                group.append((given, outcome))
        if not group:
            return
        try:
            self._write([given for given, _ in group])
            self.held = sum(one.size for one in self.waiting())
        except OSError as error:
            failure = StoreUnavailable(f"{self.path}: {error}; check the disk's space and rights")
            for _, outcome in group:
                outcome.set_exception(failure)
            return
        for _, outcome in group:
            outcome.set_result(None)

    def _write(self, given: Sequence[Given]) -> None:
        compress = zstandard.ZstdCompressor(level=1).compress
        body = _encode([one if one.columns else msgspec.structs.replace(one, rows=compress(one.rows)) for one in given])
        self.path.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers)}"
        half = self.path / f"{name}{_HALF}"
        with half.open("xb") as file:
            file.write(xxhash.xxh3_64_digest(body))
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        half.rename(half.with_suffix(_DONE))
        _sync(self.path)


def _sync(folder: Path) -> None:
    """Bring the folder's own entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SpooledAnalytics:
    """Analytics of a process beside the one that holds the DuckDB file: it can tell, and ask nothing."""

    def __init__(self, spool: Spool, eventhouse: Path) -> None:
        self._spool = spool
        self._eventhouse = eventhouse
        self._insertion: Insertion | None = None

    async def ingest(self, table: str, rows: bytes) -> None:
        """See ``Analytics.ingest``; errors as ``DuckdbAnalytics`` raises them."""
        if rows.strip():
            (await self._checking()).lines(table, rows)
            await self._spool.leave(table, rows, columns=False)

    async def ingest_columns(self, table: str, columns: bytes) -> None:
        """See ``TakesColumns.ingest_columns``."""
        (await self._checking()).named(table, columns)
        await self._spool.leave(table, columns, columns=True)

    async def query(self, kql: str, parameters: Mapping[str, str | int | float] | None = None) -> Table:  # noqa: ARG002 - the port's
        """Never answers."""
        raise QueryError("this process does not hold the DuckDB file; ask the one that does, over HTTP")

    async def flush(self) -> None:
        """See ``Analytics.flush``. StoreUnavailable if nobody takes the rows in."""
        until = time.monotonic() + FLUSH_S
        while await asyncio.to_thread(self._spool.waiting):
            if time.monotonic() > until:
                raise StoreUnavailable(f"{self._spool.path}: rows wait; is the process that holds DuckDB running?")
            await asyncio.sleep(_LOOK_S)

    async def remove(self, table: str, like: Sequence[Mapping[str, str]]) -> int:  # noqa: ARG002 - the port's
        """Never removes."""
        raise QueryError("this process does not hold the DuckDB file; ask the one that does, over HTTP")

    async def close(self) -> None:
        """See ``Analytics.close``."""
        await self._spool.close()

    async def _checking(self) -> Insertion:
        if self._insertion is None:
            self._insertion = Insertion(await asyncio.to_thread(read_tables, self._eventhouse / "tables.kql"))
        return self._insertion
