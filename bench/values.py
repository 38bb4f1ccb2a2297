"""The values of the measured records: a pure function of entity, field, version and source.

Columns in the sense of numpy, then plain Python values in the wire's canonical forms. A hash of
(entity, field, version) takes the place of a random generator, so a value can be made for any event
alone, in any order, and the two systems agree unless the hash says that they don't.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

FIELDS = ("name", "tax_id", "terms", "credit", "risk", "staff", "active", "founded", "reviewed", "profile")
CHANGES = (0.02, 0.0, 0.03, 0.5, 0.5, 0.3, 0.01, 0.005, 0.9, 0.1)
"""How likely an edit is to change each field."""

T0_US = 1_767_571_200_000_000  # 2026-01-05T00:00:00Z, when the measured events begin
DISAGREEING = 64  # one version in so many is not what the second system says

_FIRST = ("Nord", "Süd", "Alt", "Neu", "Berg", "Wald", "See", "Rhein", "Stein", "Hoch", "Lang", "Silber")
_SECOND = ("werk", "bau", "hof", "tec", "log", "med", "agrar", "holz", "glas", "druck", "papier", "stahl")
_FORM = np.array(["GmbH", "AG", "KG", "SE"], object)
_TERMS = np.array(["net 30"] * 50 + ["net 14"] * 25 + ["net 45"] * 16 + ["net 60"] * 8 + ["net 90"], object)
_SEGMENTS = ("retail", "industry", "public")


def mixed(*parts: Int64s | int) -> Words:
    """A 64-bit hash of columns of integers (the finisher of splitmix64, once a part)."""
    word = np.uint64(0x9E3779B97F4A7C15)
    state: Words = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            state = state * word + np.asarray(part).astype(np.uint64) + word
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
    return state


def _unit(word: Words) -> Floats:
    return (word >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _bell(word: Words) -> Floats:
    """About normal: the sum of three uniforms, spread 1."""
    three = [_unit(mixed((word >> np.uint64(1)).astype(np.int64), number)) for number in range(3)]
    return (three[0] + three[1] + three[2] - 1.5) * 2.0


def _every(word: Words, n: int) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = word % np.uint64(n) == 0
    return found


def columns(seed: int, entity: Int64s, source: Int64s, version: Int64s) -> list[list[object]]:
    """The ten columns for n events; ``version`` is int64 [n, 10]. Values as the wire has them."""
    made = []
    for number, name in enumerate(FIELDS):
        word = mixed(seed, entity, number, version[:, number])
        fixed = mixed(seed, entity, number)
        apart = _every(mixed(seed, entity, number, version[:, number], 7), DISAGREEING) & (source == 1)
        made.append(_MAKERS[name](entity, fixed, word, apart))
    return made


def _name(entity: Int64s, fixed: Words, word: Words, apart: npt.NDArray[np.bool_]) -> list[object]:
    stems = np.array([f"{one}{other}" for one in _FIRST for other in _SECOND], object)
    stem = stems[(fixed % np.uint64(len(stems))).astype(np.int64)]
    form = _FORM[(word % np.uint64(4)).astype(np.int64)]
    texts = [f"{a} {number} {b}" for a, number, b in zip(stem, entity.tolist(), form, strict=True)]
    shout = _every(word, 3)
    return [
        (text.upper() if loud else f"{text} Holding") if other else text
        for text, other, loud in zip(texts, apart.tolist(), shout.tolist(), strict=True)
    ]


def _tax_id(entity: Int64s, _: Words, __: Words, ___: npt.NDArray[np.bool_]) -> list[object]:
    return [f"DE{number + 100_000_000}" for number in entity.tolist()]


def _terms(_: Int64s, __: Words, word: Words, apart: npt.NDArray[np.bool_]) -> list[object]:
    chosen = _TERMS[((word + apart.astype(np.uint64) * np.uint64(50)) % np.uint64(100)).astype(np.int64)]
    return _without(chosen.tolist(), _every(word, 97))


def _credit(_: Int64s, fixed: Words, word: Words, apart: npt.NDArray[np.bool_]) -> list[object]:
    value = 1_000 * 10 ** (2 * _unit(fixed)) * (1 + 0.03 * _bell(word))
    value *= np.where(_every(word, 300), 4.0, np.where(_every(word, 331), 0.3, 1.0)) * np.where(apart, 1.5, 1.0)
    return _without([f"{one:.2f}" for one in value.tolist()], _every(word, 199))


def _risk(_: Int64s, fixed: Words, word: Words, apart: npt.NDArray[np.bool_]) -> list[object]:
    value = np.where(_every(word, 400), 97.0, 20 + 50 * _unit(fixed) + 2 * _bell(word)) + apart
    return _without(np.round(value, 4).tolist(), _every(word, 53))


def _staff(_: Int64s, fixed: Words, word: Words, apart: npt.NDArray[np.bool_]) -> list[object]:
    value = 10 * 10 ** (2.5 * _unit(fixed)) * (1 + 0.02 * _bell(word))
    value *= np.where(_every(word, 500), 4.0, 1.0) * np.where(apart, 1.4, 1.0)
    return [*value.astype(np.int64).tolist()]


def _active(_: Int64s, __: Words, word: Words, apart: npt.NDArray[np.bool_]) -> list[object]:
    return [*(~_every(word, 50) ^ apart).tolist()]


def _founded(_: Int64s, fixed: Words, word: Words, __: npt.NDArray[np.bool_]) -> list[object]:
    days = -7_300 + (fixed % np.uint64(25_000)).astype(np.int64) + (word % np.uint64(30)).astype(np.int64)
    return _without(np.datetime_as_string(days.astype("datetime64[D]")).tolist(), _every(word, 31))


def _reviewed(_: Int64s, __: Words, word: Words, ___: npt.NDArray[np.bool_]) -> list[object]:
    us = T0_US - 86_400_000_000 + (word % np.uint64(86_400_000_000)).astype(np.int64)
    return [f"{text}Z" for text in np.datetime_as_string(us.astype("datetime64[us]"), unit="us").tolist()]


def _profile(_: Int64s, fixed: Words, word: Words, __: npt.NDArray[np.bool_]) -> list[object]:
    segment = (fixed % np.uint64(3)).astype(np.int64).tolist()
    tier = np.where(_every(word, 200), 1, 2 + (word % np.uint64(3)).astype(np.int64)).tolist()
    return [f'{{"segment":"{_SEGMENTS[a]}","tier":{b}}}' for a, b in zip(segment, tier, strict=True)]


def _without(values: Sequence[object], empty: npt.NDArray[np.bool_]) -> list[object]:
    return [None if gone else value for value, gone in zip(values, empty.tolist(), strict=True)]


_MAKERS: dict[str, Callable[[Int64s, Words, Words, npt.NDArray[np.bool_]], list[object]]] = {
    "name": _name,
    "tax_id": _tax_id,
    "terms": _terms,
    "credit": _credit,
    "risk": _risk,
    "staff": _staff,
    "active": _active,
    "founded": _founded,
    "reviewed": _reviewed,
    "profile": _profile,
}
