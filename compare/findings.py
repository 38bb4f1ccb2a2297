"""Findings: drift as it begins and ends, and numbers unlike their own history, each with what caused it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import NULL, Bools, Floats, Int64s

BEGAN, ENDED, ANOMALY = 0, 1, 2
KINDS = ("drift", "agreement", "anomaly")


class Findings(NamedTuple):
    """k findings.

    entity, field, event (text lane of the cause's id), us: int64 [k]; kind: int8 [k] (BEGAN, ENDED, ANOMALY);
    since: int64 [k], of drift the text lane of the id of the event that it began with, else NULL.
    value, score, expected, low, high: float64 [k], of anomalies, else NaN.
    """

    entity: Int64s
    field: Int64s
    kind: npt.NDArray[np.int8]
    event: Int64s
    us: Int64s
    since: Int64s
    value: Floats
    score: Floats
    expected: Floats
    low: Floats
    high: Floats

    @classmethod
    def joined(cls, parts: Sequence[Findings]) -> Findings:
        """Several as one."""
        if len(parts) == 1:
            return parts[0]
        whole, real = np.zeros(0, np.int64), np.zeros(0, np.float64)
        none = cls(whole, whole, whole.astype(np.int8), whole, whole, whole, real, real, real, real, real)
        return cls._make(np.concatenate(columns) for columns in zip(none, *parts, strict=True))

    def where(self, keep: Bools) -> Findings:
        """Some of them."""
        columns: tuple[npt.NDArray[Any], ...] = tuple(self)
        return Findings._make(column[keep] for column in columns)

    def but(self, others: Findings) -> Findings:
        """Those that are not among others, to the bit."""
        if not len(self.entity) or not len(others.entity):
            return self
        known = set(others._said())
        return self.where(np.array([one not in known for one in self._said()], np.bool_))

    def _said(self) -> list[tuple[Any, ...]]:
        whole = [column.view(np.int64) if column.dtype == np.float64 else column for column in self]
        return list(zip(*(column.tolist() for column in whole), strict=True))


class Turns(NamedTuple):
    """Where tolerances begin or cease to be exceeded: row, number (of the tolerance) int64 [k]; began: bool [k]."""

    row: Int64s
    number: Int64s
    began: Bools


def turns(drift: Bools, previous: Int64s, before: Bools) -> Turns:
    """Of r rows' drift, bool [r, T]; ``previous``: the row of the same entity before, or -1; ``before``: [r, T]."""
    was = np.where((previous >= 0)[:, None], drift[previous], before) if len(drift) else before
    row, number = np.nonzero(was != drift)
    return Turns(row.astype(np.int64), number.astype(np.int64), drift[row, number])


def since(turned: Turns, entity: Int64s, event: Int64s, known: Int64s) -> Int64s:
    """The event that each turn's drift began with, int64 [k]; brings ``known``, int64 [n, T], up to date.

    ``entity``, ``event``: of the rows; rows are in order.
    """
    e, t = entity[turned.row], turned.number
    order = np.lexsort((turned.row, t, e))
    e, t, began, cause = e[order], t[order], turned.began[order], event[turned.row[order]]
    again = np.r_[False, (e[1:] == e[:-1]) & (t[1:] == t[:-1])] if len(e) else np.zeros(0, np.bool_)
    start = np.where(began, cause, np.where(again, np.r_[NULL, cause[:-1]][: len(e)], known[e, t]))
    last = np.r_[~again[1:], True] if len(e) else again
    known[e[last], t[last]] = np.where(began[last], cause[last], NULL)
    found = np.empty(len(e), np.int64)
    found[order] = start
    return found


def of_drift(turned: Turns, begun: Int64s, entity: Int64s, event: Int64s, us: Int64s, fields: Int64s) -> Findings:
    """Turns as findings; ``entity``, ``event``, ``us``: of the rows; ``fields``: of the tolerances."""
    nothing = np.full(len(turned.row), np.nan)
    kind = np.where(turned.began, np.int8(BEGAN), np.int8(ENDED)).astype(np.int8)
    rows = turned.row
    return Findings(
        entity[rows],
        fields[turned.number],
        kind,
        event[rows],
        us[rows],
        begun,
        nothing,
        nothing,
        nothing,
        nothing,
        nothing,
    )
