"""How one entity type's columns are laid out: config turned into indices, once, when it loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from flockiq.shared.lanes import LaneType

HOURS = 168
"""Of a week: what a season is made of."""

OVERRIDE = "override"
"""What people are called among those who say values."""

Survival = Literal["rank", "recent", "complete", "longest", "highest", "lowest", "frequent"]


class Field(NamedTuple):
    """One field of an entity type."""

    name: str
    kind: LaneType
    scale: int = 0


class Tolerance(NamedTuple):
    """How far sources may differ on a field before it is drift."""

    field: int
    absolute: float = 0.0
    relative: float = 0.0
    ignore: frozenset[str] = frozenset()  # of case, space, punctuation: for texts
    as_set: bool = False  # a text of parts between commas or semicolons, in any order


class Baseline(NamedTuple):
    """A numeric field whose own history says what is usual."""

    field: int
    alpha: float = 0.1  # weight of the newest value once warmed up
    warm_up: int = 8  # values before anything can be unusual
    refractory_us: int = 0  # after a finding, how long the series stays quiet
    zone: str = ""  # by whose clocks the series has a weekly rhythm; "": it has none


class Layout(NamedTuple):
    """One entity type: its fields, its sources and what is watched, each by index."""

    entity: str
    fields: tuple[Field, ...]
    sources: tuple[str, ...]
    partition_by: str  # "" when each entity is a group of its own
    survivorship: tuple[tuple[Survival, ...], ...]  # per field: a cascade
    ranks: tuple[tuple[int, ...], ...]  # per field: each source's rank, 0 the best
    tolerances: tuple[Tolerance, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    overrides: bool = False  # whether people may set golden fields
    currencies: tuple[int, ...] = ()  # per field: the one that says in which currency it is, or -1; (): there is none

    @property
    def numbers(self) -> Mapping[str, int]:
        """Field name to index."""
        return {field.name: number for number, field in enumerate(self.fields)}

    @property
    def tellers(self) -> tuple[str, ...]:
        """Whoever says values, by index: the sources, and the people after them where they may."""
        return (*self.sources, OVERRIDE) if self.overrides else self.sources

    @property
    def follows(self) -> tuple[int, ...]:
        """Per field: the one whose winner it takes, which stands before it, or -1; (): none does.

        Amounts in one currency and the currency itself follow the first of these amounts.
        """
        first = {currency: number for number, currency in reversed([*enumerate(self.currencies)]) if currency >= 0}
        leads = (first.get(number if of < 0 else of, -1) for number, of in enumerate(self.currencies))
        return tuple(-1 if lead == number else lead for number, lead in enumerate(leads))

    @property
    def seasons(self) -> tuple[int, ...]:
        """The numbers of the baselines that have a weekly rhythm."""
        return tuple(number for number, baseline in enumerate(self.baselines) if baseline.zone)
