"""Survivorship: which source's value of a field is the golden one.

Each field has a cascade of rules. A rule keeps the candidates that score highest on it; the
first rule that leaves one candidate has decided. A tie at the end goes to the best rank, then
the first source. An empty value is a candidate only when no source has a value. Of money,
amount and currency come from one source: what follows another field takes its winner.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.lanes import ABSENT, NULL, Bools, Int64s, Texts
from flockiq.shared.layout import Layout, Survival

OVERRIDDEN = 100
"""Stands for the rule's index in a cascade where a person's override has decided."""

FOLLOWED = 101
"""Stands for it where the field takes the winner of another."""

_LOWEST = np.iinfo(np.int64).min


Positions = Callable[[Int64s], tuple[Int64s, Int64s, Int64s]]
"""The positions (us, rr, tie), each int64 [n, S, k], of k fields by number."""


class Chosen(NamedTuple):
    """The surviving values: value int64 [n, F], source int8 [n, F] (-1: none), rule int8 [n, F]."""

    value: Int64s
    source: npt.NDArray[np.int8]
    rule: npt.NDArray[np.int8]


def _best(candidates: Bools, score: Int64s) -> Bools:
    """Those candidates, along the sources' axis, whose score is the greatest."""
    masked = np.where(candidates, score, _LOWEST)
    best: Bools = candidates & (masked == _over_sources(np.maximum, masked)[:, None, :])
    return best


def _filled(value: Int64s) -> Bools:
    filled: Bools = (value != ABSENT) & (value != NULL)
    return filled


def _over_sources(combine: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reduce [n, S, F] over its few sources one by one: numpy's own reduction is slow on a short axis."""
    reduced = values[:, 0]
    for source in range(1, values.shape[1]):
        reduced = combine(reduced, values[:, source])
    return reduced


def _count(candidates: Bools) -> npt.NDArray[np.int8]:
    """How many candidates each field has, int8 [n, F]."""
    return _over_sources(np.add, candidates.view(np.int8))


def _most_recent(candidates: Bools, us: Int64s, rr: Int64s, tie: Int64s) -> Bools:
    return _best(_best(_best(candidates, us), rr), tie)


def survivors(value: Int64s, positions: Positions, layout: Layout, texts: Texts) -> Chosen:
    """Choose among tellers, for values int64 [n, S, F]; ``positions`` is asked only if recency must decide.

    What a person says beats all sources, a null as well; the rest is theirs to decide.
    """
    sources = len(layout.sources)
    chosen = _among_sources(value[:, :sources], positions, layout, texts)
    for field in range(value.shape[2]):
        if layout.follows and layout.follows[field] >= 0:
            _follow(chosen, value, field, layout.follows[field])
        if layout.overrides:
            person = value[:, sources, field]
            said = person != ABSENT
            chosen.value[said, field], chosen.source[said, field] = person[said], sources
            chosen.rule[said, field] = OVERRIDDEN
    return chosen


def _follow(chosen: Chosen, value: Int64s, field: int, lead: int) -> None:
    """Take a field from whoever won another with a value, where they have a value of it as well."""
    row = np.flatnonzero(_filled(chosen.value[:, lead]))
    lane = value[row, chosen.source[row, lead], field]
    there = _filled(lane)
    row = row[there]
    chosen.value[row, field], chosen.source[row, field] = lane[there], chosen.source[row, lead]
    chosen.rule[row, field] = FOLLOWED


def _among_sources(value: Int64s, positions: Positions, layout: Layout, texts: Texts) -> Chosen:
    n, sources, fields = value.shape
    chosen = Chosen(
        np.full((n, fields), ABSENT, np.int64), np.full((n, fields), -1, np.int8), np.full((n, fields), -1, np.int8)
    )
    ranks = np.array(layout.ranks, np.int64).reshape(fields, sources).T
    for cascade in dict.fromkeys(layout.survivorship):
        mine = np.array([number for number, rules in enumerate(layout.survivorship) if rules == cascade])
        choice = _Choice(value[:, :, mine], ranks[:, mine], value, partial(positions, mine), texts)
        chosen.value[:, mine], chosen.source[:, mine], chosen.rule[:, mine] = _by_cascade(cascade, choice)
    return chosen


class _Choice(NamedTuple):
    """What a cascade chooses from: its fields' values and ranks, all fields' values, positions, texts."""

    value: Int64s
    ranks: Int64s
    record: Int64s
    positions: Callable[[], tuple[Int64s, Int64s, Int64s]]
    texts: Texts


def _by_cascade(cascade: tuple[Survival, ...], choice: _Choice) -> Chosen:
    """One cascade over the fields that share it."""
    value = choice.value
    filled = _filled(value)
    candidates = np.where(_over_sources(np.logical_or, filled)[:, None, :], filled, value != ABSENT)
    rule = np.where(_count(candidates) > 1, np.int8(-1), np.int8(0))
    for number, name in enumerate(cascade):
        if not (rule < 0).any():
            break
        candidates = _keep(name, candidates, choice)
        decided = (_count(candidates) == 1) & (rule < 0)
        rule[decided] = number
    candidates = _best(candidates, np.broadcast_to(-choice.ranks, value.shape))
    rule[rule < 0] = len(cascade)
    winner = candidates.argmax(axis=1)
    any_left = _over_sources(np.logical_or, candidates)
    taken = np.take_along_axis(value, winner[:, None, :], axis=1)[:, 0, :]
    return Chosen(
        np.where(any_left, taken, ABSENT),
        np.where(any_left, winner, -1).astype(np.int8),
        np.where(any_left, rule, -1).astype(np.int8),
    )


def _keep(name: Survival, candidates: Bools, choice: _Choice) -> Bools:
    """Those candidates that score highest on one rule."""
    value = choice.value
    match name:
        case "rank":
            return _best(candidates, np.broadcast_to(-choice.ranks, value.shape))
        case "recent":
            return _most_recent(candidates, *choice.positions())
        case "complete":
            filled = _filled(choice.record).sum(axis=2)
            return _best(candidates, np.broadcast_to(filled[:, :, None], value.shape))
        case "highest":
            return _best(candidates, value)
        case "lowest":
            return _best(candidates, -value)
        case "frequent":
            same = (value[:, :, None, :] == value[:, None, :, :]) & candidates[:, None, :, :]
            return _best(candidates, same.sum(axis=2))
        case "longest":
            return _best(candidates, choice.texts.lengths(value))
