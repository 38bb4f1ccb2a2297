"""One partition of hub ``changes``: map records, find their entities, forward what is new."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from flockiq.merge.batch import Batch
from flockiq.merge.chain import Version
from flockiq.merge.forward import Forwarded
from flockiq.merge.letters import DECODERS, Misfit, letters
from flockiq.merge.mapping import StreamPlan
from flockiq.merge.records import Records
from flockiq.merge.stored import full, full_chain, slim_chain
from flockiq.shared import wire
from flockiq.shared.lines import decoded
from flockiq.shared.owner import Folded
from flockiq.shared.settings import Settings

Plans = Mapping[tuple[str, str], StreamPlan]


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The records a commit changed; of a snapshot, all of them.

    kept: versions that followed the newest, by index in names; chains: versions worked out again.
    """

    names: list[str] = []
    kept: list[tuple[int, Version]] = []
    chains: dict[int, list[Version]] = {}
    duplicates: int = 0
    unchanged: int = 0


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
        self.records = Records(settings.versions_kept)
        self.duplicates = 0
        self.unchanged = 0

    def load(self, snapshot: bytes, entries: Sequence[bytes]) -> None:
        """Forget everything; become what the log says."""
        self.records, self.duplicates, self.unchanged = Records(self.settings.versions_kept), 0, 0
        records = self.records
        for body in ([snapshot] if snapshot else []) + list(entries):
            state = _state(body)
            self.duplicates += state.duplicates
            self.unchanged += state.unchanged
            numbers = records.numbers(state.names).tolist()
            for at, stored in state.kept:
                records.keep(numbers[at], full(records.chains[numbers[at]][-1], stored))
            for at, stored_chain in state.chains.items():
                records.put(numbers[at], full_chain(stored_chain))
        records.refresh(np.arange(len(records.chains)))

    def snapshot(self) -> bytes:
        """Everything, without versions that no late one can come before any more."""
        self.records.forget(self.now_us() - int(self.settings.lateness_s * 1e6))
        chains = {at: slim_chain(chain) for at, chain in enumerate(self.records.chains)}
        return _pack(
            State(names=list(self.records.index), chains=chains, duplicates=self.duplicates, unchanged=self.unchanged)
        )

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:
        """Judge a batch of changes; what can't be mapped becomes dead letters."""
        tenant, partitions = self.settings.tenant, self.settings.partitions["resolved"]
        now_us = self.now_us()
        batch = Batch(self.records, Forwarded(tenant, partitions, commit), now_us)
        by_stream: dict[tuple[str, str], list[wire.Change]] = defaultdict(list)
        lines = decoded(bodies, DECODERS)
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
                batch.stream(plan, found)
        self.duplicates += batch.duplicates
        self.unchanged += batch.unchanged
        return Folded(_pack(self._changed(batch)), batch.forwarded.outbox(), letters(lines, batch.misfits, now_us))

    def _changed(self, batch: Batch) -> State:
        """What a batch changed."""
        kept, redone = batch.kept, batch.redone
        at = {name: number for number, name in enumerate(dict.fromkeys([*(name for name, _ in kept), *redone]))}
        return State(
            names=list(at),
            kept=[(at[name], version) for name, version in kept],
            chains={at[name]: slim_chain(self.records.chains[self.records.index[name]]) for name in redone},
            duplicates=batch.duplicates,
            unchanged=batch.unchanged,
        )
