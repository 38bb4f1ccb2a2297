"""Owning a partition: load its state, fold batches, commit each once, publish, survive rivals.

A function that keeps state per partition gives an ``Owned``: how to load, fold and snapshot.
The ``Owner`` does the rest, in this order for every batch:

1. publish what an earlier commit left unpublished (the outbox);
2. leave out events at or before the committed input position: they were folded already;
3. fold, in memory;
4. append what changed, the outbox and the new input position, on condition that nobody else has
   written. If somebody has (FenceLost: after a rebalance the old and the new owner overlap), what
   was folded is thrown away, the log is read again, and the batch starts over;
5. publish; the next append notes it.

A crash anywhere leaves either nothing of a batch or all of it with its outbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import msgspec
import zstandard

from flockiq.shared import outbox as boxes
from flockiq.shared import telemetry, wire
from flockiq.shared.deadletters import DeadLetter, bury, letter_of
from flockiq.shared.errors import Conflict, FenceLost, TransientError
from flockiq.shared.outbox import Outbox
from flockiq.shared.ports import StateRead, StateVersion
from flockiq.shared.progress import Notes, Progress
from flockiq.shared.services import Services

log = logging.getLogger("flockiq.owner")

STATE_VERSION = 3
OLDEST_READ = 2  # of the versions before any release nothing is left to be read
FENCE_ATTEMPTS = 5  # batches refolded after lost fences before the host is asked to deliver again
HELD_SHARE = 0.1  # of a batch's records: if more can't be folded, the fault is not theirs
NO_INPUT = -1
RECEIPTS = "erasure-receipts"  # where the registry keeps what owners say of erasures


type Receipts = Mapping[str, Mapping[str, int]]
"""How much an owner forgot, by the request of the erasure, then by what it was."""


class Input(NamedTuple):
    """One event of a batch: its sequence number in the partition and its body."""

    sequence: int
    body: bytes


class Folded(NamedTuple):
    """What folding a batch gave.

    body: the changed rows, as bytes the Owned can apply; letters: what could not be folded; records: how many
    came; forgot: the log holds what is forgotten now, so it is rolled at once; receipts: how much that was, by erasure.
    """

    body: bytes
    outbox: Outbox
    letters: Sequence[DeadLetter] = ()
    records: int = 0
    forgot: bool = False
    receipts: Receipts | None = None


class Owned(Protocol):
    """State of one partition, owned by one function.

    duplicates: repetitions absorbed so far; too_late: rows that came too late to work out again what followed them.
    """

    duplicates: int
    too_late: int

    def load(self, snapshot: bytes, entries: Sequence[bytes]) -> None:
        """Forget everything; become what a snapshot (b"": nothing) and the entries after it say."""
        ...

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:
        """Fold a batch; ``commit`` is this commit's number, one more than the last."""
        ...

    def snapshot(self) -> bytes:
        """The whole state; may forget what no longer matters."""
        ...


