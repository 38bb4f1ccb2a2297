"""A layout as arrays of numbers, for compiled passes."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import Bools, Floats, Int64s
from flockiq.shared.layout import Field, Layout, Survival
from flockiq.shared.rows import Rows
from flockiq.shared.structs import Structs

RANK, RECENT, COMPLETE, LONGEST, HIGHEST, LOWEST, FREQUENT = range(7)
PLAIN, SCALED, BITS = range(3)
EXACT, NUMERIC, NORMALISED = range(3)
ON_TIME, REPEATED, LATE, TOO_LATE, REVISING = range(5)
VALUE, AGE, OLDER, SEEN_US, SEEN_RR, EVENT, STATE, KEY, GOLDEN, WINNER, RULE, SETTLED = range(12)
"""The columns of ``merge.golden.Golden``, by number."""
COUNT, MEAN, VARIANCE, QUIET_US, OFFSET, HITS, SPREAD = range(7)
"""Those of ``compare.anomalies.Series``."""
DRIFT, SINCE, HOLDS = range(3)
"""Those of ``pipeline.world.Signs``."""
HEAD, LAST_US, LAST_RR, LAST_HASH, FLOOR_US, FLOOR_RR, FLOOR_HASH, CLOCK_US = range(8)
"""Those of ``pipeline.history.Marks``, which are the words of its rows as well."""

_RULES = {
    "rank": RANK,
    "recent": RECENT,
    "complete": COMPLETE,
    "longest": LONGEST,
    "highest": HIGHEST,
    "lowest": LOWEST,
    "frequent": FREQUENT,
}
_NUMERIC_KINDS = ("decimal", "float", "integer", "date", "timestamp")


class Codes(NamedTuple):
    """One layout. F fields, S sources, L rules in the longest cascade, T tolerances, B baselines.

    cascade: int8 [F, L], -1 past its end; ranks: int64 [F, S]; recent: int64 [F], where in the cascade the
    rule RECENT stands, -1 if nowhere; by_value: bool [F], whether sources that say the same are alike to every rule
    before it; complete: bool [F], whether COMPLETE is in it; follows: int64 [F], the field whose winner it takes, or
    -1. Of tolerances: field, currency (or -1) int64 [T], how int8 [T] (EXACT, NUMERIC, NORMALISED), form and power
    as below, absolute and relative float64 [T]. Of baselines: field, warm_up, refractory_us, season int64 [B] (the
    weekly rhythm's slot, or -1), form, power, alpha. tellers: sources and people.
    A form says how a lane becomes a number: PLAIN, SCALED (over power) or BITS.
    """

    cascade: npt.NDArray[np.int8]
    ranks: Int64s
    recent: Int64s
    by_value: Bools
    complete: Bools
    follows: Int64s
    drift_field: Int64s
    drift_currency: Int64s
    drift_how: npt.NDArray[np.int8]
    drift_form: npt.NDArray[np.int8]
    drift_power: Floats
    drift_absolute: Floats
    drift_relative: Floats
    base_field: Int64s
    base_form: npt.NDArray[np.int8]
    base_power: Floats
    base_alpha: Floats
    base_warm_up: Int64s
    base_refractory_us: Int64s
    base_season: Int64s
    tellers: int


class StructColumns(NamedTuple):
    """Columns that lie together (``shared.structs.Structs``): their table, and where in a row each begins, in bytes."""

    rows: Int64s
    at: Int64s

    @classmethod
    def of(cls, structs: Structs) -> StructColumns:
        """Those of some structs, in the order of their names."""
        return cls(structs.rows, np.array([member.at for member in structs.members], np.int64))


class OlderColumns(NamedTuple):
    """The columns of ``merge.ages.Older``, and the places that are free."""

    us: Int64s
    rr: Int64s
    hash: Int64s
    free: npt.NDArray[np.int32]


class RowColumns(NamedTuple):
    """The columns of ``shared.rows.Rows``."""

    entity: Int64s
    group: Int64s
    source: Int64s
    op: npt.NDArray[np.int8]
    us: Int64s
    rr: Int64s
    event: Int64s
    key: Int64s
    shown: Int64s
    value: Int64s
    arrived_us: Int64s
    revision: Int64s

    @classmethod
    def of(cls, rows: Rows) -> RowColumns:
        """Those of some rows."""
        return cls._make(getattr(rows, name) for name in cls._fields)


class DeltaColumns(NamedTuple):
    """Those columns of ``pipeline.world.DeltaRows`` by which two deltas are one."""

    event: Int64s
    field: Int64s
    entity: Int64s
    old: Int64s
    new: Int64s


class Scratch(NamedTuple):
    """What a fold works with for one row: candidate bool [S], score int64 [S], news int8 [F], a word as two types.

    before_us: int64 [F], when the row's source had said its fields before.
    """

    candidate: Bools
    score: Int64s
    news: npt.NDArray[np.int8]
    bits: Int64s
    double: Floats
    before_us: Int64s


def scratch(layout: Layout) -> Scratch:
    """Room for one row's work."""
    sources, bits = len(layout.sources), np.zeros(1, np.int64)
    return Scratch(
        np.zeros(sources, np.bool_),
        np.zeros(sources, np.int64),
        np.zeros(len(layout.fields), np.int8),
        bits,
        bits.view(np.float64),
        np.zeros(len(layout.fields), np.int64),
    )


class Out(NamedTuple):
    """Room for what a fold of n rows gives: at most n judged rows, n * F deltas, n * B observations.

    said: int64 [n, T, S], what each source says where a tolerance is NORMALISED.
    """

    judged: Int64s
    fresh: Bools
    golden: Int64s
    drift: Bools
    said: Int64s
    row: Int64s
    field: Int64s
    kind: npt.NDArray[np.int8]
    old: Int64s
    new: Int64s
    source: Int64s
    old_us: Int64s
    new_us: Int64s
    seen_row: Int64s
    seen_base: Int64s
    seen_value: Floats
    seen_score: Floats
    seen_expected: Floats
    seen_low: Floats
    seen_high: Floats


def room(layout: Layout, n: int) -> Out:
    """Room for a fold of n rows."""
    fields, sources = len(layout.fields), len(layout.sources)
    tolerances, deltas, observed = len(layout.tolerances), n * fields, n * len(layout.baselines)
    return Out(
        judged=np.empty(n, np.int64),
        fresh=np.empty(n, np.bool_),
        golden=np.empty((n, fields), np.int64),
        drift=np.empty((n, tolerances), np.bool_),
        said=np.empty((n, tolerances, sources), np.int64),
        row=np.empty(deltas, np.int64),
        field=np.empty(deltas, np.int64),
        kind=np.empty(deltas, np.int8),
        old=np.empty(deltas, np.int64),
        new=np.empty(deltas, np.int64),
        source=np.empty(deltas, np.int64),
        old_us=np.empty(deltas, np.int64),
        new_us=np.empty(deltas, np.int64),
        seen_row=np.empty(observed, np.int64),
        seen_base=np.empty(observed, np.int64),
        seen_value=np.empty(observed, np.float64),
        seen_score=np.empty(observed, np.float64),
        seen_expected=np.empty(observed, np.float64),
        seen_low=np.empty(observed, np.float64),
        seen_high=np.empty(observed, np.float64),
    )


@lru_cache(maxsize=256)
def codes(layout: Layout) -> Codes:
    """The codes of a layout."""
    fields, sources = len(layout.fields), len(layout.sources)
    longest = max(map(len, layout.survivorship), default=0)
    cascade = np.full((fields, max(longest, 1)), -1, np.int8)
    for number, rules in enumerate(layout.survivorship):
        cascade[number, : len(rules)] = [_RULES[rule] for rule in rules]
    drifting = [layout.fields[one.field] for one in layout.tolerances]
    none = (-1,) * fields
    learning = [layout.fields[one.field] for one in layout.baselines]
    return Codes(
        cascade=cascade,
        ranks=np.array(layout.ranks, np.int64).reshape(fields, sources),
        recent=np.array([_index(rules, "recent") for rules in layout.survivorship], np.int64),
        by_value=np.array([_by_value(rules) for rules in layout.survivorship], np.bool_),
        complete=np.array(["complete" in rules for rules in layout.survivorship], np.bool_),
        follows=np.array(layout.follows or none, np.int64),
        drift_field=np.array([one.field for one in layout.tolerances], np.int64),
        drift_currency=np.array([(layout.currencies or none)[one.field] for one in layout.tolerances], np.int64),
        drift_how=np.array([_how(layout, number) for number in range(len(drifting))], np.int8),
        drift_form=np.array([_form(field) for field in drifting], np.int8),
        drift_power=np.array([10.0**field.scale for field in drifting], np.float64),
        drift_absolute=np.array([one.absolute for one in layout.tolerances], np.float64),
        drift_relative=np.array([one.relative for one in layout.tolerances], np.float64),
        base_field=np.array([one.field for one in layout.baselines], np.int64),
        base_form=np.array([_form(field) for field in learning], np.int8),
        base_power=np.array([10.0**field.scale for field in learning], np.float64),
        base_alpha=np.array([one.alpha for one in layout.baselines], np.float64),
        base_warm_up=np.array([one.warm_up for one in layout.baselines], np.int64),
        base_refractory_us=np.array([one.refractory_us for one in layout.baselines], np.int64),
        base_season=np.array(
            [layout.seasons.index(number) if one.zone else -1 for number, one in enumerate(layout.baselines)], np.int64
        ),
        tellers=len(layout.tellers),
    )


def _index(rules: tuple[Survival, ...], rule: Survival) -> int:
    return rules.index(rule) if rule in rules else -1


def _by_value(rules: tuple[Survival, ...]) -> bool:
    """Whether the most recent of those that say the same wins over them, and no other rule asks who they are."""
    before = rules[: _index(rules, "recent")] if "recent" in rules else ("rank",)
    return not {"rank", "complete"}.intersection(before)


def _form(field: Field) -> int:
    return BITS if field.kind == "float" else SCALED if field.kind == "decimal" else PLAIN


def _how(layout: Layout, number: int) -> int:
    tolerance = layout.tolerances[number]
    if layout.fields[tolerance.field].kind in _NUMERIC_KINDS and (tolerance.absolute or tolerance.relative):
        return NUMERIC
    return NORMALISED if tolerance.ignore or tolerance.as_set else EXACT
