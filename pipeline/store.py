"""How the state of one entity type is written to a state log and read back.

An entry holds the rows a batch changed, as columns; a snapshot holds everything, the base and its
floors as well. Both carry the names of fields, sources and rules they were written with, so that
state written under an older config is carried over column by column.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from flockiq.compare.anomalies import Series
from flockiq.merge.ages import Older
from flockiq.merge.golden import Golden
from flockiq.pipeline.history import Marks
from flockiq.pipeline.overrides import Override
from flockiq.pipeline.retype import retyped
from flockiq.pipeline.types import TypeState
from flockiq.pipeline.world import Signs, World
from flockiq.shared.arrays import Array, Packed
from flockiq.shared.lanes import ABSENT, NULL, Int64s, LaneType, Texts
from flockiq.shared.layout import Field, Layout
from flockiq.shared.positions import hash_id
from flockiq.shared.rows import Rows
from flockiq.signal.episodes import Episode, Open

_BITS = 63  # of a holds word
PackedMap = dict[str, tuple[str, list[int], bytes]]


class Part(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Some entities and groups of a world."""

    entities: bytes  # int64
    groups: bytes  # int64
    golden: PackedMap
    signs: PackedMap
    series: PackedMap
    episodes: dict[int, dict[str, Episode]] = {}


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a batch changed in one entity type; of a snapshot, all there is."""

    fields: list[str]
    kinds: list[tuple[LaneType, int]] = []  # the fields' types and scales; none said: those of today
    sources: list[str]
    rules: list[str]
    tolerances: list[str]
    baselines: list[str]
    seasons: list[str] = []  # the fields of those with a weekly rhythm, and its zone
    judged_by: str = ""
    chosen_by: str = ""  # the survivorship rules that golden values follow from
    ids: list[str] = []  # of entities new since the entry before
    match_keys: list[str] = []
    group_of: list[int] = []
    shown: list[int] = []
    groups: list[str] = []
    live: Part | None = None
    base: Part | None = None
    rows: PackedMap = {}  # logged
    marks: PackedMap = {}  # of a snapshot
    overrides: dict[int, Override] = {}  # by the lane of their ids: new, or ended since
    quiet: dict[int, dict[str, Episode]] = {}  # episodes that only time has moved
    timed: list[int] = []  # entities whose episodes time has moved in a replay


def entry_of(state: TypeState, known: tuple[int, int], entities: Int64s, groups: Int64s) -> Entry:
    """An empty entry for ``state`` with what is new since ``known`` entities and groups."""
    layout = state.plan.layout
    ids, group_count = known
    return Entry(
        fields=[field.name for field in layout.fields],
        kinds=[(field.kind, field.scale) for field in layout.fields],
        sources=list(layout.tellers),
        rules=[watch.name for watch in state.plan.watches],
        tolerances=[layout.fields[one.field].name for one in layout.tolerances],
        baselines=[layout.fields[one.field].name for one in layout.baselines],
        seasons=_seasons(layout),
        judged_by=state.judged_by,
        chosen_by=chosen_by(layout),
        ids=state.ids.names[ids:],
        match_keys=state.match_keys[ids:],
        group_of=state.group_of[ids:].tolist(),
        shown=state.shown[ids:].tolist(),
        overrides=state.overrides.changed(),
        groups=state.groups.names[group_count:],
        live=part_of(state.live, entities, groups) if len(entities) or len(groups) else None,
    )


def part_of(world: World, entities: Int64s, groups: Int64s) -> Part:
    """Some entities and groups of a world, to be written."""
    return Part(
        entities=entities.tobytes(),
        groups=groups.tobytes(),
        golden=dict(world.golden.packed(entities)),
        signs=dict(world.signs.packed(entities)),
        series=dict(world.series.packed(groups)),
        episodes={entity: world.episodes.open[entity] for entity in entities.tolist() if entity in world.episodes.open},
    )


def base_of(state: TypeState, entities: Int64s, groups: Int64s) -> Part:
    """What the base has of some entities and groups, to be written."""
    base = state.base
    kept, series = entities[base.entities.of[entities] >= 0], groups[base.groups.of[groups] >= 0]
    there = base.kept(kept, series)
    return Part(
        entities=kept.tobytes(),
        groups=series.tobytes(),
        golden=dict(there.golden.packed()),
        signs=dict(there.signs.packed()),
        series=dict(there.series.packed()),
        episodes={entity: base.open.get(entity, {}) for entity in entities.tolist()},
    )


def snapshot_of(state: TypeState) -> Entry:
    """Everything of one entity type."""
    state.room()
    entities, groups = np.arange(len(state.ids)), np.arange(len(state.groups))
    entry = entry_of(state, (0, 0), entities, groups)
    entry.base = base_of(state, entities, groups)
    entry.base.episodes = {entity: episodes for entity, episodes in entry.base.episodes.items() if episodes}
    state.overrides.only(_referred(state))
    entry.overrides = dict(state.overrides.by_event)
    entry.rows = dict(state.history.live().packed())
    entry.marks = dict(state.history.marks.packed(groups))
    return entry


def _referred(state: TypeState) -> set[int]:
    """The lanes of the overrides that golden records, the base or the log refer to."""
    if not state.plan.layout.overrides:
        return set()
    people = len(state.plan.layout.sources)
    rows, kept = state.history.live(), state.base.kept(state.base.entities.kept, state.base.groups.kept)
    field = np.arange(len(state.plan.layout.fields))
    worlds = [
        world.golden.positions(np.arange(len(world.golden))[:, None], people, field)[2].reshape(-1)
        for world in (state.live, kept)
    ]
    return set(np.unique(np.concatenate([rows.event[rows.source == people], *worlds])).tolist())


def apply(state: TypeState, entry: Entry, texts: Texts, clock_us: int) -> None:
    """Bring ``state`` to what an entry says; a snapshot's comes first, to an empty state."""
    state.entities.restore(entry.ids, entry.match_keys, entry.group_of, entry.shown, entry.groups)
    state.judged_by = entry.judged_by
    state.overrides.restore(entry.overrides)
    state.room()
    carry = _Carry(state, entry, texts)
    if entry.base is not None:
        _restore_base(state, entry.base, carry)
    logged = carry.rows(Rows.unpacked(entry.rows)) if entry.rows else None
    if logged is not None:  # what the base has not yet is as the live world was before this entry
        state.base.keep(state.live, np.unique(logged.entity), np.unique(logged.group))
    if entry.live is not None:
        _restore(state.live, entry.live, carry)
    for entity, episodes in entry.quiet.items():
        _set(state.live.episodes.open, entity, episodes)
    if logged is not None:
        _log(state, logged)
    if entry.marks:
        none = np.full(len(state.groups), ABSENT, np.int64)
        marks = Marks.unpacked({"clock_us": (none.dtype.str, [len(none)], none.tobytes())} | entry.marks)
        marks.head[:] = state.history.marks.head[: len(marks)]
        state.history.marks.put(np.arange(len(marks)), marks)
    state.timed([*entry.quiet, *entry.timed], clock_us)


