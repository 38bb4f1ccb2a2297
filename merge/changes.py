"""One partition of hub ``changes``: map records, find their entities, forward what is new."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from flockiq.merge.batch import Batch
from flockiq.merge.letters import DECODERS, Misfit, letters
from flockiq.merge.mapping import StreamPlan
from flockiq.merge.match import Place
from flockiq.merge.parts import At, Older
from flockiq.merge.records import Records, Versions, put
from flockiq.shared import wire
from flockiq.shared.arrays import Packed
from flockiq.shared.lines import decoded
from flockiq.shared.owner import Folded
from flockiq.shared.settings import Settings

Plans = Mapping[tuple[str, str], StreamPlan]


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The records a commit changed; of a snapshot, all of them."""

    names: list[str] = []
    ids: list[str] = []
    places: list[Place] = []
    fields: list[bytes] = []
    older: dict[int, Older] = {}  # by index in names, as are came and left
    came: dict[int, At] = {}
    left: dict[int, At] = {}
    versions: dict[str, tuple[str, list[int], bytes]] = {}
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
        self.records = Records()
        self.duplicates = 0
        self.unchanged = 0

    def load(self, snapshot: bytes, entries: Sequence[bytes]) -> None:
        """Forget everything; become what the log says."""
        self.records, self.duplicates, self.unchanged = Records(), 0, 0
        for body in ([snapshot] if snapshot else []) + list(entries):
            state = _state(body)
            self.duplicates += state.duplicates
            self.unchanged += state.unchanged
            number = self.records.numbers(state.names)
            if len(number):
                self.records.versions.put(number, Versions.unpacked(state.versions))
            for at, one in enumerate(number.tolist()):
                self.records.ids[one] = state.ids[at]
                self.records.places[one] = state.places[at]
                self.records.fields[one] = state.fields[at]
                put(self.records.older, one, state.older.get(at))
                put(self.records.came, one, state.came.get(at))
                put(self.records.left, one, state.left.get(at))

    def snapshot(self) -> bytes:
        """Everything."""
        return _pack(self._state_of(list(self.records.index), self.duplicates, self.unchanged))

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:  # noqa: ARG002 - ids need no commit number here
        """Judge a batch of changes; what can't be mapped becomes dead letters."""
        now_us = self.now_us()
        batch = Batch(self.records, self.settings.tenant, self.settings.partitions["resolved"])
        by_stream: dict[tuple[str, str], list[wire.Change]] = defaultdict(list)
        lines = decoded(bodies, DECODERS)
        for change in lines.of(wire.CHANGE):
            if change.tenant != self.settings.tenant:
                batch.misfits.append(Misfit(change, "tenant", f"this app is of tenant {self.settings.tenant!r}"))
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
        state = self._state_of(sorted(batch.touched), batch.duplicates, batch.unchanged)
        return Folded(_pack(state), batch.outbox(), letters(lines, batch.misfits, now_us))

    def _state_of(self, names: list[str], duplicates: int, unchanged: int) -> State:
        records = self.records
        number = [records.index[name] for name in names]
        packed: Packed = records.versions.packed(np.array(number, np.int64))
        return State(
            names=names,
            ids=[records.ids[one] for one in number],
            places=[records.places[one] for one in number],
            fields=[records.fields[one] for one in number],
            older={at: records.older[one] for at, one in enumerate(number) if one in records.older},
            came={at: records.came[one] for at, one in enumerate(number) if one in records.came},
            left={at: records.left[one] for at, one in enumerate(number) if one in records.left},
            versions=dict(packed),
            duplicates=duplicates,
            unchanged=unchanged,
        )
