"""Conditions over folded rows: which rules begin, go on, end or happen.

Conditions are evaluated as columns, for every row of a batch at once; what changed is the old bits
XOR the new, and only those few rows are looked at one by one, in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from flockiq.shared.lanes import ABSENT, NULL, Bools, Int64s, Scalar, Texts
from flockiq.shared.layout import Layout
from flockiq.shared.rows import round_numbers
from flockiq.signal.columns import Columns, DeltaColumns
from flockiq.signal.episodes import Episodes
from flockiq.signal.seen import Act, Observed, Seen
from flockiq.signal.watch import Watch, canonical_values, floats, holds, shown_values

_MUCH = 6  # an nth of all rows from which on all are evaluated, where no texts are read
BEYOND = 4.0  # deviations: an anomaly rule without a condition means this


class _Hit(NamedTuple):
    """Something for an episode: of the row (in Seen) and the rule, in the order they are to be told."""

    row: int
    order: int
    watch: Watch
    was: bool
    true: bool
    extra: dict[str, Scalar] | None  # what an event's alert shows besides; None for a state


def evaluate(
    watches: Sequence[Watch],
    layout: Layout,
    seen: Seen,
    before: Int64s,
    episodes: Episodes,
    texts: Texts,
    acts: Sequence[Act] = (),
) -> Int64s:
    """Take the episodes through some rows; returns the holds words after each, int64 [r].

    ``before``: the words of the rows' entities before all of them, int64 [r].
    """
    judging = _Judging(layout, seen, texts)
    after = _words(watches, judging, before)
    was = np.where(seen.previous >= 0, after[seen.previous], before) if len(after) else after
    turned, lasting = _Words.of(was ^ after), _Words.of(was & after)
    hits: list[_Hit] = []
    for order, watch in enumerate(watches):
        if watch.is_state:
            hits += judging.turns(order, watch, turned, lasting, after)
        elif watch.kind == "change":
            hits += judging.changes(order, watch)
        else:
            hits += judging.anomalies(order, watch)
    hits.sort(key=itemgetter(0, 1))
    _tell(hits, acts, judging, episodes)
    return after


def _words(watches: Sequence[Watch], judging: _Judging, before: Int64s) -> Int64s:
    """The bits of the states that hold after each row.

    A rule is asked of a row only if something it reads is new there; else what held before it still does.
    """
    asked, held = np.zeros(len(before), np.int64), np.zeros(len(before), np.int64)
    bits: dict[int, tuple[Bools, int]] = {}  # many rules are asked of the same rows
    for watch in watches:
        if watch.is_state:
            bit = 1 << watch.number
            new, true = judging.state(watch)
            bits[id(new)] = new, bits.get(id(new), (new, 0))[1] | bit
            held[np.flatnonzero(true)] |= np.int64(bit)
    for new, of_rules in bits.values():
        asked |= np.where(new, np.int64(of_rules), 0)
    after = held | (before & ~asked)
    for rows in judging.followers():
        after[rows] = held[rows] | (after[judging.seen.previous[rows]] & ~asked[rows])
    return after


def _tell(hits: Sequence[_Hit], acts: Sequence[Act], judging: _Judging, episodes: Episodes) -> None:
    """Take the episodes through the hits, and through what people did between them."""
    waiting = list(reversed(acts))
    for hit, one in zip(hits, judging.read(hits), strict=True):
        while waiting and waiting[-1].row < one.place:
            _act(waiting.pop(), episodes)
        if hit.extra is not None:
            values = judging.values(hit.watch, one) | hit.extra
            episodes.happens(one.entity, hit.watch, one.us, one.event, values)
        elif hit.true and hit.was:
            episodes.goes_on(one.entity, hit.watch, one.us, judging.values(hit.watch, one))
        elif hit.true:
            episodes.begins(one.entity, hit.watch, one.us, one.event, judging.values(hit.watch, one))
        else:
            episodes.ends(one.entity, hit.watch, one.us)
    while waiting:
        _act(waiting.pop(), episodes)


def _act(act: Act, episodes: Episodes) -> None:
    episodes.closes(act.entity, act.watch, act.us)


class _Read(NamedTuple):
    """What is to be told of a row: where it stands among rows and acts, and what it says."""

    place: int
    entity: int
    us: int
    event: int
    key: int
    golden: list[int]


class _Words(NamedTuple):
    """Those words of bits that have any: of which rows."""

    rows: Int64s
    words: Int64s

    @classmethod
    def of(cls, words: Int64s) -> _Words:
        """Some words, one a row."""
        rows = np.flatnonzero(words)
        return cls(rows, words[rows])

    def having(self, bit: np.int64) -> Int64s:
        """The rows that have a bit."""
        found: Int64s = self.rows[self.words & bit != 0]
        return found


class _Said:
    """The texts behind some lanes, asked for at once."""

    def __init__(self, lanes: Int64s, texts: Texts) -> None:
        lanes = np.unique(lanes)
        lanes = lanes[(lanes != ABSENT) & (lanes != NULL)]
        self._texts: dict[int, str] = dict(zip(lanes.tolist(), texts.many(lanes), strict=True))

    def text(self, lane: int) -> str:
        """The text behind a lane."""
        return self._texts[lane]


class _Judging:
    """Some rows under judgement: every column they need is made once for all rules."""

    def __init__(self, layout: Layout, seen: Seen, texts: Texts) -> None:
        self.layout, self.seen, self.texts = layout, seen, texts
        self.columns = Columns(layout, seen.golden, seen.key, texts)
        self.deltas = DeltaColumns(layout, seen, self.columns, texts)
        self._index = layout.numbers
        self._texts = frozenset(field.name for field in layout.fields if field.kind in ("string", "json")) | {"key"}
        self._asked: dict[tuple[str, ...], Bools] = {}
        self._said = _Said(np.zeros(0, np.int64), texts)
        self._changed = np.zeros((len(layout.fields), len(seen.entity)), np.bool_)
        self._changed[seen.delta_field, seen.delta_row] = True
        self._everything = np.ones(len(seen.entity), np.bool_)
        self._moved = frozenset(np.flatnonzero(self._changed.any(axis=1)).tolist())

    def values(self, watch: Watch, row: _Read) -> dict[str, Scalar]:
        """What an alert of a rule shows of a row that was read."""
        values = shown_values(watch, self.layout, row.golden, self._said, self._index)
        if "key" in watch.shown:
            values["key"] = self._said.text(row.key)
        return values

    def read(self, hits: Sequence[_Hit]) -> Iterator[_Read]:
        """Read at once the rows of some hits, and the texts that their alerts show."""
        seen, rows = self.seen, np.array([hit.row for hit in hits], np.int64)
        shown = {name for watch in {id(hit.watch): hit.watch for hit in hits}.values() for name in watch.shown}
        lanes = [self.columns.all([name])[name].values[rows] for name in shown & self._texts]
        if lanes:
            self._said = _Said(np.concatenate(lanes), self.texts)
        columns = (seen.row, seen.entity, seen.us, seen.event, seen.key, seen.golden)
        return map(_Read._make, zip(*(column[rows].tolist() for column in columns), strict=True))

    def state(self, watch: Watch) -> tuple[Bools, Bools]:
        """The rows that a state rule is asked of, and those of them where it holds: bool [r]."""
        if watch.kind == "drift":
            return self._everything, self._drifting(watch)
        new = self._new(watch.names)
        count = np.count_nonzero(new)
        if not count:
            return new, new
        if _MUCH * count > len(new) and self._texts.isdisjoint(watch.names):  # cheaper than picking out columns
            true = holds(watch.condition, self.columns.all(watch.names), len(new))
            return new, true & new
        rows = np.flatnonzero(new)
        true = np.zeros(len(new), np.bool_)
        true[rows] = holds(watch.condition, self.columns.of(watch.names, rows, watch.names), len(rows))
        return new, true

    def _drifting(self, watch: Watch) -> Bools:
        """Where a drift rule holds."""
        true = np.zeros(len(self.seen.entity), np.bool_)
        for number, tolerance in enumerate(self.layout.tolerances):
            if tolerance.field in watch.fields:
                true |= self.seen.drift[:, number]
        rows = np.flatnonzero(true)
        if len(rows) and watch.condition is not None:
            true[rows] = holds(watch.condition, self.columns.of(watch.names, rows), len(rows))
        return true

    def followers(self) -> Iterator[Int64s]:
        """Rows whose entity has an earlier row here: first all second ones, then all third ones, and so on."""
        order = np.argsort(self.seen.entity, kind="stable")
        depth = round_numbers(self.seen.entity[order])
        by_depth = order[np.argsort(depth, kind="stable")]
        ends = np.cumsum(np.bincount(depth)).tolist()
        for begin, end in pairwise(ends):
            yield by_depth[begin:end]

    def _new(self, names: tuple[str, ...]) -> Bools:
        """Where something of these names is new, bool [r]."""
        known = self._asked.get(names)
        if known is None:
            known = self._asked[names] = self.seen.fresh | self._new_of(self._fields(names))
        return known

    def _new_of(self, fields: frozenset[int]) -> Bools:
        """Where a delta is of one of these fields, bool [r]."""
        found = np.zeros(len(self.seen.entity), np.bool_)
        for field in fields & self._moved:
            found |= self._changed[field]
        return found

    def turns(self, order: int, watch: Watch, turned: _Words, lasting: _Words, after: Int64s) -> list[_Hit]:
        """Where a state begins, ends, or goes on with something to tell; words of bits that differ, and that last."""
        bit = np.int64(1 << watch.number)
        rows = turned.having(bit)
        begun = (after[rows] & bit != 0).tolist()
        hits = [_Hit(row, order, watch, not true, true, None) for row, true in zip(rows.tolist(), begun, strict=True)]
        rows = lasting.having(bit)
        if len(rows) and not watch.for_us:
            rows = rows[self._new_of(self._fields(watch.shown))[rows]]
        return hits + [_Hit(row, order, watch, was=True, true=True, extra=None) for row in rows.tolist()]

    def changes(self, order: int, watch: Watch) -> list[_Hit]:
        """Where a change happened that a rule watches for."""
        hits: list[_Hit] = []
        for number in watch.fields:
            found = self.deltas.of(number)
            if found is None:
                continue
            field = self.layout.fields[number]
            at = np.flatnonzero(holds(watch.condition, found.columns(watch.names), len(found.row)))
            rows = found.row[at]
            old, new = (canonical_values(field, lanes[at], self.texts) for lanes in (found.old, found.new))
            sources = found.source[at].tolist()
            for row, source, was, now in zip(rows.tolist(), sources, old, new, strict=True):
                said = {"field": field.name, "source": self.layout.tellers[source], "old": was, "new": now}
                hits.append(_Hit(row, order, watch, was=False, true=True, extra=said))
        return hits

    def anomalies(self, order: int, watch: Watch) -> list[_Hit]:
        """Where a number was unlike its own history."""
        hits: list[_Hit] = []
        for observed in self.seen.observed:
            if observed.field in watch.fields:
                hits += [
                    _Hit(int(observed.row[hit]), order, watch, was=False, true=True, extra=_shown(observed, hit))
                    for hit in np.flatnonzero(self._unusual(watch, observed)).tolist()
                ]
        return hits

    def _unusual(self, watch: Watch, observed: Observed) -> Bools:
        known = ~np.isnan(observed.score)
        if watch.condition is None:
            with np.errstate(invalid="ignore"):
                beyond: Bools = known & (np.abs(observed.score) > BEYOND)
            return beyond
        rows = np.flatnonzero(known)
        columns = self.columns.of(watch.names, observed.row[rows]) | {
            "score": floats(observed.score[rows]),
            "new": floats(observed.value[rows]),
            "expected": floats(observed.expected[rows]),
            "low": floats(observed.low[rows]),
            "high": floats(observed.high[rows]),
        }
        known[rows] = holds(watch.condition, columns, len(rows))
        return known

    def _fields(self, names: Sequence[str]) -> frozenset[int]:
        return frozenset(self._index[name] for name in names if name in self._index)


def _shown(observed: Observed, hit: int) -> dict[str, Scalar]:
    return {
        "score": round(float(observed.score[hit]), 3),
        "new": float(observed.value[hit]),
        "expected": round(float(observed.expected[hit]), 2),
        "low": round(float(observed.low[hit]), 2),
        "high": round(float(observed.high[hit]), 2),
    }
