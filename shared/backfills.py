"""Backfills as every instance sees them: what was asked for, its slices, how far each is read.

Two kinds of documents in the registry. ``backfill/<tenant>/<source>/<stream>`` is the stream's last
backfill; who asks for one and who cancels it write it, and capture as it goes on. ``slice/…/<id>/<name>``
is one slice, written only by who holds its lease, so that reading in parallel never waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from flockiq.shared.errors import Conflict, NotFound, StoreUnavailable
from flockiq.shared.ports import Document, Registry
from flockiq.shared.positions import hash_id

State = Literal["asked", "running", "done", "cancelled"]
OPEN: Final = ("asked", "running")
_TRIES: Final = 10


class Backfill(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stream's past, being read. Times are µs since the epoch."""

    id: str
    state: State = "asked"
    since_us: int = 0  # records changed before are left alone; 0: none are
    asked_us: int = 0
    started_us: int = 0
    ended_us: int = 0
    run: int = 0  # of all its slices: greater than any begun before it, smaller than any begun after it
    run_us: int = 0  # stands in for a source time that is missing
    definition: str = ""  # of the stream, as it was when the slices were made
    why: str = ""  # it was cancelled, or can't begin
    slices: int = 0  # once it has ended; before that they are counted
    records: int = 0  # likewise
    cleared: bool = False  # its slices are gone


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a slice asks for: a length of time, a range of keys, some ids, or everything."""

    since_us: int = 0
    until_us: int = 0  # not included; 0: no time
    first: str = ""
    last: str = ""  # not included; "": no range
    ids: tuple[str, ...] = ()


class Slice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One slice: what it asks for, and where its reading stands."""

    span: Span = Span()
    state: Literal["open", "done", "split"] = "open"
    next: str = ""  # the page to go on with; "" for the first
    job: str = ""  # that the source prepares it by
    job_us: int = 0
    pages: int = 0  # of the reading in progress
    counted: int = 0  # records the source gave in it
    total: int = -1  # as many as the source said there would be; -1: it did not
    row: int = 0  # of the backfill's run, counted up by this slice
    records: int = 0  # published
    greatest_us: int = 0  # source time
    failures: int = 0  # in a row
    error: str = ""  # of the last one
    retry_us: int = 0  # when it is tried again


class Progress(msgspec.Struct, frozen=True):
    """How far a backfill is."""

    slices: int = 0
    done: int = 0
    part: float = 0.0  # of the whole, from 0 to 1, as far as can be told
    records: int = 0
    failing: int = 0  # slices whose last reading failed
    error: str = ""  # why one of them did
    retry_us: int = 0  # when that one is tried again


def progress(backfill: Backfill, slices: Mapping[str, Slice]) -> Progress:
    """How far a backfill with these slices is. Pure."""
    if backfill.state not in OPEN:
        done = backfill.slices if backfill.state == "done" else 0
        return Progress(backfill.slices, done, float(backfill.state == "done"), backfill.records)
    leaves = [each for each in slices.values() if each.state != "split"]
    failing = [each for each in leaves if each.error]
    worst = max(failing, key=lambda each: each.failures, default=Slice())
    done = sum(each.state == "done" for each in leaves)
    read = done + sum(each.counted / each.total for each in leaves if each.state == "open" and each.total > 0)
    return Progress(
        slices=len(leaves),
        done=done,
        part=min(read / len(leaves), 1.0) if leaves else 0.0,
        records=sum(each.records for each in slices.values()),
        failing=len(failing),
        error=worst.error,
        retry_us=worst.retry_us,
    )


_backfill = msgspec.json.Decoder(Backfill).decode
_slice = msgspec.json.Decoder(Slice).decode


