"""The world of one entity type in one partition.

A world is every stage's state side by side: golden records (merge), drift and baselines (compare),
condition bits and open episodes (signal). The live world, the base that late data is replayed from
and the scratch worlds of a replay are all moved by one function, pipeline/play.py, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flockiq.compare.anomalies import Series
from flockiq.compare.findings import Findings
from flockiq.merge.golden import Golden
from flockiq.shared.arrays import roomier
from flockiq.shared.lanes import NULL, Bools, Int64s
from flockiq.shared.lateness import USUAL, Lateness
from flockiq.shared.layout import Layout
from flockiq.shared.positions import hash_id
from flockiq.shared.structs import Structs
from flockiq.signal.episodes import Episodes, copied
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.watch import Watch


class Signs(Structs):
    """What compare and signal remember of n entities.

    drift: bool [n, T]; since: int64 [n, T], text lane of the id of the event that it began with, or NULL;
    holds: int64 [n], a bit a rule.
    """

    drift: Bools
    since: Int64s
    holds: Int64s

    @classmethod
    def empty(cls, layout: Layout, n: int) -> Self:
        """Nothing drifts and nothing holds."""
        shape = (n, len(layout.tolerances))
        return cls(drift=np.zeros(shape, np.bool_), since=np.full(shape, NULL, np.int64), holds=np.zeros(n, np.int64))


@dataclass(frozen=True)
class Plan:
    """What config says about one entity type."""

    layout: Layout
    watches: tuple[Watch, ...]
    lateness: Lateness = USUAL

    @cached_property
    def rules(self) -> Ruleset:
        """The rules, ready to be judged by."""
        return Ruleset(self.watches, self.layout)

    @cached_property
    def states(self) -> Ruleset:
        """Those that hold for a while."""
        return Ruleset(self.rules.states, self.layout)

    @property
    def fingerprint(self) -> str:
        """Of what the states watch: where it differs, entities were judged by other rules."""
        names = [field.name for field in self.layout.fields]
        said = [(w.name, w.kind, w.when, *(names[field] for field in w.fields)) for w in self.rules.states]
        currencies = [str(self.layout.currencies)] if self.layout.currencies else []
        tolerances = [str(one) for one in self.layout.tolerances]
        return hash_id(*(part for one in said for part in one), *tolerances, *currencies)

    @cached_property
    def by_name(self) -> dict[str, Watch]:
        """The rules by name."""
        return {watch.name: watch for watch in self.watches}


class DeltaRows(NamedTuple):
    """Deltas with what is told of them; all arrays are [d].

    entity, field, old, new, event (text lane of the cause's id), us, rr: int64; kind: int8;
    source: int64, the index of the source whose value won (of the row's source, when removed).
    old_us, new_us: int64, the source times at which the old and the new value were said last by the sources that they
    come from; NULL where there is no value, or its source is no longer known.
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
    old_us: Int64s
    new_us: Int64s

    @classmethod
    def joined(cls, parts: Sequence[DeltaRows]) -> DeltaRows:
        """Many rounds' deltas as one."""
        if not parts:
            empty = np.zeros(0, np.int64)
            return cls(empty, empty, empty.astype(np.int8), *[empty] * (len(cls._fields) - 3))
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
        self.findings: list[Findings] = []  # since they were last taken

    def found(self) -> Findings:
        """What was found since the last call."""
        findings, self.findings = self.findings, []
        return Findings.joined(findings)

    @classmethod
    def empty(cls, layout: Layout, entities: int, groups: int) -> World:
        """A world in which nothing has happened."""
        return cls(
            Golden.empty(layout, entities), Signs.empty(layout, entities), Series.empty(layout, groups), Episodes()
        )

    def grow(self, layout: Layout, entities: int, groups: int) -> None:
        """Make room for at least this many entities and groups, and some more if there is too little."""
        n, g = len(self.golden), len(self.series)
        if entities > n:
            size = roomier(entities, n)
            self.golden.extend(Golden.empty(layout, 1), size)
            self.signs.extend(Signs.empty(layout, 1), size)
        if groups > g:
            self.series.extend(Series.empty(layout, 1), roomier(groups, g))

    def part(self, entities: Int64s, groups: Int64s) -> World:
        """A copy of some entities and groups, numbered anew from 0 in the order given."""
        mine = Episodes(copied(self.episodes.open, entities.tolist()))
        return World(self.golden.take(entities), self.signs.take(entities), self.series.take(groups), mine)

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
