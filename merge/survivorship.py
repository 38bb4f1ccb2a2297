"""Survivorship: which source's value of a field is the golden one.

Each field has a cascade of rules. A rule keeps the candidates that score highest on it; the
first rule that leaves one candidate has decided. A tie at the end goes to the best rank, then
the first source. An empty value is a candidate only when no source has a value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import ABSENT, NULL, Bools, Int64s, Texts
from flockiq.shared.layout import Layout, Survival

_LOWEST = np.iinfo(np.int64).min


class Chosen(NamedTuple):
    """The surviving values: value int64 [n, F], source int8 [n, F] (-1: none), rule int8 [n, F]."""

    value: Int64s
    source: npt.NDArray[np.int8]
    rule: npt.NDArray[np.int8]


def _best(candidates: Bools, score: Int64s) -> Bools:
    """Those candidates, along the sources' axis, whose score is the greatest."""
    masked = np.where(candidates, score, _LOWEST)
    best: Bools = candidates & (masked == masked.max(axis=1, keepdims=True))
    return best


def _most_recent(candidates: Bools, us: Int64s, rr: Int64s, tie: Int64s) -> Bools:
    return _best(_best(_best(candidates, us), rr), tie)


def survivors(value: Int64s, us: Int64s, rr: Int64s, tie: Int64s, layout: Layout, texts: Texts) -> Chosen:
    """Choose among sources: inputs int64 [n, S, F]."""
    n, sources, fields = value.shape
    chosen = Chosen(
        np.full((n, fields), ABSENT, np.int64), np.full((n, fields), -1, np.int8), np.full((n, fields), -1, np.int8)
    )
    ranks = np.array(layout.ranks, np.int64).reshape(fields, sources).T
    for cascade in dict.fromkeys(layout.survivorship):
        mine = [number for number, rules in enumerate(layout.survivorship) if rules == cascade]
        part = _by_cascade(
            cascade, value[:, :, mine], us[:, :, mine], rr[:, :, mine], tie[:, :, mine], ranks[:, mine], value, texts
        )
        chosen.value[:, mine], chosen.source[:, mine], chosen.rule[:, mine] = part
    return chosen


def _by_cascade(
    cascade: tuple[Survival, ...],
    value: Int64s,
    us: Int64s,
    rr: Int64s,
    tie: Int64s,
    ranks: Int64s,
    record: Int64s,
    texts: Texts,
) -> Chosen:
    """One cascade over the fields that share it; ``record`` holds all fields, for completeness."""
    filled = (value != ABSENT) & (value != NULL)
    candidates = np.where(filled.any(axis=1, keepdims=True), filled, value != ABSENT)
    rule = np.where(candidates.sum(axis=1) > 1, -1, 0).astype(np.int8)
    for number, name in enumerate(cascade):
        candidates = _keep(name, candidates, value, us, rr, tie, ranks, record, texts)
        decided = (candidates.sum(axis=1) == 1) & (rule < 0)
        rule[decided] = number
    candidates = _best(candidates, np.broadcast_to(-ranks, value.shape))
    rule[rule < 0] = len(cascade)
    winner = candidates.argmax(axis=1)
    any_left = candidates.any(axis=1)
    taken = np.take_along_axis(value, winner[:, None, :], axis=1)[:, 0, :]
    return Chosen(
        np.where(any_left, taken, ABSENT),
        np.where(any_left, winner, -1).astype(np.int8),
        np.where(any_left, rule, -1).astype(np.int8),
    )


def _keep(
    name: Survival,
    candidates: Bools,
    value: Int64s,
    us: Int64s,
    rr: Int64s,
    tie: Int64s,
    ranks: Int64s,
    record: Int64s,
    texts: Texts,
) -> Bools:
    match name:
        case "rank":
            return _best(candidates, np.broadcast_to(-ranks, value.shape))
        case "recent":
            return _most_recent(candidates, us, rr, tie)
        case "complete":
            filled = ((record != ABSENT) & (record != NULL)).sum(axis=2)
            return _best(candidates, np.broadcast_to(filled[:, :, None], value.shape))
        case "highest":
            return _best(candidates, value)
        case "lowest":
            return _best(candidates, -value)
        case "frequent":
            same = (value[:, :, None, :] == value[:, None, :, :]) & candidates[:, None, :, :]
            return _best(candidates, same.sum(axis=2))
        case "longest":
            return _best(candidates, texts.lengths(value))
