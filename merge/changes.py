"""One partition of hub ``changes``: map records, find their entities, forward what is new."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import msgspec
import numpy as np

from flockiq.merge import compiled
from flockiq.merge.batch import Batch
from flockiq.merge.book import Book, Stream
from flockiq.merge.chain import Version
from flockiq.merge.compiled import Functions
from flockiq.merge.forgetting import erase, erase_again
from flockiq.merge.forward import Forwarded
from flockiq.merge.letters import letters
from flockiq.merge.mapping import StreamPlan
from flockiq.merge.reading import Reading
from flockiq.merge.records import Records
from flockiq.merge.stored import Followed, Kept, full, full_chain, slim_chain
from flockiq.shared.lateness import USUAL, Lateness
from flockiq.shared.owner import Folded
from flockiq.shared.settings import Settings
from flockiq.shared.tombstones import Stored, Tombstones

Plans = Mapping[tuple[str, str], StreamPlan]


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The records a commit changed; of a snapshot, all of them.

    followed: versions that followed the newest, by index in names (an earlier FlockIQ wrote them as
    ``following``, or ``kept``); chains: versions worked out again.
    """

    names: list[str] = []
    kept: list[tuple[int, Version]] = []
    following: Kept = msgspec.field(default_factory=Kept)
    followed: Followed = msgspec.field(default_factory=Followed)
    chains: dict[int, list[Version]] = {}
    duplicates: int = 0
    unchanged: int = 0
    erased: Stored = {}  # of records that were forgotten before anything else
    tombstones: Stored = {}  # new ones; of a snapshot, all


_state = msgspec.msgpack.Decoder(State).decode
_pack = msgspec.msgpack.Encoder().encode


def _now_us() -> int:
    return time.time_ns() // 1000


class Changes:
    """The record state of one partition. An ``Owned`` (shared/owner.py).

    too_late: always 0. A version too late for its record is told as it is, and counted where its entity is folded.
    """

    too_late = 0

    def __init__(self, plans: Plans, settings: Settings, now_us: Callable[[], int] = _now_us) -> None:
        self.plans = plans
        self.settings = settings
        self.now_us = now_us
        self.duplicates = 0
        self.unchanged = 0
        self._forgotten()

    def _forgotten(self) -> None:
        """Nothing is known."""
        self._books: dict[str, Book] = {}
        self.tombstones = Tombstones()
        self._become(Records(self._depth, self._book))

    def _become(self, records: Records) -> None:
        """Have these records; of others nothing stays, nor of where they were."""
        self.records = records
        self._books = {book.name: book for book in records.books}
        tenant, partitions = self.settings.tenant, self.settings.partitions["resolved"]
        self.streams = {
            name: Stream(plan, self._book(f"{plan.name}/"), tenant, partitions) for name, plan in self.plans.items()
        }

    def load(self, snapshot: bytes, entries: Sequence[bytes]) -> None:
        """Forget everything; become what the log says."""
        self._forgotten()
        self.duplicates, self.unchanged = 0, 0
        for body in ([snapshot] if snapshot else []) + list(entries):
            state = _state(body)
            self.duplicates += state.duplicates
            self.unchanged += state.unchanged
            self.tombstones.restore(state.tombstones)
            if state.erased:
                self._become(erase_again(self.records, state.erased))
            records = self.records
            numbers = records.numbers(state.names).tolist()
            for at, stored in chain(state.kept, state.following.versions(), state.followed.versions()):
                records.keep(numbers[at], full(records.last(numbers[at]), stored))
            for at, stored_chain in state.chains.items():
                records.put(numbers[at], full_chain(stored_chain))
            records.tidy()

    def snapshot(self) -> bytes:
        """Everything, without versions that no late one can come before any more."""
        now_us = self.now_us()
        self.tombstones.expire(now_us)
        self.records.forget(lambda name: self._lateness(name).before_us(now_us, self.settings))
        if self.records.crowded:
            self._become(self.records.without(()))
        chains = map(slim_chain, self.records.chains(np.arange(len(self.records.names))))
        return _pack(
            State(
                names=self.records.names,
                chains=dict(enumerate(chains)),
                duplicates=self.duplicates,
                unchanged=self.unchanged,
                tombstones=self.tombstones.stored(),
            )
        )

    def _lateness(self, record: str) -> Lateness:
        """For how long late versions of a record are worked out: as its entity type has it."""
        source, stream, _ = record.split("/", 2)  # neither holds a slash
        plan = self.plans.get((source, stream))
        return USUAL if plan is None else plan.lateness

    def _depth(self, record: str) -> int:
        return self._lateness(record).depth(self.settings)

    def _book(self, record: str) -> Book:
        """The book of the stream that a record is of."""
        source, stream, _ = record.split("/", 2)
        name = f"{source}/{stream}"
        if name not in self._books:
            self._books[name] = Book(name)
        return self._books[name]

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:
        """Judge a batch of changes; what can't be mapped becomes dead letters."""
        return self.folded(compiled.ready(), bodies, commit)

    def folded(self, functions: Functions | None, bodies: Sequence[bytes], commit: int) -> Folded:
        """The same, by compiled functions if there are any."""
        tenant, now_us = self.settings.tenant, self.now_us()
        reading = Reading(functions, bodies, tenant)
        records, stones, receipts = erase(reading.erasures(), self.records, self.tombstones)
        forgot = any(counts["records"] for counts in receipts.values())
        if forgot:
            self._become(records)
        self.records.tidy()
        forwarded = Forwarded(tenant, self.settings.partitions["resolved"], commit)
        batch = Batch(self.records, forwarded, now_us, functions)
        for stream, arrived in reading.streams(self.streams, self.records, self.tombstones):
            batch.stream(stream, arrived)
        self.duplicates += batch.duplicates
        self.unchanged += batch.unchanged
        told = letters(reading.found, reading.misfits, now_us)
        body = _pack(self._changed(batch, stones, functions))
        return Folded(body, forwarded.outbox(), told, reading.count, forgot, receipts)

    def _changed(self, batch: Batch, stones: Stored, functions: Functions | None) -> State:
        """What a batch changed."""
        redone, names = batch.redone, self.records.names
        followed, versions = batch.following.kept(self.records, redone, functions)
        return State(
            names=[names[record] for record in (*followed, *redone)],
            followed=versions,
            chains=dict(enumerate(map(slim_chain, self.records.chains(np.array(redone, np.int64))), len(followed))),
            duplicates=batch.duplicates,
            unchanged=batch.unchanged,
            erased=stones,
            tombstones=stones,
        )
