"""One partition of hub ``changes``: map records, find their entities, forward what is new."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import msgspec
import numpy as np

from flockiq.merge.batch import Batch
from flockiq.merge.chain import Version
from flockiq.merge.forgetting import erase, erase_again, refuse
from flockiq.merge.forward import Addresses, Forwarded
from flockiq.merge.letters import DECODERS, Misfit, letters
from flockiq.merge.mapping import StreamPlan
from flockiq.merge.match import Places
from flockiq.merge.records import Records
from flockiq.merge.stored import Kept, full, full_chain, slim_chain
from flockiq.shared import wire
from flockiq.shared.lateness import USUAL, Lateness
from flockiq.shared.lines import decoded
from flockiq.shared.owner import Folded
from flockiq.shared.settings import Settings
from flockiq.shared.tombstones import Stored, Tombstones

Plans = Mapping[tuple[str, str], StreamPlan]


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The records a commit changed; of a snapshot, all of them.

    following: versions that followed the newest, by index in names (an earlier FlockIQ wrote them as
    ``kept``); chains: versions worked out again.
    """

    names: list[str] = []
    kept: list[tuple[int, Version]] = []
    following: Kept = msgspec.field(default_factory=Kept)
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
    """The record state of one partition. An ``Owned`` (shared/owner.py)."""

    def __init__(self, plans: Plans, settings: Settings, now_us: Callable[[], int] = _now_us) -> None:
        self.plans = plans
        self.settings = settings
        self.now_us = now_us
        self.records = Records(self._depth)
        self.places = {stream: Places(plan, settings.tenant) for stream, plan in plans.items()}
        self.addresses = Addresses(settings.partitions["resolved"])
        self.duplicates = 0
        self.unchanged = 0
        self.tombstones = Tombstones()

    def load(self, snapshot: bytes, entries: Sequence[bytes]) -> None:
        """Forget everything; become what the log says."""
        self.records, self.duplicates, self.unchanged = Records(self._depth), 0, 0
        self.tombstones = Tombstones()
        for body in ([snapshot] if snapshot else []) + list(entries):
            state = _state(body)
            self.duplicates += state.duplicates
            self.unchanged += state.unchanged
            self.tombstones.restore(state.tombstones)
            if state.erased:
                self.records = erase_again(self.records, state.erased)
            records = self.records
            numbers = records.numbers(state.names).tolist()
            for at, stored in chain(state.kept, state.following.versions()):
                records.keep(numbers[at], full(records.chains[numbers[at]][-1], stored))
            for at, stored_chain in state.chains.items():
                records.put(numbers[at], full_chain(stored_chain))
        self.records.refresh(np.arange(len(self.records.chains)))

    def snapshot(self) -> bytes:
        """Everything, without versions that no late one can come before any more."""
        now_us = self.now_us()
        self.tombstones.expire(now_us)
        self.records.forget(lambda name: self._lateness(name).before_us(now_us, self.settings))
        chains = {at: slim_chain(one) for at, one in enumerate(self.records.chains)}
        return _pack(
            State(
                names=list(self.records.index),
                chains=chains,
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

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:
        """Judge a batch of changes; what can't be mapped becomes dead letters."""
        tenant, now_us = self.settings.tenant, self.now_us()
        by_stream: dict[tuple[str, str], list[wire.Change]] = defaultdict(list)
        lines = decoded(bodies, DECODERS)
        mine = [one for one in lines.of(wire.ERASE) if one.tenant == tenant]
        self.records, stones, receipts = erase(mine, self.records, self.tombstones)
        batch = Batch(self.records, Forwarded(tenant, self.addresses, commit), now_us)
        for change in lines.of(wire.CHANGE):
            if change.tenant != tenant:
                batch.misfits.append(Misfit(change, "tenant", f"this app is of tenant {tenant!r}"))
                continue
            by_stream[change.source, change.data.stream].append(change)
        for stream, found in by_stream.items():
            plan = self.plans.get(stream)
            if plan is None:
                reason = f"no source in config has the stream {stream[0]}/{stream[1]}"
                batch.misfits += [Misfit(change, "stream", reason) for change in found]
            else:
                left = refuse(plan, self.places[stream], found, self.tombstones, self.records.index.__contains__)
                batch.stream(plan, self.places[stream], left)
        self.duplicates += batch.duplicates
        self.unchanged += batch.unchanged
        told = letters(lines, batch.misfits, now_us)
        records = sum(map(len, by_stream.values()))
        forgot = any(counts["records"] for counts in receipts.values())
        return Folded(_pack(self._changed(batch, stones)), batch.forwarded.outbox(), told, records, forgot, receipts)

    def _changed(self, batch: Batch, stones: Stored) -> State:
        """What a batch changed."""
        redone, following = set(batch.redone), batch.following
        followed = [record for record in dict.fromkeys(following.records) if record not in redone]
        place = {record: at for at, record in enumerate(followed)}
        anew = {len(followed) + at: record for at, record in enumerate(batch.redone)}
        names = self.records.names
        return State(
            names=[names[record] for record in (*followed, *anew.values())],
            following=following.kept(place, batch.now_us),
            chains={at: slim_chain(self.records.chains[record]) for at, record in anew.items()},
            duplicates=batch.duplicates,
            unchanged=batch.unchanged,
            erased=stones,
            tombstones=stones,
        )
