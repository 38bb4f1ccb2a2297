"""One partition of hub ``resolved``: fold → compare → signal over a batch, with its one commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from flockiq.pipeline.decode import lines_of, rows_of
from flockiq.pipeline.forgetting import erase, forget, refuse
from flockiq.pipeline.overriding import add_overrides, end_overrides
from flockiq.pipeline.placing import Placing
from flockiq.pipeline.store import Entry, apply, base_of, entry_of, snapshot_of
from flockiq.pipeline.tellings import About
from flockiq.pipeline.told import Telling
from flockiq.pipeline.types import TypeState, empty_rows
from flockiq.pipeline.world import Plan
from flockiq.shared import wire
from flockiq.shared.lanes import Int64s, Texts
from flockiq.shared.owner import Folded
from flockiq.shared.rows import Rows
from flockiq.shared.settings import Settings
from flockiq.shared.stored_texts import Block
from flockiq.shared.tombstones import Stored, Tombstones


class State(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one commit changed; of a snapshot, everything."""

    clock_us: int
    version: int = 0  # of the golden records last told
    types: dict[str, Entry] = {}
    texts: Block = Block()
    ids: bytes = b""  # int64 [n, 2]: lanes of event ids and their second halves
    duplicates: int = 0
    too_late: int = 0
    erased: dict[str, list[int]] = {}  # entities forgotten before anything else, by type
    tombstones: Stored = {}  # new ones; of a snapshot, all


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode


def _now_us() -> int:
    return time.time_ns() // 1000


