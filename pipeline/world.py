"""The world of one entity type in one partition, and the one step that moves it: ``advance``.

A world is every stage's state side by side: golden records (merge), drift and baselines
(compare), condition bits and open episodes (signal). ``advance`` takes one round, at most one row
of a group, through fold → compare → signal. The live world, the base that late data is replayed
from and the scratch worlds of a replay are all moved by this one function, so they cannot differ.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flockiq.compare.anomalies import Series, observe
from flockiq.compare.deltas import Deltas, deltas
from flockiq.compare.drift import disagree
from flockiq.merge.golden import UNSEEN, Folded, Golden, fold
from flockiq.shared.arrays import Arrays
from flockiq.shared.lanes import ABSENT, NULL, Bools, Int64s, Texts, numbers
from flockiq.shared.layout import Layout
from flockiq.shared.positions import hash_id
from flockiq.shared.rows import ACTION, Rows, in_order, round_numbers
from flockiq.signal.conditions import Observed, Seen, evaluate
from flockiq.signal.episodes import Episodes
from flockiq.signal.watch import Watch


class Signs(Arrays):
    """What compare and signal remember of n entities: drift bool [n, T]; holds int64 [n], a bit a rule."""

    drift: Bools
    holds: Int64s

    @classmethod
    def empty(cls, layout: Layout, n: int) -> Self:
        """Nothing drifts and nothing holds."""
        return cls(drift=np.zeros((n, len(layout.tolerances)), np.bool_), holds=np.zeros(n, np.int64))


class Plan(NamedTuple):
    """What config says about one entity type."""

    layout: Layout
    watches: tuple[Watch, ...]

    @property
    def states(self) -> tuple[Watch, ...]:
        """The rules that hold for a while."""
        return tuple(watch for watch in self.watches if watch.is_state)

    @property
    def fingerprint(self) -> str:
        """Of what the states watch: where it differs, entities were judged by other rules."""
        names = [field.name for field in self.layout.fields]
        said = [(w.name, w.kind, w.when, *(names[field] for field in w.fields)) for w in self.states]
        return hash_id(*(part for one in said for part in one), *(str(one) for one in self.layout.tolerances))

    @property
    def by_name(self) -> dict[str, Watch]:
        """The rules by name."""
        return {watch.name: watch for watch in self.watches}


class DeltaRows(NamedTuple):
    """Deltas with what is told of them; all arrays are [d].

    entity, field, old, new, event (text lane of the cause's id), us, rr: int64; kind: int8;
    source: int64, the index of the source whose value won (of the row's source, when removed).
    """

    entity: Int64s
    field: Int64s
    kind: npt.NDArray[np.int8]
    old: Int64s
    new: Int64s
    event: Int64s
    us: Int64s
    rr: Int64s
    source: Int64s

    @classmethod
    def joined(cls, parts: Sequence[DeltaRows]) -> DeltaRows:
        """Many rounds' deltas as one."""
        if not parts:
            empty = np.zeros(0, np.int64)
            return cls(empty, empty, empty.astype(np.int8), empty, empty, empty, empty, empty, empty)
        return cls._make(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def where(self, keep: Bools) -> DeltaRows:
        """Some of the rows."""
        columns: tuple[npt.NDArray[Any], ...] = tuple(self)
        return DeltaRows._make(column[keep] for column in columns)


class World:
    """The state of n entities in g groups."""

    def __init__(self, golden: Golden, signs: Signs, series: Series, episodes: Episodes) -> None:
        self.golden = golden
        self.signs = signs
        self.series = series
        self.episodes = episodes

    @classmethod
    def empty(cls, layout: Layout, entities: int, groups: int) -> World:
        """A world in which nothing has happened."""
        return cls(
            Golden.empty(layout, entities), Signs.empty(layout, entities), Series.empty(layout, groups), Episodes()
        )

    def grow(self, layout: Layout, entities: int, groups: int) -> None:
        """Make room for at least this many entities and groups; room doubles."""
        n, g = len(self.golden), len(self.series)
        if entities > n:
            more = max(entities, 2 * n, 64)
            self.golden = self.golden.grown(Golden.empty(layout, more - n), more)
            self.signs = self.signs.grown(Signs.empty(layout, more - n), more)
        if groups > g:
            more = max(groups, 2 * g, 64)
            self.series = self.series.grown(Series.empty(layout, more - g), more)

    def part(self, entities: Int64s, groups: Int64s) -> World:
        """A copy of some entities and groups, numbered anew from 0 in the order given."""
        mine = {
            new: copy.deepcopy(self.episodes.open[old])
            for new, old in enumerate(entities.tolist())
            if old in self.episodes.open
        }
        return World(self.golden.take(entities), self.signs.take(entities), self.series.take(groups), Episodes(mine))

    def replace(self, entities: Int64s, groups: Int64s, part: World) -> None:
        """Put a part back in its place; its episodes as well."""
        self.golden.put(entities, part.golden)
        self.signs.put(entities, part.signs)
        self.series.put(groups, part.series)
        for new, old in enumerate(entities.tolist()):
            mine = part.episodes.open.get(new)
            if mine:
                self.episodes.open[old] = mine
            else:
                self.episodes.open.pop(old, None)


def play(world: World, plan: Plan, rows: Rows, texts: Texts) -> DeltaRows:
    """Take any number of rows through ``world``, each group's in the order of their positions."""
    if not len(rows):
        return DeltaRows.joined([])
    rows = rows.take(in_order(rows))
    rounds = round_numbers(rows.group)
    by_round = np.argsort(rounds, kind="stable")
    ends = np.cumsum(np.bincount(rounds))
    parts: list[DeltaRows] = []
    start = 0
    for end in ends.tolist():
        parts.append(advance(world, plan, rows.take(by_round[start:end]), texts))
        start = end
    return DeltaRows.joined(parts)


def advance(world: World, plan: Plan, rows: Rows, texts: Texts) -> DeltaRows:
    """Take one round through fold → compare → signal; ``rows.group`` must not repeat."""
    acted = rows.op == ACTION
    if acted.any():
        _act(world, plan, rows.take(acted))
        rows = rows.take(~acted)
    layout = plan.layout
    entity = rows.entity
    unseen = (world.golden.state[entity] == UNSEEN).all(axis=1)
    folded = fold(world.golden, layout, rows, texts)
    found = deltas(folded.before, folded.after)
    winner = folded.source[found.row, found.field].astype(np.int64)
    source = np.where(winner >= 0, winner, rows.source[found.row])
    # What conditions read changes only with a golden value or a source's own: other rows need no judging.
    touched = folded.moved | unseen
    touched[found.row] = True
    judged = np.flatnonzero(touched)
    if len(judged):
        _judge(world, plan, rows, folded, found, source, judged, texts)
    return DeltaRows(
        entity=entity[found.row],
        field=found.field,
        kind=found.kind,
        old=found.old,
        new=found.new,
        event=rows.event[found.row],
        us=rows.us[found.row],
        rr=rows.rr[found.row],
        source=source,
    )


def judge_again(world: World, plan: Plan, entities: Int64s, shown: Int64s, texts: Texts) -> None:
    """Judge entities as they stand, because the rules have changed; ``shown``: text lanes of their names."""
    layout, golden = plan.layout, world.golden
    newest = golden.seen_us[entities].argmax(axis=1)
    none = np.zeros(0, np.int64)
    drift = disagree(golden.value[entities], layout, texts)
    seen = Seen(
        entity=entities,
        us=golden.seen_us[entities, newest],
        event=golden.event[entities, newest],
        key=shown,
        golden=golden.golden[entities],
        drift=drift,
        delta_row=none,
        delta_field=none,
        delta_old=none,
        delta_new=none,
        delta_source=(),
        observed=(),
    )
    world.signs.holds[entities] = evaluate(
        plan.states, layout, seen, world.signs.holds[entities], world.episodes, texts
    )
    world.signs.drift[entities] = drift


def _judge(
    world: World,
    plan: Plan,
    rows: Rows,
    folded: Folded,
    found: Deltas,
    source: Int64s,
    judged: Int64s,
    texts: Texts,
) -> None:
    """Compare the sources of some rows of a round, and take their conditions through it."""
    layout, entity = plan.layout, rows.entity[judged]
    place = np.zeros(len(rows), np.int64)
    place[judged] = np.arange(len(judged))
    drift = disagree(world.golden.value[entity], layout, texts)
    observed = [one._replace(row=place[one.row]) for one in _observe(world, layout, rows, found)]
    seen = Seen(
        entity=entity,
        us=rows.us[judged],
        event=rows.event[judged],
        key=rows.shown[judged],
        golden=folded.after[judged],
        drift=drift,
        delta_row=place[found.row],
        delta_field=found.field,
        delta_old=found.old,
        delta_new=found.new,
        delta_source=[layout.sources[number] for number in source.tolist()] if plan.watches else (),
        observed=observed,
    )
    world.signs.holds[entity] = evaluate(plan.watches, layout, seen, world.signs.holds[entity], world.episodes, texts)
    world.signs.drift[entity] = drift


def _observe(world: World, layout: Layout, rows: Rows, found: Deltas) -> list[Observed]:
    observed = []
    for number, baseline in enumerate(layout.baselines):
        mine = (found.field == baseline.field) & (found.new != NULL) & (found.new != ABSENT)
        row = found.row[mine]
        if not len(row):
            continue
        field = layout.fields[baseline.field]
        value = numbers(field.kind, field.scale, found.new[mine])
        findings = observe(world.series, number, baseline, rows.group[row], value, rows.us[row])
        observed.append(Observed(baseline.field, row, value, *findings))
    return observed


def _act(world: World, plan: Plan, rows: Rows) -> None:
    by_number = {watch.number: watch for watch in plan.watches}
    for entity, number, us in zip(rows.entity.tolist(), rows.rr.tolist(), rows.us.tolist(), strict=True):
        watch = by_number.get(number)
        if watch is not None:
            world.episodes.closes(entity, watch, us)
