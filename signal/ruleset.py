"""An entity type's rules together: which of them read, show or wait for what, as words with a bit a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from flockiq.shared.lanes import Bools, Int64s
from flockiq.shared.layout import Field, Layout
from flockiq.signal.programs import Part, parts
from flockiq.signal.table import Tabled, tabled
from flockiq.signal.watch import KEY, Watch


class Ruleset:
    """Some rules over one entity type; each has its *order* among them, from 0, in which its alerts are told.

    Words (int64) have bit ``number`` of each state: ``reads`` and ``shows`` int64 [F], of the states whose
    condition reads a field, or whose alerts show it; ``asked_first``, of those that are asked of an entity of which
    nothing was known; ``always``, of those that are asked of every row; ``waiting``, of those that watch for time
    to pass; ``renamed``, of those of them that show the entity's name. ``order_of``: int64 [64], of states by number.
    ``width``: more than the fields that a rule watches. ``fields``: those of the layout and the key; ``is_text``: bool
    [F + 1], which of them are texts; ``shown_at``: int64 [W, n], those that each rule's alerts show, then -1;
    ``shows_at``: bool [W, n], where there is one; ``of_changes``: bool [W].
    """

    def __init__(self, watches: Sequence[Watch], layout: Layout) -> None:
        self.watches, self.layout = tuple(watches), layout
        states = [(order, watch) for order, watch in enumerate(self.watches) if watch.is_state]
        self.states = tuple(watch for _, watch in states)
        self.state_orders: Int64s = np.array([order for order, _ in states], np.int64)
        self.state_numbers: Int64s = np.array([watch.number for watch in self.states], np.int64)
        self.order_of = np.zeros(64, np.int64)
        self.order_of[self.state_numbers] = self.state_orders
        self.reads = self._by_field(lambda watch: watch.names if watch.kind == "threshold" else ())
        self.shows = self._by_field(lambda watch: watch.shown)
        self.asked_first = _word(watch for watch in self.states if watch.kind == "threshold")
        self.always = _word(watch for watch in self.states if watch.kind == "drift")
        self.waiting = _word(watch for watch in self.states if watch.for_us)
        self.renamed = _word(watch for watch in self.states if watch.for_us and KEY in watch.shown)
        numbers, fields = layout.numbers, len(layout.fields)
        self.width = fields + 1
        self.fields = (*layout.fields, Field(KEY, "string"))
        self.is_text: Bools = np.array([field.kind in ("string", "json") for field in self.fields], np.bool_)
        self.shown = tuple(
            tuple(name for name in watch.shown if name in numbers or name == KEY) for watch in self.watches
        )
        """Of each rule: the names whose values its alerts show."""
        self.shown_at = np.full((len(self.watches), max(map(len, self.shown), default=0)), -1)
        for order, shown in enumerate(self.shown):
            self.shown_at[order, : len(shown)] = [numbers.get(name, fields) for name in shown]
        self.shows_at: Bools = self.shown_at >= 0
        self.spare: list[object] = []  # the room in which machine code judged last; who takes it pops it
        self.of_changes: Bools = np.array([watch.kind == "change" for watch in self.watches], np.bool_)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Their conditions as programs."""
        return parts(self.watches, self.layout)

    @cached_property
    def tabled(self) -> Tabled:
        """All of it for machine code."""
        return tabled(self)

    def _by_field(self, names: Callable[[Watch], Iterable[str]]) -> Int64s:
        numbers = self.layout.numbers
        words = np.zeros(len(self.layout.fields), np.int64)
        for watch in self.states:
            words[[numbers[name] for name in set(names(watch)) & numbers.keys()]] |= np.int64(1 << watch.number)
        return words


def _word(watches: Iterable[Watch]) -> np.int64:
    word = np.int64(0)
    for watch in watches:
        word |= np.int64(1 << watch.number)
    return word