class Resolved:
    """The entities of one partition. An ``Owned`` (shared/owner.py)."""

    def __init__(self, plans: Mapping[str, Plan], settings: Settings, now_us: Callable[[], int] = _now_us) -> None:
        self.plans = plans
        self.settings = settings
        self.now_us = now_us
        self.clock_us = 0
        self.version = 0
        self.duplicates = 0
        self.too_late = 0
        self.texts = Texts()
        self.types: dict[str, TypeState] = {}
        self.tombstones = Tombstones()
        self._placing = self._no_places()

    def load(self, snapshot: bytes, entries: Sequence[bytes]) -> None:
        """Forget everything; become what the log says."""
        self.clock_us = self.version = self.duplicates = self.too_late = 0
        self.texts = Texts()
        self.types = {name: TypeState(plan) for name, plan in self.plans.items()}
        self.tombstones = Tombstones()
        self._placing = self._no_places()
        for body in ([snapshot] if snapshot else []) + list(entries):
            state = _decode(body)
            self.clock_us = max(self.clock_us, state.clock_us)
            self.version = max(self.version, state.version)
            self.duplicates += state.duplicates
            self.too_late += state.too_late
            self.texts.restore(state.texts)
            self.texts.restore_ids(np.frombuffer(state.ids, np.int64).reshape(-1, 2))
            self.tombstones.restore(state.tombstones)
            for name, numbers in state.erased.items():
                if name in self.types:
                    forget(self.types[name], np.array(numbers, np.int64))
            for name, entry in state.types.items():
                if name in self.types:
                    apply(self.types[name], entry, self.texts, state.clock_us)
        for one in self.types.values():
            one.forget_removed_rules()

    def fold(self, bodies: Sequence[bytes], commit: int) -> Folded:
        """Fold a batch; what can't be folded becomes dead letters."""
        now_us = self.now_us()
        lines = lines_of(bodies, self.types, now_us)
        mine = [one for one in lines.erasures if one.tenant == self.settings.tenant]
        erased, receipts = erase(mine, self.types, self.tombstones)
        known = {name: (len(state.ids), len(state.groups)) for name, state in self.types.items()}
        rows, letters = rows_of(lines, self.types, self.texts, now_us)
        overrides, refused = self._refuse(rows, lines.overrides, known)
        self.version = max(self.version + 1, now_us)
        told = Telling(About(self.settings.tenant, commit, self.version, now_us, self._placing), self.texts)
        changed: dict[str, Entry] = {}
        duplicates = too_late = 0
        nothing = np.zeros(0, np.int64)
        judged = self._judge_again(told)
        letters += add_overrides(rows, overrides, self.types, self.texts, now_us)
        end_overrides(rows, max(self.clock_us, lines.tick_us), self.types, self.texts, now_us)
        for name in rows.keys() | judged.keys():
            state, again = self.types[name], judged.get(name, nothing)
            effect = state.process(rows.get(name, empty_rows(state.plan)), self.texts, self.clock_us)
            duplicates += effect.duplicates
            too_late += effect.too_late
            told.tell(state, effect)
            entities = np.union1d(effect.entities, again)
            entry = entry_of(state, known[name], entities, effect.groups)
            entry.rows = dict(effect.logged.packed()) if len(effect.logged) else {}
            entry.timed = effect.timed
            if effect.too_late or len(again):
                entry.base = base_of(state, entities, effect.groups)
            changed[name] = entry
        if lines.tick_us > self.clock_us:
            self.clock_us = lines.tick_us
            self._tick(told, changed, known)
        self.duplicates += duplicates
        self.too_late += too_late
        body = _encode(
            State(
                clock_us=self.clock_us,
                version=self.version,
                types=changed,
                texts=self.texts.taken(),
                ids=self.texts.taken_ids().tobytes(),
                duplicates=duplicates,
                too_late=too_late,
                erased=erased,
                tombstones=self.tombstones.stored() if mine else {},
            )
        )
        records = sum(map(len, rows.values()))
        return Folded(body, told.outbox(), lines.letters + letters, records, bool(erased) or refused, receipts)

    def _no_places(self) -> Placing:
        return Placing(self.settings.partitions["entities"] if self.settings.entity_hubs else 0)

    def _refuse(
        self, rows: dict[str, Rows], overrides: Sequence[wire.Override], known: Mapping[str, tuple[int, int]]
    ) -> tuple[Sequence[wire.Override], bool]:
        """Take out what an erasure forbids: rows in place, the overrides that are left, whether there was anything."""
        if not self.tombstones:
            return overrides, False
        refused = False
        for name, some in list(rows.items()):
            rows[name], forbidden = refuse(self.types[name], some, self.tombstones, known[name][0])
            refused = refused or forbidden
        left = [one for one in overrides if one.data.at_us > self.tombstones.until_us(one.data.entity_id)]
        return left, refused

    def _judge_again(self, told: Telling) -> dict[str, Int64s]:
        """Judge what is there by rules that have changed since; the entities concerned, by type."""
        judged: dict[str, Int64s] = {}
        for name, state in self.types.items():
            if state.judged_by != state.plan.fingerprint:
                judged[name], steps = state.judge_again(self.texts)
                told.steps(state, steps)
        return judged

    def _tick(self, told: Telling, changed: dict[str, Entry], known: Mapping[str, tuple[int, int]]) -> None:
        nothing = np.zeros(0, np.int64)
        for name, state in self.types.items():
            steps = state.tick(self.clock_us)
            if not steps:
                continue
            told.steps(state, steps)
            entry = changed.get(name)
            if entry is None:
                entry = changed[name] = entry_of(state, known[name], nothing, nothing)
            for entity in {step.entity for step in steps}:
                entry.quiet[entity] = state.live.episodes.open.get(entity, {})

    def snapshot(self) -> bytes:
        """Everything, without what no replay needs any more."""
        types: dict[str, Entry] = {}
        now_us = self.now_us()
        self.tombstones.expire(now_us)
        lanes: set[int] = set()
        for name, state in self.types.items():
            lateness = state.plan.lateness
            state.compact(
                self.texts,
                arrived_before_us=lateness.before_us(now_us, self.settings),
                versions=lateness.depth(self.settings),
            )
            types[name] = snapshot_of(state)
            lanes |= _lanes(state)
        self.texts = self.texts.only(lanes)
        texts, ids = self.texts.all()
        return _encode(
            State(
                clock_us=self.clock_us,
                version=self.version,
                types=types,
                texts=texts,
                ids=ids.tobytes(),
                duplicates=self.duplicates,
                too_late=self.too_late,
                tombstones=self.tombstones.stored(),
            )
        )


def _lanes(state: TypeState) -> set[int]:
    """Every lane whose text this entity type still refers to."""
    rows = state.history.live()
    columns = [rows.key, rows.shown, rows.event, rows.value, np.frombuffer(state.shown, np.int64)]
    base = state.base.kept(state.base.entities.kept, state.base.groups.kept)
    for world in (state.live, base):
        columns += [world.golden.value, world.golden.key, world.golden.event, world.signs.since]
    found = set(np.unique(np.concatenate([column.reshape(-1) for column in columns])).tolist())
    episodes = [*state.live.episodes.open.values(), *state.base.open.values()]
    return found | {episode.cause for by_rule in episodes for episode in by_rule.values()}
