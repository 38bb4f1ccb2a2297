"""One entity type in one partition: what a batch of its rows does, on time or late."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flockiq.pipeline.history import History, beyond
from flockiq.pipeline.reader import Reader
from flockiq.pipeline.world import DeltaRows, Plan, World, play
from flockiq.shared.lanes import Bools, Int64s, Texts
from flockiq.shared.rows import Rows
from flockiq.signal.episodes import Step, corrected


class Effect(NamedTuple):
    """What a batch did.

    deltas: those that are now true; retracted: those told before that are not (with the same
    columns); steps: what alerts go through; entities, groups: int64, touched, each once;
    duplicates, too_late: counts of rows.
    """

    deltas: DeltaRows
    retracted: DeltaRows
    steps: list[Step]
    entities: Int64s
    groups: Int64s
    logged: Rows
    duplicates: int
    too_late: int


class Names:
    """Dense numbers for texts, given in the order of their first use."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = list(names)
        self.index = {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def number(self, name: str) -> int:
        """The name's number; a new name gets the next."""
        known = self.index.get(name)
        if known is None:
            known = self.index[name] = len(self.names)
            self.names.append(name)
        return known

    def find(self, name: str) -> int | None:
        """The name's number, or None."""
        return self.index.get(name)


class TypeState:
    """The state of one entity type: the live world, the base it can be replayed from, the log between."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ids = Names()
        self.match_keys: list[str] = []
        self.groups = Names()
        self.group_of = array("q")  # the group each entity belongs to: that of its first row
        self.shown = array("q")  # text lane of what people call it
        self.reader = Reader(plan.layout)
        self.live = World.empty(plan.layout, 0, 0)
        self.base = World.empty(plan.layout, 0, 0)
        self.history = History(empty_rows(plan))

    def entity(self, entity_id: str, match_key: str, group: str, shown: int) -> tuple[int, int]:
        """The dense numbers of an entity and its group; a new one is remembered, with the lane of its name."""
        number = self.ids.number(entity_id)
        if number == len(self.match_keys):
            self.match_keys.append(match_key)
            self.group_of.append(self.groups.number(group))
            self.shown.append(shown)
        return number, self.group_of[number]

    def forget_removed_rules(self) -> None:
        """Drop the episodes of rules that config has no more; the clock resolves their alerts."""
        known = self.plan.by_name.keys()
        for world in (self.live, self.base):
            for entity, episodes in list(world.episodes.open.items()):
                kept = {rule: episode for rule, episode in episodes.items() if rule in known}
                if kept:
                    world.episodes.open[entity] = kept
                else:
                    del world.episodes.open[entity]

    def room(self) -> None:
        """Make room in every column for the entities and groups known by now."""
        entities, groups = len(self.ids), len(self.groups)
        self.live.grow(self.plan.layout, entities, groups)
        self.base.grow(self.plan.layout, entities, groups)
        self.history.marks = self.history.marks.grow(groups)

    def process(self, rows: Rows, texts: Texts, clock_us: int) -> Effect:
        """Fold a batch of rows, in any order, late ones and repeated ones included."""
        self.room()
        rows, repeated = self._without_repeats(rows)
        late_groups = self._late(rows)
        late = np.isin(rows.group, late_groups)
        too_late = late & ~beyond(rows, *self._floor(rows.group))
        on_time = ~late | too_late

        told = play(self.live, self.plan, rows.take(on_time), texts)
        play(self.base, self.plan, rows.take(too_late), texts)
        self.base.episodes.taken()
        parts, gone = [told], []
        replayed = rows.take(late & ~too_late)
        if len(replayed):
            right, wrong = self._replay(replayed, texts, clock_us)
            parts.append(right)
            gone.append(wrong)
        logged = rows.take(~too_late)
        self.history.append(logged)
        return Effect(
            deltas=DeltaRows.joined(parts),
            retracted=DeltaRows.joined(gone),
            steps=self.live.episodes.taken(),
            entities=np.unique(rows.entity),
            groups=np.unique(rows.group),
            logged=logged,
            duplicates=repeated,
            too_late=int(too_late.sum()),
        )

    def tick(self, clock_us: int) -> list[Step]:
        """Let time pass for every open episode."""
        self.live.episodes.passes(self.plan.by_name, clock_us)
        return self.live.episodes.taken()

    def _without_repeats(self, rows: Rows) -> tuple[Rows, int]:
        """Rows without those whose event is in the batch already, or in the log, at the same position."""
        _, first = np.unique(np.stack([rows.event, rows.us, rows.rr], axis=1), axis=0, return_index=True)
        rows_once = rows.take(np.sort(first))
        marks = self.history.marks
        group = rows_once.group
        old = ~beyond(rows_once, marks.last_us[group], marks.last_rr[group], marks.last_hash[group])
        if old.any():
            logged = self.history.of(np.unique(group[old]))
            known = set(zip(logged.event.tolist(), logged.us.tolist(), logged.rr.tolist(), strict=True))
            here = zip(rows_once.event.tolist(), rows_once.us.tolist(), rows_once.rr.tolist(), strict=True)
            rows_once = rows_once.take(~(old & np.fromiter((row in known for row in here), np.bool_, len(old))))
        return rows_once, len(rows) - len(rows_once)

    def _late(self, rows: Rows) -> Int64s:
        """The groups in which a row comes before one that was folded already."""
        marks, group = self.history.marks, rows.group
        ahead = beyond(rows, marks.last_us[group], marks.last_rr[group], marks.last_hash[group])
        return np.unique(group[~ahead])

    def _floor(self, group: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        marks = self.history.marks
        return marks.floor_us[group], marks.floor_rr[group], marks.floor_hash[group]

    def _replay(self, late: Rows, texts: Texts, clock_us: int) -> tuple[DeltaRows, DeltaRows]:
        """Redo the late rows' groups from the base, with and without them; returns deltas (right, wrong).

        What the two histories share has been told already; the difference corrects it.
        """
        groups = np.unique(late.group)
        logged = self.history.of(groups)
        entities = np.unique(np.concatenate([logged.entity, late.entity]))
        before, after = self.base.part(entities, groups), self.base.part(entities, groups)
        old_rows, new_rows = _local(logged, entities, groups), _local(late, entities, groups)
        old = play(before, self.plan, old_rows, texts)
        both = Rows(**{name: np.concatenate([getattr(old_rows, name), getattr(new_rows, name)]) for name in Rows.names})
        new = play(after, self.plan, both, texts)
        after.episodes.passes(self.plan.by_name, clock_us)
        steps = after.episodes.taken()
        for number, entity in enumerate(entities.tolist()):
            self.live.episodes.steps += corrected(
                entity,
                self.live.episodes.open.get(entity, {}),
                after.episodes.open.get(number, {}),
                [step for step in steps if step.entity == number],
            )
        self.live.replace(entities, groups, after)
        same_old, same_new = _shared(old, new)
        return _global(new.where(~same_new), entities), _global(old.where(~same_old), entities)

    def compact(self, texts: Texts, *, arrived_before_us: int, versions: int) -> None:
        """Fold into the base, and forget, what no replay needs: old rows, and more than ``versions`` deep.

        A group keeps a suffix of its rows in position order: the newest ``versions`` for each of
        its entities and sources, as long as they have arrived since ``arrived_before_us``.
        """
        rows = self.history.live()
        if not len(rows):
            return
        order = np.lexsort((rows.hash, rows.rr, rows.us, rows.group))
        rows = rows.take(order)
        starts = np.flatnonzero(np.r_[True, rows.group[1:] != rows.group[:-1]])
        sizes = np.diff(np.r_[starts, len(rows)])
        pairs = np.unique(np.stack([rows.group, rows.entity, rows.source], axis=1), axis=0)
        _, streams = np.unique(pairs[:, 0], return_counts=True)
        from_end = np.repeat(starts + sizes, sizes) - np.arange(len(rows))
        deep = from_end > np.repeat(versions * streams, sizes)
        forgotten = deep | (rows.arrived_us < arrived_before_us)
        kept_before = np.cumsum(~forgotten) - ~forgotten
        prefix = forgotten & (kept_before == np.repeat(kept_before[starts], sizes))
        if not prefix.any():
            return
        play(self.base, self.plan, rows.take(prefix), texts)
        self.base.episodes.taken()
        newest = np.flatnonzero(prefix & ~np.r_[prefix[1:] & (rows.group[1:] == rows.group[:-1]), False])
        floor, marks = rows.take(newest), self.history.marks
        marks.floor_us[floor.group], marks.floor_rr[floor.group] = floor.us, floor.rr
        marks.floor_hash[floor.group] = floor.hash
        self.history.rebuild(rows.take(~prefix))


def empty_rows(plan: Plan) -> Rows:
    """No rows of this type."""
    columns = {name: np.zeros(0, np.int64) for name in Rows.names}
    columns["value"] = np.zeros((0, len(plan.layout.fields)), np.int64)
    return Rows(**(columns | {"op": np.zeros(0, np.int8)}))


def _local(rows: Rows, entities: Int64s, groups: Int64s) -> Rows:
    local = rows.take(np.arange(len(rows)))
    local.entity = np.searchsorted(entities, rows.entity)
    local.group = np.searchsorted(groups, rows.group)
    return local


def _global(told: DeltaRows, entities: Int64s) -> DeltaRows:
    return told._replace(entity=entities[told.entity]) if len(told.entity) else told


def _shared(old: DeltaRows, new: DeltaRows) -> tuple[Bools, Bools]:
    """Which of the old deltas are among the new, and which of the new among the old."""
    names = ("entity", "field", "old", "new", "event")
    both = np.stack([np.concatenate([getattr(old, name), getattr(new, name)]) for name in names], axis=1)
    _, which = np.unique(both, axis=0, return_inverse=True)
    which = which.reshape(-1)
    of_old, of_new = which[: len(old.entity)], which[len(old.entity) :]
    return np.isin(of_old, of_new), np.isin(of_new, of_old)
