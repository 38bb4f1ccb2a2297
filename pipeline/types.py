"""One entity type in one partition: what a batch of its rows does, on time or late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from flockiq.compare.findings import Findings
from flockiq.merge.golden import UNSEEN
from flockiq.pipeline.arrivals import arrived
from flockiq.pipeline.base import Base
from flockiq.pipeline.entities import Entities
from flockiq.pipeline.history import History
from flockiq.pipeline.ordered import shared
from flockiq.pipeline.overrides import Overrides
from flockiq.pipeline.play import judge_again, play
from flockiq.pipeline.prints import Prints
from flockiq.pipeline.reader import Reader
from flockiq.pipeline.replays import replay_of
from flockiq.pipeline.world import DeltaRows, Plan, World
from flockiq.shared.arrays import distinct
from flockiq.shared.lanes import Bools, Int64s, Texts
from flockiq.shared.rows import VOID, Rows
from flockiq.signal.episodes import Step, corrected


class Effect(NamedTuple):
    """What a batch did.

    deltas: those that are now true; retracted: those told before that are not (with the same
    columns); found, unfound: likewise; steps: what alerts go through; entities, groups: int64, touched, each once;
    duplicates, too_late: counts of rows; timed: entities whose episodes a replay's passing of time has changed.
    """

    deltas: DeltaRows
    retracted: DeltaRows
    found: Findings
    unfound: Findings
    steps: list[Step]
    entities: Int64s
    groups: Int64s
    logged: Rows
    duplicates: int
    too_late: int
    timed: list[int]


class TypeState:
    """The state of one entity type: the live world, the base it can be replayed from, the log between."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.entities = Entities()
        self.ids, self.groups, self.match_keys = self.entities.ids, self.entities.groups, self.entities.match_keys
        self.reader = Reader(plan.layout)
        self.prints = Prints(plan.layout)
        self.overrides = Overrides()
        self.judged_by = plan.fingerprint  # the rules that the entities were judged by
        self.live = World.empty(plan.layout, 0, 0)
        self.base = Base(plan.layout)
        self.history = History(len(plan.layout.fields))
        self._timed: set[int] = set()  # what time has changed in this batch's replay

    def entity(self, entity_id: str, match_key: str, group: str, shown: int) -> tuple[int, int]:
        """The dense numbers of an entity and its group; a new one is remembered, with the lane of its name."""
        number = self.entities.add(entity_id, match_key, group, shown)
        return number, int(self.group_of[number])

    @property
    def group_of(self) -> Int64s:
        """The group each entity belongs to: int64 [n]."""
        return self.entities.group_of

    @property
    def shown(self) -> Int64s:
        """The text lane of what people call each entity: int64 [n]."""
        return self.entities.shown

    def unname(self, entities: Int64s) -> Int64s:
        """Take entities' names from them, and from the groups that are theirs alone, which are given back."""
        of = self.group_of
        theirs = np.setdiff1d(of[entities], np.delete(of, entities))
        self.entities.unname(entities, theirs)
        return theirs

    def forget_removed_rules(self) -> None:
        """Drop the episodes of rules that config has no more; the clock resolves their alerts."""
        known = self.plan.by_name.keys()
        for open_ in (self.live.episodes.open, self.base.open):
            for entity, episodes in list(open_.items()):
                kept = {rule: episode for rule, episode in episodes.items() if rule in known}
                if kept:
                    open_[entity] = kept
                else:
                    del open_[entity]

    def judge_again(self, texts: Texts) -> tuple[Int64s, list[Step]]:
        """Judge every entity by today's rules; returns the entities and what alerts go through."""
        self.room()
        shown = self.shown
        everything, groups = np.arange(len(self.ids)), np.zeros(0, np.int64)
        base = self.base.part(self.live, everything, groups)
        before = np.flatnonzero((base.golden.state != UNSEEN).any(axis=1))
        judge_again(base, self.plan, before, shown[before], texts)
        self.base.replace(everything, groups, base)
        known = np.flatnonzero((self.live.golden.state[: len(self.ids)] != UNSEEN).any(axis=1))
        judge_again(self.live, self.plan, known, shown[known], texts)
        self.judged_by = self.plan.fingerprint
        return known, self.live.episodes.taken()

    def room(self) -> None:
        """Make room in every column for the entities and groups known by now."""
        entities, groups = len(self.ids), len(self.groups)
        self.live.grow(self.plan.layout, entities, groups)
        self.base.room(entities, groups)
        self.history.marks.grow(groups)

    def process(self, rows: Rows, texts: Texts, clock_us: int) -> Effect:
        """Fold a batch of rows, in any order: late, repeated and revised ones included."""
        self.room()
        self._timed = set()
        rows, at_once, late, too_late, revises, repeated = arrived(self.history, rows)
        logged = rows.take(~too_late) if too_late.any() else rows
        groups = distinct(rows.group, len(self.groups))
        kept = groups if logged is rows else distinct(logged.group, len(self.groups))
        self.base.keep(self.live, distinct(logged.entity, len(self.ids)), kept)
        if too_late.any():
            self._fold_base(rows.take(too_late & (rows.op != VOID)), texts)
        told = play(self.live, self.plan, rows.first(at_once), texts)
        parts, gone, touched = [told], [], rows.entity
        unfound: list[Findings] = []
        again = late & ~too_late
        if again.any():
            right, wrong, redone, was_found = self._replay(rows.take(again), revises[again], texts, clock_us)
            unfound.append(was_found)
            parts.append(right)
            gone.append(wrong)
            touched = np.concatenate([touched, redone])
        self.history.append(logged if not revises.any() else rows.take(~too_late & ~revises))
        if revises.any():
            self.history.revise(rows.take(revises))
        return Effect(
            deltas=DeltaRows.joined(parts),
            retracted=DeltaRows.joined(gone),
            found=self.live.found(),
            unfound=Findings.joined(unfound),
            steps=self.live.episodes.taken(),
            entities=distinct(touched, len(self.ids)),
            groups=groups,
            logged=logged,
            duplicates=repeated,
            too_late=int(too_late.sum()),
            timed=sorted(self._timed),
        )

    def _fold_base(self, rows: Rows, texts: Texts) -> None:
        """Fold rows into the base without a word."""
        if not len(rows):
            return
        entities, groups = np.unique(rows.entity), np.unique(rows.group)
        part = self.base.part(self.live, entities, groups)
        play(part, self.plan, _local(rows, entities, groups), texts)
        self.base.replace(entities, groups, part)

    def tick(self, clock_us: int) -> list[Step]:
        """Let time pass for every open episode."""
        self.live.episodes.passes(self.plan.by_name, clock_us)
        steps = self.live.episodes.taken()
        self.timed((step.entity for step in steps), clock_us)
        return steps

    def timed(self, entities: Iterable[int], clock_us: int) -> None:
        """Note that time, come to ``clock_us``, has changed episodes of these entities."""
        self.room()
        for entity in entities:
            self.history.marks.clock_us[self.group_of[entity]] = clock_us

    def _replay(
        self, late: Rows, revises: Bools, texts: Texts, clock_us: int
    ) -> tuple[DeltaRows, DeltaRows, Int64s, Findings]:
        """Redo the late rows' groups from the base, with and without them.

        Returns deltas (right, wrong), entities, and what was found that is not so.

        What the two histories share has been told already; the difference corrects it. Up to a group's first
        late row they are one. A late row takes the place of the logged one that it revises.
        """
        entities, groups, both, told, right = replay_of(self.history, late, revises)
        after = self.base.part(self.live, entities, groups)
        play(after, self.plan, both, texts)
        after.found()
        before = after.part(np.arange(len(entities)), np.arange(len(groups)))
        old = play(before, self.plan, told, texts, judging=False)
        new = play(after, self.plan, right, texts)
        steps = after.episodes.taken()
        after.episodes.passes(self.plan.by_name, clock_us)
        by_time = after.episodes.taken()
        self._timed = {int(entities[step.entity]) for step in by_time}
        self.timed(self._timed, clock_us)
        ended: dict[int, list[Step]] = defaultdict(list)
        for step in steps + by_time:
            ended[step.entity].append(step)
        for number, entity in enumerate(entities.tolist()):
            was_open, is_open = self.live.episodes.open.get(entity, {}), after.episodes.open.get(number, {})
            if was_open != is_open:
                self.live.episodes.steps += corrected(entity, was_open, is_open, ended[number])
        self.live.replace(entities, groups, after)
        same_old, same_new = shared(old, new)
        was, now = before.found(), after.found()
        self.live.findings.append(_global(now.but(was), entities))
        wrong = _global(old.where(~same_old), entities)
        return _global(new.where(~same_new), entities), wrong, entities, _global(was.but(now), entities)

    def compact(self, texts: Texts, *, arrived_before_us: int, versions: int) -> None:
        """Fold into the base, and forget, what no replay needs: old rows, and more than ``versions`` deep.

        A group keeps a suffix of its rows in position order: the newest ``versions`` for each of
        its entities and sources, as long as they have arrived since ``arrived_before_us``.
        """
        rows = self.history.live()
        if not len(rows):
            return
        order = np.lexsort((rows.event, rows.rr, rows.us, rows.group))
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
        self._fold_base(_told(rows.take(prefix)), texts)
        newest = np.flatnonzero(prefix & ~np.r_[prefix[1:] & (rows.group[1:] == rows.group[:-1]), False])
        floor, marks = rows.take(newest), self.history.marks
        marks.floor_us[floor.group], marks.floor_rr[floor.group] = floor.us, floor.rr
        marks.floor_hash[floor.group] = floor.event
        left = rows.take(~prefix)
        self.history.rebuild(left)
        self.base.only(np.unique(left.entity), np.unique(left.group))


def empty_rows(plan: Plan) -> Rows:
    """No rows of this type."""
    columns = {name: np.zeros(0, np.int64) for name in Rows.names}
    columns["value"] = np.zeros((0, len(plan.layout.fields)), np.int64)
    return Rows(**(columns | {"op": np.zeros(0, np.int8)}))


def _told(rows: Rows) -> Rows:
    """Rows without those that are void."""
    void = rows.op == VOID
    return rows.take(~void) if void.any() else rows


def _local(rows: Rows, entities: Int64s, groups: Int64s) -> Rows:
    """The rows with entities and groups numbered as they stand among those given."""
    numbers = {"entity": np.searchsorted(entities, rows.entity), "group": np.searchsorted(groups, rows.group)}
    return Rows(**{name: getattr(rows, name) for name in Rows.names} | numbers)


def _global[Told: (DeltaRows, Findings)](told: Told, entities: Int64s) -> Told:
    return told._replace(entity=entities[told.entity]) if len(told.entity) else told