def _log(state: TypeState, rows: Rows) -> None:
    """Log what was logged: what was told first, then what may take the place of something told."""
    revised = rows.revision > 0
    state.history.append(rows.take(~revised))
    if revised.any():
        state.history.revise(rows.take(revised))


def _restore(world: World, part: Part, carry: _Carry) -> None:
    entities, groups = np.frombuffer(part.entities, np.int64), np.frombuffer(part.groups, np.int64)
    world.golden.put(entities, carry.golden(part.golden, len(entities)))
    world.signs.put(entities, carry.signs(part.signs, len(entities)))
    world.series.put(groups, carry.series(part.series, len(groups)))
    for entity in entities.tolist():
        _set(world.episodes.open, entity, part.episodes.get(entity, {}))


def _restore_base(state: TypeState, part: Part, carry: _Carry) -> None:
    entities, groups = np.frombuffer(part.entities, np.int64), np.frombuffer(part.groups, np.int64)
    golden, signs = carry.golden(part.golden, len(entities)), carry.signs(part.signs, len(entities))
    state.base.restore(entities, groups, golden, signs, carry.series(part.series, len(groups)))
    for entity, episodes in part.episodes.items():
        _set(state.base.open, entity, episodes)


def _set(open_: Open, entity: int, episodes: dict[str, Episode]) -> None:
    if episodes:
        open_[entity] = episodes
    else:
        open_.pop(entity, None)


