"""State logs in append blobs: one Append Block a batch, on condition of where it begins.

A generation of a log is one append blob, ``LOG/GENERATION.log``. What may be appended is decided by
``appendpos`` alone: of two owners that append at one place the service takes one. A roll writes the snapshot as a
blob of its own, ``LOG/GENERATION.ID.snapshot``, then appends a *seal* that names it: the seal is the commit, fenced as
every append is, and nothing can come after it. Whoever reads a seal makes the next generation's blob, whose
first frame repeats what the seal says. Then the older generations are removed.

An append whose answer was lost is looked for: what is there is compared with what was sent, and the rest of a
torn one is appended after it. frames.py says how unfinished writes are passed over, and what damage is.

https://learn.microsoft.com/rest/api/storageservices/append-block
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from typing import Final

import msgspec
from azure.core.exceptions import AzureError, ResourceNotFoundError

from flockiq.shared.adapters.azure.storage.account import Account
from flockiq.shared.adapters.azure.storage.appends import AppendBlobs
from flockiq.shared.adapters.azure.storage.frames import Kind, Parsed, blocks, parse, seed_of
from flockiq.shared.adapters.azure.storage.generations import (
    BLOCK_BYTES,
    LOG,
    PART,
    Begin,
    begin_of,
    blob_name,
    checksum,
    corrupt,
    fence_lost,
    first_frame,
    snapshot_name,
)
from flockiq.shared.errors import BadRecord, FenceLost, FlockIQError, StoreUnavailable
from flockiq.shared.paths import checked
from flockiq.shared.ports import StateRead, StateVersion

logger = logging.getLogger("flockiq.azure.state")

MAX_ENTRY_BYTES: Final = 100 << 20
MAX_SNAPSHOT_BYTES: Final = 900_000_000
ROLL_BLOCKS: Final = 45_000  # of the 50,000 a blob takes; what was appended then is carried into another blob
TURNS: Final = 20  # how often a log is read again because another rolled it meanwhile
KEPT: Final = 10_000  # logs of which this process knows where they stand

_START: Final = StateVersion(0, 0)


class AppendBlobState:
    """StateStore over a storage account's container ``state``; a version's length counts bytes of its blob.

    Damage raises StateCorrupt; an entry or a snapshot over its limit BadRecord.
    """

    lingers = "the storage account's soft delete keeps removed blobs for 7 days, as infra/ deploys it"

    def __init__(self, account: Account, *, block_bytes: int = BLOCK_BYTES, roll_blocks: int = ROLL_BLOCKS) -> None:
        self._blobs = AppendBlobs(account)
        self._block_bytes = block_bytes
        self._roll_blocks = roll_blocks
        self._committed: dict[str, tuple[StateVersion, int]] = {}  # where what was committed ended, at a version
        self._collecting: set[asyncio.Task[None]] = set()

    async def read(self, log: str, after: StateVersion | None = None) -> StateRead:
        """See ``StateStore.read``; a version the log never reached also reads all."""
        generation = self._known_generation(checked(log), after)
        for _ in range(TURNS):
            if generation is None and (generation := await self._newest(log)) is None:
                self._remember(log, _START, 0)
                return StateRead(_START, None if after == _START else b"", [])
            found = await self._read_generation(log, generation, after)
            if isinstance(found, StateRead):
                return found
            generation = found
        raise StoreUnavailable(f"state log {log!r} is rolled faster than it can be read: try later")

    async def append(self, log: str, entry: bytes, expected: StateVersion) -> StateVersion:
        """See ``StateStore.append``; one that finds its blob nearly full carries it into the next generation."""
        _check_size(checked(log), "an entry", entry, MAX_ENTRY_BYTES)
        if self._blobs.count(blob_name(log, expected.generation)) >= self._roll_blocks:
            expected = await self._carry(log, expected)
        return await self._append(log, Kind.ENTRY, entry, expected)

    async def roll(self, log: str, snapshot: bytes, expected: StateVersion) -> StateVersion:
        """See ``StateStore.roll``."""
        _check_size(checked(log), "a snapshot", snapshot, MAX_SNAPSHOT_BYTES)
        return await self._roll(log, [snapshot], expected)

    async def logs(self, prefix: str = "") -> Sequence[str]:
        """See ``StateStore.logs``."""
        found = (LOG.fullmatch(name) for name, size in await self._blobs.named(prefix) if size)
        return sorted({each["log"] for each in found if each is not None})

    async def close(self) -> None:
        """See ``StateStore.close``; the account is closed by whoever opened it."""
        await asyncio.gather(*self._collecting)

    async def _read_generation(self, log: str, generation: int, after: StateVersion | None) -> StateRead | int | None:
        """What the log holds, if ``generation`` is its newest; else the one to read, None if that isn't known."""
        start = after if after is not None and after.generation == generation else None
        committed = self._committed_at(log, start) if start is not None else None
        if start is None or committed is None:
            start, committed = StateVersion(generation, 0), 0
        data = await self._blobs.read(blob_name(log, generation), start.length)
        if data is None:  # it is gone, or shorter than ``start``
            if start.length:
                self._committed.pop(log, None)
                return generation
            return None
        parsed = self._parse(log, generation, data, start.length, committed)
        if parsed.seal is not None:
            return await self._follow(log, begin_of(log, parsed.seal))
        if generation and not start.length and parsed.begin is None:
            return generation - 1  # whoever made it died before it said what it goes on from: the seal says so
        version = StateVersion(generation, start.length + len(data))
        continues = after is not None and after.generation == generation and after.length <= version.length
        entries = parsed.entries
        if continues and after is not None and start.length < after.length:
            # Read from the beginning, since this process did not know where what was committed ended.
            before = self._parse(log, generation, data[: after.length], 0, 0)
            entries = entries[len(before.entries) :]
        snapshot: bytes | None = None
        if not continues:
            kept = await self._snapshot(log, begin_of(log, parsed.begin)) if parsed.begin is not None else [b""]
            if kept is None:  # collected: another has rolled meanwhile
                return None
            snapshot, entries = kept[0], [*kept[1:], *entries]
        self._remember(log, version, parsed.committed)
        if parsed.left:
            logger.warning(
                "state log %r, generation %d: the %d bytes from %d on were never finished; they are passed over",
                log,
                generation,
                parsed.left,
                parsed.committed,
            )
        return StateRead(version, snapshot, entries)

    async def _append(self, log: str, kind: Kind, body: bytes, expected: StateVersion) -> StateVersion:
        """Append frames that hold ``body``; FenceLost if the log is not at ``expected``."""
        committed = self._committed_at(log, expected)
        if committed is None:
            found = await self.read(log)
            committed = self._committed_at(log, expected)
            if committed is None:
                raise fence_lost(log, expected, found.version)
        at, seed = expected.length, seed_of(log, expected.generation)
        framed = blocks(kind, body, seed=seed, at=at, follows=committed, block_bytes=self._block_bytes)
        for block in framed:
            if not await self._place(log, expected.generation, at, block):
                raise fence_lost(log, expected)
            at += len(block)
        version = StateVersion(expected.generation, at)
        self._remember(log, version, at)
        return version

    async def _place(self, log: str, generation: int, at: int, block: bytes) -> bool:
        """Append where the log is expected to end; False if it does not. A log's first block makes its blob."""
        for _ in range(TURNS):
            try:
                return await self._blobs.place(blob_name(log, generation), at, block)
            except ResourceNotFoundError:
                if (generation, at) != _START or not await self._make(log, generation):
                    return False
        return False

    async def _roll(self, log: str, kept: list[bytes], expected: StateVersion) -> StateVersion:
        """Begin the next generation with a snapshot and the entries carried over after it."""
        generation = expected.generation + 1
        begin = Begin(
            generation=generation,
            nonce=uuid.uuid4().bytes,
            snapshot=snapshot_name(log, generation),
            sizes=[len(body) for body in kept],
            checksum=checksum(log, generation, kept),
        )
        await self._blobs.write(begin.snapshot, b"".join(kept))
        try:
            await self._append(log, Kind.SEAL, msgspec.json.encode(begin), expected)
        except FenceLost:
            await self._blobs.remove(begin.snapshot)
            raise
        if await self._follow(log, begin) != generation:
            raise fence_lost(log, expected)
        version = StateVersion(generation, len(first_frame(log, begin)))
        self._remember(log, version, version.length)
        self._collect(log, begin)
        return version

    async def _carry(self, log: str, expected: StateVersion) -> StateVersion:
        """Put what the log holds into the next generation as it is, before its blob is full."""
        found = await self.read(log)
        if found.version != expected:
            raise fence_lost(log, expected, found.version)
        return await self._roll(log, [found.snapshot or b"", *found.entries], expected)

    async def _follow(self, log: str, begin: Begin) -> int | None:
        """The generation after a seal, made if it isn't there yet; None if the log has gone on from it already."""
        name, block = blob_name(log, begin.generation), first_frame(log, begin)
        for _ in range(TURNS):
            try:
                # Something else lies there only if this generation has been written to: then its beginning is there.
                await self._blobs.place(name, 0, block)
            except ResourceNotFoundError:
                if not await self._make(log, begin.generation):
                    return None
                continue
            return begin.generation
        raise StoreUnavailable(f"state log {log!r}: blob {name!r} is removed again and again: try later")

    async def _make(self, log: str, generation: int) -> bool:
        """Make a generation's blob. False if there is a newer one, so that what was appended here would be lost."""
        made = await self._blobs.make(blob_name(log, generation))
        newest = await self._newest(log)
        if newest is None or newest <= generation:
            return True
        if made:
            await self._blobs.remove(blob_name(log, generation))
        return False

    async def _newest(self, log: str) -> int | None:
        """The newest generation of a log; None if nobody ever wrote it."""
        generations = [int(name.rpartition("/")[2][:12]) for name in await self._parts(log) if name.endswith(".log")]
        return max(generations, default=None)

    async def _parts(self, log: str) -> list[str]:
        return [name for name, _ in await self._blobs.within(log) if PART.fullmatch(name.rpartition("/")[2])]

    async def _snapshot(self, log: str, begin: Begin) -> list[bytes] | None:
        """The snapshot and the entries carried over; None if they are gone. StateCorrupt if they are damaged."""
        body = await self._blobs.get(begin.snapshot)
        if body is None:
            if await self._newest(log) == begin.generation:
                raise corrupt(log, begin.generation, f"its snapshot {begin.snapshot} is missing")
            return None
        kept: list[bytes] = []
        at = 0
        for size in begin.sizes:
            kept.append(body[at : at + size])
            at += size
        if at != len(body) or checksum(log, begin.generation, kept) != begin.checksum:
            raise corrupt(log, begin.generation, f"its snapshot {begin.snapshot} is not what was written")
        return kept

    def _parse(self, log: str, generation: int, data: bytes, at: int, committed: int) -> Parsed:
        parsed = parse(data, seed=seed_of(log, generation), at=at, committed=committed)
        if parsed.damaged is not None:
            raise corrupt(log, generation, f"what lies at byte {parsed.damaged} is not what was written")
        return parsed

    def _collect(self, log: str, begin: Begin) -> None:
        """Remove what came before a generation, without holding up whoever rolled."""

        async def collect() -> None:
            # Snapshots first: who still follows an old seal finds none, and looks for the newest generation.
            older = [
                name
                for name in sorted(await self._parts(log), key=lambda name: name.endswith(".log"))
                if name != begin.snapshot
                and int(name.rpartition("/")[2][:12]) < begin.generation + name.endswith(".snapshot")
            ]
            for name in older:
                await self._blobs.remove(name)

        async def try_to() -> None:
            try:
                await collect()
            except (AzureError, FlockIQError) as error:  # the next roll removes it
                logger.info(
                    "state log %r: what came before generation %d is still there: %s", log, begin.generation, error
                )

        task = asyncio.create_task(try_to())
        self._collecting.add(task)
        task.add_done_callback(self._collecting.discard)

    def _known_generation(self, log: str, after: StateVersion | None) -> int | None:
        known = self._committed.get(log)
        generations = [version.generation for version in (after, known[0] if known else None) if version is not None]
        return max(generations, default=None)

    def _committed_at(self, log: str, version: StateVersion) -> int | None:
        """Where what was committed ended at a version, if this process has been told."""
        if version == _START:
            return 0
        known = self._committed.get(log)
        return known[1] if known is not None and known[0] == version else None

    def _remember(self, log: str, version: StateVersion, committed: int) -> None:
        self._committed[log] = (version, committed)
        while len(self._committed) > KEPT:
            del self._committed[next(iter(self._committed))]


def _check_size(log: str, what: str, body: bytes, limit: int) -> None:
    if len(body) > limit:
        raise BadRecord(f"{what} of {len(body):,} bytes for state log {log!r} is over the limit of {limit:,}")
