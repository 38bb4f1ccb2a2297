"""Drift: sources that disagree on a field beyond its tolerance."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import lru_cache

import numpy as np

from flockiq.shared.lanes import ABSENT, NULL, Bools, Int64s, Texts, numbers, text_lane
from flockiq.shared.layout import Layout, Tolerance

_SPACE = re.compile(r"\s+")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_SEPARATORS = re.compile(r"[,;]")
_REMEMBERED = 1 << 16  # normal forms of a tolerance that are not worked out again
ROUNDING = 1e-15  # of the larger number: 0.4 and 0.3 are no further apart than 0.1
_NUMERIC = ("decimal", "float", "integer", "date", "timestamp")


def disagree(value: Int64s, layout: Layout, texts: Texts) -> Bools:
    """Which tolerances are exceeded: bool [n, T] for values int64 [n, S, F] and T tolerances.

    Only sources are compared: a person who sets a value knows that they say others. Amounts in different
    currencies disagree, whatever the numbers.
    """
    value = value[:, : len(layout.sources)]
    found = np.zeros((len(value), len(layout.tolerances)), np.bool_)
    for number, tolerance in enumerate(layout.tolerances):
        amount = value[:, :, tolerance.field]
        found[:, number] = exceeded(amount, layout, tolerance, texts)
        if layout.currencies and (of := layout.currencies[tolerance.field]) >= 0:
            currency = value[:, :, of]
            found[:, number] |= _differ(currency, _filled(amount) & _filled(currency))
    return found


def exceeded(value: Int64s, layout: Layout, tolerance: Tolerance, texts: Texts) -> Bools:
    """For the tolerance's field, int64 [n, S]: whether any two sources that have a value differ too much."""
    field = layout.fields[tolerance.field]
    filled = _filled(value)
    several: Bools = filled.sum(axis=1) > 1
    if field.kind in _NUMERIC and (tolerance.absolute or tolerance.relative):
        number = numbers(field.kind, field.scale, value)
        low = np.where(filled, number, np.inf).min(axis=1)
        high = np.where(filled, number, -np.inf).max(axis=1)
        with np.errstate(invalid="ignore"):
            larger = np.maximum(np.abs(low), np.abs(high))
            allowed = np.maximum(tolerance.absolute, tolerance.relative * larger)
            apart: Bools = several & (high - low > allowed + ROUNDING * larger)
            return apart
    if tolerance.ignore or tolerance.as_set:
        suspect = several & _differ(value, filled)
        value = value.copy()
        value[suspect] = _normalised(value[suspect], tolerance, texts)
    return several & _differ(value, filled)


def _filled(value: Int64s) -> Bools:
    filled: Bools = (value != ABSENT) & (value != NULL)
    return filled


def _differ(value: Int64s, filled: Bools) -> Bools:
    low = np.where(filled, value, np.iinfo(np.int64).max).min(axis=1)
    high = np.where(filled, value, np.iinfo(np.int64).min).max(axis=1)
    differ: Bools = low < high
    return differ


def _normalised(value: Int64s, tolerance: Tolerance, texts: Texts) -> Int64s:
    known, lanes = _normal_lanes(tolerance), value.reshape(-1).tolist()
    if len(known) > _REMEMBERED:
        known.clear()
    found: dict[int, int] = {}
    for lane in set(lanes):
        normal = known.get(lane)
        if normal is None:
            normal = lane if lane in (ABSENT, NULL) else text_lane(normalise(texts.text(lane), tolerance))
            known[lane] = normal
        found[lane] = normal
    return np.array([found[lane] for lane in lanes], np.int64).reshape(value.shape)


@lru_cache(maxsize=256)
def _normal_lanes(_tolerance: Tolerance) -> dict[int, int]:
    """The lanes of normal forms by the texts' own, as far as they were asked for; bounded."""
    return {}


def normalise(text: str, tolerance: Tolerance) -> str:
    """A text without what the tolerance ignores."""
    if tolerance.as_set:
        parts = (normalise(part, tolerance._replace(as_set=False)).strip() for part in _items(text))
        return "\x1f".join(sorted({part for part in parts if part}))
    if "case" in tolerance.ignore:
        text = text.casefold()
    if "punctuation" in tolerance.ignore:
        text = _PUNCTUATION.sub("", text)
    if "space" in tolerance.ignore:
        text = _SPACE.sub("", text)
    return text


def _items(text: str) -> list[str]:
    """The items of a JSON array, or else the parts between commas and semicolons."""
    if text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            given = json.loads(text)
            return [item if isinstance(item, str) else json.dumps(item, sort_keys=True) for item in given]
    return _SEPARATORS.split(text)
