"""The columns that conditions read, each made once for all rules that read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from flockiq.shared.cel.columns import Column
from flockiq.shared.lanes import Floats, Int64s, Texts, numbers
from flockiq.shared.layout import Layout
from flockiq.signal.seen import Seen
from flockiq.signal.watch import column, floats


class Columns:
    """The golden fields and the key of r rows."""

    def __init__(self, layout: Layout, golden: Int64s, key: Int64s, texts: Texts) -> None:
        self._layout, self._golden, self._key, self._texts = layout, golden, key, texts
        self._numbers = layout.numbers

    def of(self, names: Iterable[str], rows: Int64s) -> dict[str, Column]:
        """The named columns of some rows; names that are neither field nor key are left out."""
        found: dict[str, Column] = {}
        for name in names:
            number = self._numbers.get(name)
            if number is not None:
                field = self._layout.fields[number]
                found[name] = column(field.kind, field.scale, self._golden[rows, number], self._texts)
            elif name == "key":
                found[name] = self.text(self._key[rows])
        return found

    def text(self, lanes: Int64s) -> Column:
        """A column of texts."""
        return column("string", 0, lanes, self._texts)


class SharedColumns:
    """Columns of the same rows for many rules, each made once for each set of rows."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._made: dict[tuple[object, str], dict[str, Column]] = {}

    def of(self, names: Iterable[str], key: object, rows: Int64s) -> dict[str, Column]:
        """The named columns of ``rows``; ``key`` says which rows they are."""
        found: dict[str, Column] = {}
        for name in names:
            made = self._made.get((key, name))
            if made is None:
                made = self._made[key, name] = self._columns.of((name,), rows)
            found |= made
        return found


class FieldDeltas(NamedTuple):
    """The deltas of one field: row, old, new, source int64 [k], and their columns."""

    row: Int64s
    old: Int64s
    new: Int64s
    source: Int64s
    numbers: dict[str, Column]
    texts: dict[str, Int64s]
    field: int
    golden: Columns
    shared: SharedColumns

    def columns(self, names: Sequence[str]) -> dict[str, Column]:
        """What a change rule reads."""
        said = {name: self.golden.text(lanes) for name, lanes in self.texts.items() if name in names}
        return self.shared.of(names, ("delta", self.field), self.row) | self.numbers | said


class DeltaColumns:
    """Deltas field by field."""

    def __init__(self, layout: Layout, deltas: Seen, golden: Columns, texts: Texts) -> None:
        self._layout, self._deltas, self._golden, self._texts = layout, deltas, golden, texts
        self._shared = SharedColumns(golden)
        self._made: dict[int, FieldDeltas | None] = {}

    def of(self, number: int) -> FieldDeltas | None:
        """The deltas of a field; None if there are none."""
        if number not in self._made:
            self._made[number] = self._make(number)
        return self._made[number]

    def _make(self, number: int) -> FieldDeltas | None:
        told = self._deltas
        at = np.flatnonzero(told.delta_field == number)
        if not len(at):
            return None
        field, texts = self._layout.fields[number], self._texts
        old, new, source = told.delta_old[at], told.delta_new[at], told.delta_source[at]
        named = np.array([texts.lane(name) for name in self._layout.tellers], np.int64)
        measured = {
            "old": column(field.kind, field.scale, old, texts),
            "new": column(field.kind, field.scale, new, texts),
            "relative_change": floats(
                relative(numbers(field.kind, field.scale, old), numbers(field.kind, field.scale, new))
            ),
        }
        said = {"field": np.full(len(at), texts.lane(field.name)), "source": named[source]}
        return FieldDeltas(told.delta_row[at], old, new, source, measured, said, number, self._golden, self._shared)


def relative(old: Floats, new: Floats) -> Floats:
    """(new - old) / |old|; NaN where there is no old number to relate to."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = (new - old) / np.abs(old)
    change[~np.isfinite(change)] = np.nan
    return change
