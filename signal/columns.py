"""The columns that conditions read, each made once for all rules that read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import numpy as np

from flockiq.shared.cel.columns import Column
from flockiq.shared.lanes import Floats, Int64s, Texts, numbers
from flockiq.shared.layout import Field, Layout
from flockiq.signal.seen import Seen
from flockiq.signal.watch import column, floats


class Columns:
    """The golden fields and the key of r rows."""

    def __init__(self, layout: Layout, golden: Int64s, key: Int64s, texts: Texts) -> None:
        self._layout, self._golden, self._key, self._texts = layout, golden, key, texts
        self._numbers = layout.numbers
        self._made: dict[str, Column] = {}
        self._taken: dict[tuple[object, str], Column] = {}

    def all(self, names: Iterable[str]) -> dict[str, Column]:
        """The named columns of all rows; names that are neither field nor key are left out."""
        return {name: self._column(name) for name in names if name in self._numbers or name == "key"}

    def of(self, names: Iterable[str], rows: Int64s, these: object = None) -> dict[str, Column]:
        """The same of some rows; ``these`` says which, where others will ask for the same."""
        if these is None:
            return {name: one.take(rows) for name, one in self.all(names).items()}
        for name, one in self.all(names).items():
            if (these, name) not in self._taken:
                self._taken[these, name] = one.take(rows)
        return {name: self._taken[these, name] for name in names if (these, name) in self._taken}

    def text(self, lanes: Int64s) -> Column:
        """A column of texts."""
        return column("string", 0, lanes, self._texts)

    def _column(self, name: str) -> Column:
        made = self._made.get(name)
        if made is None:
            number = self._numbers.get(name)
            if number is None:
                made = self.text(self._key)
            else:
                field = self._layout.fields[number]
                made = column(field.kind, field.scale, self._golden[:, number].copy(), self._texts)
            self._made[name] = made
        return made


class FieldDeltas:
    """The deltas of one field: row, old, new, source int64 [k], and their columns; ``at``: which deltas these are."""

    def __init__(self, number: int, layout: Layout, told: Seen, at: Int64s, golden: Columns, texts: Texts) -> None:
        self.row, self.old, self.new = told.delta_row[at], told.delta_old[at], told.delta_new[at]
        self.source = told.delta_source[at]
        self.number, self._layout, self._golden, self._texts = number, layout, golden, texts
        self.at = at
        self._made: dict[str, Column] = {}

    @classmethod
    def of(cls, number: int, layout: Layout, told: Seen, golden: Columns, texts: Texts) -> Self:
        """Those of a field."""
        return cls(number, layout, told, np.flatnonzero(told.delta_field == number), golden, texts)

    def columns(self, names: Iterable[str]) -> dict[str, Column]:
        """What a change rule reads: the old and the new value, and what else is named."""
        mine = {"old", "new", *_OF_A_DELTA.intersection(names)}
        for name in mine - self._made.keys():
            self._made[name] = self._column(name)
        said = {name: self._made[name] for name in mine}
        return self._golden.of(names, self.row, ("delta", self.number)) | said

    def _column(self, name: str) -> Column:
        field, texts = self._layout.fields[self.number], self._texts
        match name:
            case "old" | "new":
                return column(field.kind, field.scale, self.old if name == "old" else self.new, texts)
            case "relative_change":
                return floats(relative(self._real(field, self.old), self._real(field, self.new)))
            case "field":
                return self._golden.text(np.full(len(self.row), texts.lane(field.name)))
            case _:
                named = np.array([texts.lane(teller) for teller in self._layout.tellers], np.int64)
                return self._golden.text(named[self.source])

    @staticmethod
    def _real(field: Field, lanes: Int64s) -> Floats:
        return numbers(field.kind, field.scale, lanes)


_OF_A_DELTA = frozenset({"relative_change", "field", "source"})


class DeltaColumns:
    """Deltas field by field."""

    def __init__(self, layout: Layout, deltas: Seen, golden: Columns, texts: Texts) -> None:
        self._layout, self._deltas, self._golden, self._texts = layout, deltas, golden, texts
        self._made: dict[int, FieldDeltas | None] = {}

    def of(self, number: int) -> FieldDeltas | None:
        """The deltas of a field; None if there are none."""
        if number not in self._made:
            made = FieldDeltas.of(number, self._layout, self._deltas, self._golden, self._texts)
            self._made[number] = made if len(made.row) else None
        return self._made[number]


def relative(old: Floats, new: Floats) -> Floats:
    """(new - old) / |old|; NaN where there is no old number to relate to."""
    with np.errstate(all="ignore"):
        change = (new - old) / np.abs(old)
    change[~np.isfinite(change)] = np.nan
    return change