class Backfills:
    """A tenant's backfills in the registry."""

    def __init__(self, registry: Registry, tenant: str) -> None:
        self._registry = registry
        self._prefix = f"backfill/{tenant}/"
        self._slices = f"slice/{tenant}/"

    async def all(self) -> dict[tuple[str, str], Backfill]:
        """{(source, stream): its last backfill}."""
        documents = await self._registry.list(self._prefix)
        return {_names(key.removeprefix(self._prefix)): _backfill(found.value) for key, found in documents.items()}

    async def get(self, source: str, stream: str) -> Backfill | None:
        """A stream's last backfill."""
        document = await self._registry.get(f"{self._prefix}{source}/{stream}")
        return _backfill(document.value) if document else None

    async def ask(self, source: str, stream: str, since_us: int, now_us: int) -> Backfill:
        """Ask for a backfill; the one that goes on if there is one already, whatever it was asked for.

        StoreUnavailable if the one before it has only just ended.
        """

        def step(before: Backfill | None) -> Backfill:
            if before is not None and before.state in OPEN:
                return before
            if before is not None and not before.cleared:
                raise StoreUnavailable(f"{source}/{stream}: its last backfill is being put away; ask again in a moment")
            name = hash_id(source, stream, str(now_us), before.id if before else "")
            return Backfill(id=name, since_us=since_us, asked_us=now_us)

        return await self._change(source, stream, step)

    async def cancel(self, source: str, stream: str, why: str, now_us: int) -> Backfill:
        """End a backfill that goes on; what it has published stays. NotFound if there never was one."""

        def step(before: Backfill | None) -> Backfill:
            if before is None:
                raise NotFound(f"{source}/{stream} was never backfilled: there is nothing to cancel.")
            if before.state not in OPEN:
                return before
            return msgspec.structs.replace(before, state="cancelled", why=why, ended_us=now_us)

        return await self._change(source, stream, step)

    async def move(
        self, source: str, stream: str, expected: Backfill, step: Callable[[Backfill], Backfill]
    ) -> Backfill | None:
        """Replace ``expected`` by ``step`` of it; None if it is another one or in another state by now."""
        key = f"{self._prefix}{source}/{stream}"
        document = await self._registry.get(key)
        before = _backfill(document.value) if document else None
        if document is None or before is None or (before.id, before.state) != (expected.id, expected.state):
            return None
        after = step(before)
        try:
            await self._registry.put(key, msgspec.json.encode(after), document.etag)
        except Conflict:
            return None
        return after

    async def slices(self, source: str, stream: str, backfill: str) -> dict[str, Slice]:
        """{name: slice} of a backfill."""
        prefix = f"{self._slices}{source}/{stream}/{backfill}/"
        documents = await self._registry.list(prefix)
        return {key.removeprefix(prefix): _slice(found.value) for key, found in documents.items()}

    def kept(self, source: str, stream: str, backfill: str, name: str) -> KeptSlice:
        """Where one slice is kept."""
        return KeptSlice(self._registry, f"{self._slices}{source}/{stream}/{backfill}/{name}")

    async def progress(self, source: str, stream: str, backfill: Backfill) -> Progress:
        """How far a backfill is."""
        running = backfill.state == "running"
        return progress(backfill, await self.slices(source, stream, backfill.id) if running else {})

    async def _change(self, source: str, stream: str, step: Callable[[Backfill | None], Backfill]) -> Backfill:
        key = f"{self._prefix}{source}/{stream}"
        for _ in range(_TRIES):
            document = await self._registry.get(key)
            before = _backfill(document.value) if document else None
            after = step(before)
            if after == before:
                return after
            try:
                await self._registry.put(key, msgspec.json.encode(after), document.etag if document else None)
            except Conflict:
                continue
            return after
        raise StoreUnavailable(f"{key}: {_TRIES} writes in a row met another; try again")


class KeptSlice:
    """One slice's document; read, then written only by who holds the slice's lease."""

    def __init__(self, registry: Registry, key: str) -> None:
        self._registry = registry
        self._key = key
        self._etag: str | None = None

    async def load(self) -> Slice | None:
        """The slice; None if it is gone, as those of a backfill that has ended are."""
        document: Document | None = await self._registry.get(self._key)
        self._etag = document.etag if document else None
        return _slice(document.value) if document else None

    async def save(self, slice_: Slice) -> None:
        """Write it. Conflict if it was written, or removed, since it was loaded."""
        self._etag = await self._registry.put(self._key, msgspec.json.encode(slice_), self._etag)

    async def make(self, slice_: Slice) -> None:
        """Write it if it is not there; one that is stays as it is."""
        if await self.load() is None:
            await self.save(slice_)

    async def remove(self) -> None:
        """Remove it."""
        await self._registry.delete(self._key)


def _names(key: str) -> tuple[str, str]:
    source, _, stream = key.partition("/")
    return source, stream
