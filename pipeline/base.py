"""The base: the world as it was before the rows that the log still holds, for what they concern alone.

An entity of which no row is logged is in the base as it is in the live world, so nothing is kept of
it here: it is copied when its first row comes to be logged, and forgotten when its last one is
folded. So it is with a group's series. Episodes are kept for all, since only in the live world time passes.
"""

from __future__ import annotations

import numpy as np

from flockiq.compare.anomalies import Series
from flockiq.merge.golden import Golden
from flockiq.pipeline.world import Signs, World
from flockiq.shared.arrays import roomier
from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.layout import Layout
from flockiq.shared.stretching import double, stretch
from flockiq.signal.episodes import Episode, Episodes, Open, copied


class Slots:
    """Which entities (or groups) are kept, and where: ``of`` int32 [n], the slot or -1."""

    def __init__(self) -> None:
        self.of = np.full(0, -1, np.int32)
        self._kept: Int64s = np.zeros(0, np.int64)
        self._count = 0

    @property
    def kept(self) -> Int64s:
        """Those that are kept, by slot."""
        return self._kept[: self._count]

    def room(self, count: int) -> None:
        """Make room for at least this many."""
        if count > len(self.of):
            there = len(self.of)
            stretch(self, "of", roomier(count, there))
            self.of[there:] = -1

    def add(self, these: Int64s) -> Int64s:
        """Give a slot to each that has none; returns those."""
        new = these[self.of[these] < 0]
        first, count = self._count, self._count + len(new)
        double(self, "_kept", first, count)
        self.of[new] = np.arange(first, count)
        self._kept[first:count] = new
        self._count = count
        return new

    def only(self, stay: Bools) -> None:
        """Keep some of the slots, bool [slots], in their order."""
        self.of[self.kept] = -1
        self._kept = self.kept[stay]
        self._count = len(self._kept)
        self.of[self._kept] = np.arange(self._count)


class Base:
    """The base of one entity type in one partition."""

    def __init__(self, layout: Layout) -> None:
        self.entities, self.groups = Slots(), Slots()
        self.open: Open = {}
        self._layout = layout
        self._world = World.empty(layout, 0, 0)

    def room(self, entities: int, groups: int) -> None:
        """Make room for the entities and groups known by now."""
        self.entities.room(entities)
        self.groups.room(groups)

    def keep(self, live: World, entities: Int64s, groups: Int64s) -> None:
        """Keep entities and groups, each given once, as they are in the live world; those that are kept stay."""
        entities, groups = self._add(entities, groups)
        if len(entities):
            slots = self.entities.of[entities]
            self._world.golden.put(slots, live.golden.take(entities))
            self._world.signs.put(slots, live.signs.take(entities))
        if len(groups):
            self._world.series.put(self.groups.of[groups], live.series.take(groups))

    def _add(self, entities: Int64s, groups: Int64s) -> tuple[Int64s, Int64s]:
        new = self.entities.add(entities), self.groups.add(groups)
        self._world.grow(self._layout, len(self.entities.kept), len(self.groups.kept))
        return new

    def part(self, live: World, entities: Int64s, groups: Int64s) -> World:
        """A copy of some entities and groups, numbered anew from 0 in the order given."""
        slots, series = self.entities.of[entities], self.groups.of[groups]
        here, there = np.flatnonzero(slots >= 0), np.flatnonzero(series >= 0)
        base = self._world
        if len(here) == len(entities):
            golden, signs = base.golden.take(slots), base.signs.take(slots)
        else:
            golden, signs = live.golden.take(entities), live.signs.take(entities)
            golden.put(here, base.golden.take(slots[here]))
            signs.put(here, base.signs.take(slots[here]))
        if len(there) == len(groups):
            of_groups = base.series.take(series)
        else:
            of_groups = live.series.take(groups)
            of_groups.put(there, base.series.take(series[there]))
        return World(golden, signs, of_groups, Episodes(copied(self.open, entities.tolist())))

    def replace(self, entities: Int64s, groups: Int64s, part: World) -> None:
        """Put a part back: what is kept of it, and its episodes."""
        slots, series = self.entities.of[entities], self.groups.of[groups]
        here, there = np.flatnonzero(slots >= 0), np.flatnonzero(series >= 0)
        self._world.golden.put(slots[here], part.golden.take(here))
        self._world.signs.put(slots[here], part.signs.take(here))
        self._world.series.put(series[there], part.series.take(there))
        for new, old in enumerate(entities.tolist()):
            self.set_episodes(old, part.episodes.open.get(new))

    def set_episodes(self, entity: int, episodes: dict[str, Episode] | None) -> None:
        """The open episodes of an entity."""
        if episodes:
            self.open[entity] = episodes
        else:
            self.open.pop(entity, None)

    def kept(self, entities: Int64s, groups: Int64s) -> World:
        """What is kept of these, all of which are."""
        slots, series = self.entities.of[entities], self.groups.of[groups]
        return World(
            self._world.golden.take(slots), self._world.signs.take(slots), self._world.series.take(series), Episodes()
        )

    def restore(self, entities: Int64s, groups: Int64s, golden: Golden, signs: Signs, series: Series) -> None:
        """Keep entities and groups as they were written."""
        self._add(entities, groups)
        self._world.golden.put(self.entities.of[entities], golden)
        self._world.signs.put(self.entities.of[entities], signs)
        self._world.series.put(self.groups.of[groups], series)

    def only(self, entities: Int64s, groups: Int64s) -> None:
        """Forget every entity and group but these."""
        stay, stand = np.isin(self.entities.kept, entities), np.isin(self.groups.kept, groups)
        self.entities.only(stay)
        self.groups.only(stand)
        slots, series = np.flatnonzero(stay), np.flatnonzero(stand)
        world = self._world
        self._world = World(world.golden.take(slots), world.signs.take(slots), world.series.take(series), Episodes())