class Frame(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One append. ``published``: every outbox up to this commit has been given out.

    ``forgot``: see ``Folded``; ``receipts``, of a snapshot: those that may not have been given out.
    """

    version: int
    commit: int
    input: int
    published: int
    body: bytes
    outbox: Outbox = msgspec.field(default_factory=Outbox)
    pending: dict[int, Outbox] = {}  # of a snapshot: outboxes not yet given out
    forgot: bool = False
    receipts: dict[str, dict[str, int]] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode
_folding = ThreadPoolExecutor(1, "fold")  # side by side they share one core, and each takes as long as all of them


async def _in_turn[**P, R](work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run ``work`` in the thread that this process's owners fold in, one after another as they come."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_folding, lambda: context.run(work, *args, **kwargs))


def _pack(frame: Frame) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(_encode(frame))


def _unpack(body: bytes) -> Frame:
    return _decode(zstandard.ZstdDecompressor().decompress(body))


def input_of(read: StateRead) -> int:
    """The sequence number that a log has been folded up to; NO_INPUT if nothing was."""
    last = read.entries[-1] if read.entries else read.snapshot
    return _unpack(last).input if last else NO_INPUT


def moved(frame: bytes, sequence: int) -> bytes:
    """A frame (b"": the beginning of a log) that says the input has been folded up to ``sequence``."""
    known = _unpack(frame) if frame else Frame(version=STATE_VERSION, commit=0, input=NO_INPUT, published=0, body=b"")
    return _pack(msgspec.structs.replace(known, input=sequence))


class Owner:
    """The owner of one state log."""

    def __init__(self, services: Services, name: str, owned: Owned) -> None:
        self.services = services
        self.name = name
        self.owned = owned
        self.input = NO_INPUT
        self.commit = 0
        self.fences_lost = 0
        self._version: StateVersion | None = None
        self._published = 0
        self._pending: dict[int, Outbox] = {}
        self._entries = 0
        self._forgot = False
        self._receipts: dict[str, dict[str, int]] = {}
        self._lock = asyncio.Lock()
        self._notes = Notes(services, *name.rsplit("/", 1))

    async def process(self, batch: Sequence[Input], hook: Callable[[str], Awaitable[None]] | None = None) -> None:
        """Fold a batch with the effect of once. TransientError when the world will not let it through.

        ``hook`` is awaited with "folded", "committed" and "published" (tests crash there).
        """
        async with self._lock:
            for _ in range(FENCE_ATTEMPTS):
                if self._version is None:
                    await self._load()
                await self._publish()
                fresh = [event for event in batch if event.sequence > self.input]
                if not fresh:
                    return
                if await self._told(fresh, hook):
                    if hook is not None:
                        await hook("published")
                    await self._roll()
                    await self._confirm()
                    await self._note()
                    return
            raise TransientError(
                f"{self.name}: another owner kept writing during {FENCE_ATTEMPTS} attempts; the batch comes again"
            )

    async def _told(self, fresh: Sequence[Input], hook: Callable[[str], Awaitable[None]] | None) -> bool:
        """Commit and publish, under one span; False when another owner was there first."""
        function, _, partition = self.name.rpartition("/")
        with telemetry.batch(function, partition, [event.body for event in fresh]):
            committed = await self._commit(fresh, hook)
            if committed:
                await self._publish()
            else:
                telemetry.add(telemetry.FENCES, 1, function=function)
        return committed

    async def _load(self) -> None:
        read = await self.services.state.read(self.name)
        snapshot = _unpack(read.snapshot) if read.snapshot else None
        frames = [_unpack(entry) for entry in read.entries]
        for frame in [*([snapshot] if snapshot else []), *frames]:
            if frame.version > STATE_VERSION:
                raise TransientError(
                    f"{self.name}: state of version {frame.version}, this app reads up to {STATE_VERSION}; "
                    "a newer app is running: finish the update"
                )
            if frame.version < OLDEST_READ:
                raise TransientError(
                    f"{self.name}: state of version {frame.version}, this app reads {OLDEST_READ} and later. Deploy "
                    "the version that wrote it, or remove its logs and read the sources again (docs/deploy.md)"
                )
        await asyncio.to_thread(self.owned.load, snapshot.body if snapshot else b"", [frame.body for frame in frames])
        last = frames[-1] if frames else snapshot
        self.input = last.input if last else NO_INPUT
        self.commit = last.commit if last else 0
        self._published = last.published if last else 0
        boxes_by_commit = dict(snapshot.pending) if snapshot else {}
        boxes_by_commit |= {frame.commit: frame.outbox for frame in frames}
        self._pending = {
            commit: outbox for commit, outbox in boxes_by_commit.items() if commit > self._published and outbox
        }
        self._entries = len(frames)
        self._forgot = any(frame.forgot for frame in frames)
        self._receipts = {}
        for frame in [*([snapshot] if snapshot else []), *frames]:
            self._owe(frame.receipts)
        self._version = read.version

    async def _commit(self, fresh: Sequence[Input], hook: Callable[[str], Awaitable[None]] | None) -> bool:
        """Fold and append; False when another owner was there first."""
        version, self._version = self._version, None  # until the append is known to stand
        if version is None:
            raise AssertionError("nothing is folded onto state that was not loaded")
        number = self.commit + 1
        bodies = [event.body for event in fresh]

        def fold() -> tuple[Folded, Frame, bytes]:
            folded = self.owned.fold(bodies, number)
            return folded, *self._framed(folded, number, fresh[-1].sequence)

        try:
            folded, frame, entry = await _in_turn(fold)
        except Exception:
            log.exception("%s: a batch can't be folded; looking for the record that is to blame", self.name)
            folded, version = await self._without_culprits(bodies, number)
            frame, entry = await _in_turn(self._framed, folded, number, fresh[-1].sequence)
        await bury(self.services, folded.letters)
        if hook is not None:
            await hook("folded")
        try:
            self._version = await self.services.state.append(self.name, entry, version)
        except FenceLost:
            self.fences_lost += 1
            log.info("%s: another owner has written; reading its state and folding again", self.name)
            return False
        self.commit, self.input = number, frame.input
        self._entries += 1
        function, _, partition = self.name.rpartition("/")
        telemetry.rate(telemetry.RATE, folded.records, function=function, partition=partition)
        self._forgot = self._forgot or folded.forgot
        self._owe(frame.receipts)
        if folded.outbox:
            self._pending[number] = folded.outbox
        if hook is not None:
            await hook("committed")
        return True

    def _framed(self, folded: Folded, number: int, sequence: int) -> tuple[Frame, bytes]:
        """What is appended of a batch that ends at ``sequence``: as it is, and packed."""
        frame = Frame(
            version=STATE_VERSION,
            commit=number,
            input=sequence,
            published=self._published,
            body=folded.body,
            outbox=folded.outbox,
            forgot=folded.forgot,
            receipts={request: dict(counts) for request, counts in (folded.receipts or {}).items()},
        )
        return frame, _pack(frame)

    async def _without_culprits(self, bodies: Sequence[bytes], number: int) -> tuple[Folded, StateVersion]:
        """Fold what can be folded; the records that no fold survives become dead letters.

        Halves a failing batch until single lines are left, on state read anew each time. Raises
        TransientError when more than HELD_SHARE of the lines fail: then it is not the records.
        """
        told_apart = [(body, *wire.lines_in(body)) for body in bodies]
        batches = [(kind, lines) for _, kind, lines in told_apart if lines]
        total = sum(len(lines) for _, lines in batches)
        culprits: list[tuple[bytes, str]] = []
        good = [body for body, _, lines in told_apart if not lines]  # nothing in it can be read: folding says so
        for kind, lines in batches:
            waiting = [lines]
            kept: list[bytes] = []
            while waiting:
                some = waiting.pop(0)
                failure = await self._failure(kind, some, number)
                if failure is None:
                    kept += some
                elif len(some) == 1:
                    culprits.append((some[0], failure))
                else:
                    waiting += [some[: len(some) // 2], some[len(some) // 2 :]]
                if len(culprits) > max(1, HELD_SHARE * total):
                    raise TransientError(
                        f"{self.name}: {len(culprits)} of {total} records can't be folded ({failure}); the partition "
                        "is held until an app that can fold them is deployed"
                    )
            good += [event.body for event in wire.pack(0, kind, kept)]
        await self._load()
        folded = await _in_turn(self.owned.fold, good, number)
        now_us = time.time_ns() // 1000
        letters = [letter_of(self.name.partition("/")[0], line, reason, now_us) for line, reason in culprits]
        version, self._version = self._version, None
        if version is None:
            raise AssertionError("the state was just read")
        return folded._replace(letters=[*folded.letters, *letters]), version

    async def _failure(self, kind: str, lines: Sequence[bytes], number: int) -> str | None:
        """Why these lines can't be folded onto the committed state, or None."""
        await self._load()
        try:
            for event in wire.pack(0, kind, lines):
                await _in_turn(self.owned.fold, [event.body], number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the record that brings it is set aside
            return f"{type(error).__name__}: {error}"
        return None

    async def _publish(self) -> None:
        for commit in sorted(self._pending):
            await boxes.publish(self.services, self._pending[commit])
            del self._pending[commit]
        self._published = self.commit

    async def _roll(self) -> None:
        enough = self._entries >= self.services.settings.state_snapshot_entries
        if not (enough or self._forgot) or self._version is None:
            return
        body = await asyncio.to_thread(self.owned.snapshot)
        frame = Frame(
            version=STATE_VERSION,
            commit=self.commit,
            input=self.input,
            published=self._published,
            body=body,
            pending=self._pending,
            receipts=self._receipts,
        )
        version, self._version = self._version, None
        try:
            rolled = await self.services.state.roll(self.name, await asyncio.to_thread(_pack, frame), version)
            self._version = None if self._forgot else rolled  # read anew, memory holds none of what was forgotten
            self._entries, self._forgot = 0, False
        except FenceLost:
            self.fences_lost += 1
            telemetry.add(telemetry.FENCES, 1, function=self.name.rpartition("/")[0])

    def _owe(self, receipts: Receipts) -> None:
        """Receipts to be given out; what was told of an erasure first is what it removed."""
        for request, counts in receipts.items():
            self._receipts.setdefault(request, dict(counts))

    async def _confirm(self) -> None:
        """Tell whoever waits for an erasure that this log holds nothing of it any more."""
        if self._forgot:
            return  # the log could not be rolled
        for request, counts in self._receipts.items():
            key = f"{RECEIPTS}/{self.services.settings.tenant}/{request}/{self.name}"
            with contextlib.suppress(Conflict):  # told before
                await self.services.registry.put(key, msgspec.json.encode(counts), None)
        self._receipts = {}

    async def _note(self) -> None:
        """Tell the registry how far this partition is; health reads it."""
        owned, at_us = self.owned, time.time_ns() // 1000
        await self._notes.note(Progress(self.input, at_us, owned.duplicates, self.fences_lost, owned.too_late))