class _Carry:
    """Carries columns written under an older config over to today's, by name."""

    def __init__(self, state: TypeState, entry: Entry, texts: Texts) -> None:
        self.layout = layout = state.plan.layout
        self.texts = texts
        self.fields = _moved(entry.fields, [field.name for field in layout.fields])
        self.retyped = _retyped(entry, layout)
        self.chosen_anew = entry.chosen_by != chosen_by(layout)
        self.sources = _moved(entry.sources, list(layout.tellers))
        self.states = [watch for watch in state.plan.watches if watch.is_state]
        self.rules = _moved(entry.rules, [watch.name for watch in state.plan.watches])
        self.tolerances = _moved(entry.tolerances, [layout.fields[one.field].name for one in layout.tolerances])
        self.baselines = _moved(entry.baselines, [layout.fields[one.field].name for one in layout.baselines])
        self.seasons = _moved(entry.seasons, _seasons(layout))

    def golden(self, packed: Packed, n: int) -> Golden:
        """Golden state by field and source."""
        old = Golden.unpacked(packed)
        if self.chosen_anew:
            old.settled[:] = False
        for (number, was_field), now_field in self.retyped:
            old.value[:, :, number] = retyped(old.value[:, :, number], was_field, now_field, self.texts)
            old.golden[:, number] = retyped(old.golden[:, number], was_field, now_field, self.texts)
        if self.fields.same and self.sources.same:
            return old
        new = Golden.empty(self.layout, n)
        for name in Golden.names:
            self._golden_column(name, getattr(old, name), getattr(new, name))
        new.aged = Older.empty(len(self.layout.fields))
        new.aged.lengthen(len(old.aged))
        for name in Older.names:
            for old_field, field in self.fields.pairs:
                getattr(new.aged, name)[:, field] = getattr(old.aged, name)[:, old_field]
        renumbered = dict(self.sources.pairs)
        new.winner[...] = np.vectorize(lambda source: renumbered.get(source, -1), otypes=[np.int8])(new.winner)
        return new

    def _golden_column(self, name: str, was: Array, now: Array) -> None:
        match was.ndim, name:
            case 3, _:
                for old_source, source in self.sources.pairs:
                    for old_field, field in self.fields.pairs:
                        now[:, source, field] = was[:, old_source, old_field]
            case 1, _:
                now[:] = was
            case 2, "golden" | "winner" | "rule":
                for old_field, field in self.fields.pairs:
                    now[:, field] = was[:, old_field]
            case _:
                for old_source, source in self.sources.pairs:
                    now[:, source] = was[:, old_source]

    def signs(self, packed: Packed, n: int) -> Signs:
        """Drift and condition bits by field and rule."""
        new = Signs.empty(self.layout, n)
        unwritten = np.full((n, packed["drift"][1][1]), NULL, np.int64)  # an earlier FlockIQ did not say since when
        old = Signs.unpacked({"since": (unwritten.dtype.str, list(unwritten.shape), unwritten.tobytes()), **packed})
        for old_number, number in self.tolerances.pairs:
            new.drift[:, number] = old.drift[:, old_number]
            new.since[:, number] = old.since[:, old_number]
        states = {watch.number for watch in self.states}
        for old_number, number in self.rules.pairs:
            if number not in states or old_number >= _BITS:
                continue
            new.holds[...] |= ((old.holds >> np.int64(old_number)) & 1) << np.int64(number)
        return new

    def series(self, packed: Packed, n: int) -> Series:
        """Baselines by field, weekly rhythms by field and zone; before there were rhythms, none was written."""
        new = Series.empty(self.layout, n)
        unwritten = {name: column for name, column in new.packed().items() if name not in packed}
        old = Series.unpacked({**packed, **unwritten})
        if self.baselines.same and self.seasons.same:
            return old
        for name in Series.names:
            moved = self.seasons if name in ("offset", "hits", "spread") else self.baselines
            for old_number, number in moved.pairs:
                getattr(new, name)[:, number] = getattr(old, name)[:, old_number]
        return new

    def rows(self, rows: Rows) -> Rows:
        """Logged rows by field and source; those of sources that are gone stay out."""
        for (number, was), now in self.retyped:
            rows.value[:, number] = retyped(rows.value[:, number], was, now, self.texts)
        if self.fields.same and self.sources.same:
            return rows
        value = np.full((len(rows), len(self.layout.fields)), ABSENT, np.int64)
        for old_field, field in self.fields.pairs:
            value[:, field] = rows.value[:, old_field]
        rows.value = value
        renumbered = dict(self.sources.pairs)
        source = np.array([renumbered.get(number, -1) for number in rows.source.tolist()], np.int64)
        rows.source = source
        return rows.take(source >= 0)


def chosen_by(layout: Layout) -> str:
    """What golden values follow from: where it differs, they are chosen anew."""
    by_field = zip(layout.fields, layout.survivorship, layout.ranks, strict=True)
    follows = [str(layout.follows)] if layout.currencies else []
    return hash_id(*layout.tellers, *(f"{field} {rules} {ranks}" for field, rules, ranks in by_field), *follows)


def _seasons(layout: Layout) -> list[str]:
    """What tells weekly rhythms apart: those of another zone are others."""
    baselines = [layout.baselines[number] for number in layout.seasons]
    return [f"{layout.fields[one.field].name}@{one.zone}" for one in baselines]


class _Pairs(NamedTuple):
    """(old index, new index) of the names in both lists; ``same`` when nothing moved."""

    pairs: tuple[tuple[int, int], ...]
    same: bool


def _moved(old: list[str], new: list[str]) -> _Pairs:
    return _Pairs(tuple((old.index(name), new.index(name)) for name in old if name in new), old == new)


def _retyped(entry: Entry, layout: Layout) -> list[tuple[tuple[int, Field], Field]]:
    """The fields whose type is another today: ((old index, old field), field)."""
    written = {
        name: (number, Field(name, *kind))
        for number, (name, kind) in enumerate(zip(entry.fields, entry.kinds, strict=False))
    }
    today = [(written[field.name], field) for field in layout.fields if field.name in written]
    return [(was, field) for was, field in today if was[1] != field]
