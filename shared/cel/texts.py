"""CEL's functions on texts. Each runs once a distinct value, not once a row."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flockiq.shared.cel import operators
from flockiq.shared.cel.columns import Column, TextsOf
from flockiq.shared.lanes import Int64s, text_lane
from flockiq.shared.stored_texts import BETWEEN

_NOT_DIGITS = re.compile(r"[^0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


def plain(of: Column) -> Column:
    """The column with texts as objects."""
    return of if of.texts is None else by_distinct(str, of, object)


def alike(compare: Callable[[Any, Any], Any]) -> operators.Binary:
    """== or != of texts; where both have lanes, these are compared."""
    plainly = operators.comparison(compare)

    def run(left: Column, right: Column) -> Column:
        ours, theirs = _lanes(left), _lanes(right)
        if ours is None or theirs is None or (left.texts is None and right.texts is None):
            return plainly(plain(left), plain(right))
        return Column(np.asarray(compare(ours, theirs), np.bool_), left.null | right.null)

    return run


class _Changed:
    """Texts as a function without memory, such as lower, makes them; lanes stand for what they were before."""

    def __init__(self, function: Callable[[str], str], of: TextsOf) -> None:
        self._function, self._of = function, of

    def many(self, lanes: Int64s) -> Sequence[str]:
        """The texts."""
        return list(map(self._function, self._of.many(lanes)))

    def together(self, lanes: Int64s) -> npt.NDArray[np.uint8]:
        """All in one: what stands between them is no letter, and so of no effect on its neighbours' case."""
        whole = self._of.together(lanes).tobytes().decode("utf-8", "surrogatepass")
        return np.frombuffer(self._function(whole).encode("utf-8", "surrogatepass"), np.uint8)

    def lengths(self, lanes: Int64s) -> Int64s:
        """How many characters each has."""
        return np.fromiter(map(len, self.many(lanes)), np.int64, len(lanes))


def changed(function: Callable[[str], str], of: Column) -> Column:
    """The texts as a function makes them."""
    if of.texts is not None and function in _WITHOUT_MEMORY:
        return Column(of.values, of.null, _Changed(function, of.texts))
    return by_distinct(function, of, object)


def size(of: Column) -> Column:
    """How many characters each text has."""
    if of.texts is None:
        return by_distinct(len, of, np.int64)
    return _of_lanes(of.texts.lengths, of, np.int64)


def asked(name: str, left: Column, right: Column) -> Column:
    """A function of ASKING; of one constant and texts by lanes, in all of them at once."""
    if left.texts is not None and right.values.ndim == 0 and not right.null:
        texts, constant = left.texts, right.values.item()
        needle = np.frombuffer(constant.encode("utf-8", "surrogatepass"), np.uint8)
        if len(needle) and BETWEEN not in needle:
            return _of_lanes(lambda lanes: _having(name, needle, texts, lanes), left, np.bool_)
    return by_distinct_pair(ASKING[name], left, right, np.bool_)


def _having(name: str, needle: npt.NDArray[np.uint8], texts: TextsOf, lanes: Int64s) -> npt.NDArray[np.bool_]:
    """Which texts hold ``needle``, or begin or end with it."""
    whole = texts.together(lanes)
    between = np.flatnonzero(whole == BETWEEN)
    if len(between) != len(lanes) + 1:  # one stands in a text
        constant = needle.tobytes().decode("utf-8", "surrogatepass")
        return np.array([ASKING[name](text, constant) for text in texts.many(lanes)], np.bool_)
    if name == "contains":
        last = max(len(whole) - len(needle) + 1, 0)
        here = np.ones(last, np.bool_)
        for at, one in enumerate(needle.tolist()):
            here &= whole[at : at + last] == one
        found = np.zeros(len(lanes), np.bool_)
        found[np.searchsorted(between, np.flatnonzero(here)) - 1] = True
        return found
    begins = between[:-1] + 1 if name == "startsWith" else between[1:] - len(needle)
    found = np.diff(between) > len(needle)
    for at, one in enumerate(needle.tolist()):
        found &= whole[np.where(found, begins + at, 0)] == one
    return found


def _of_lanes(function: Callable[[Int64s], npt.NDArray[Any]], of: Column, dtype: npt.DTypeLike) -> Column:
    """``function`` of the distinct lanes, in the places of them all."""
    said = ~of.null
    lanes, which = np.unique(of.values[said], return_inverse=True)
    found = np.zeros(of.values.shape, dtype)
    found[said] = function(lanes)[which]
    return Column(found, of.null)


def _lanes(of: Column) -> npt.NDArray[np.int64] | None:
    """The lanes of a column of texts or of one constant; None if it has none."""
    if of.texts is not None:
        return None if isinstance(of.texts, _Changed) else of.values
    return np.array(text_lane(of.values.item()), np.int64) if of.values.ndim == 0 else None


def one_of(known: frozenset[str]) -> Callable[[Column], Column]:
    """Whether each text is among some."""
    lanes = np.array([text_lane(text) for text in known], np.int64)

    def run(of: Column) -> Column:
        if of.texts is None or isinstance(of.texts, _Changed):
            return by_distinct(known.__contains__, of, np.bool_)
        return Column(np.isin(of.values, lanes), of.null)

    return run


def by_distinct(function: Callable[[str], Any], of: Column, dtype: npt.DTypeLike) -> Column:
    """``function`` of every text, worked out once for each that is different."""
    if of.texts is not None:
        said = ~of.null
        lanes, which = np.unique(of.values[said], return_inverse=True)
        of_lanes = np.empty(len(lanes), dtype)
        of_lanes[:] = list(map(function, of.texts.many(lanes)))
        found = np.full(of.values.shape, "", object) if of_lanes.dtype == object else np.zeros(of.values.shape, dtype)
        found[said] = of_lanes[which]
        return Column(found, of.null)
    texts = np.where(of.null, "", of.values)
    flat = texts.reshape(-1).tolist()
    table = {text: function(text) for text in dict.fromkeys(flat)}
    values = np.empty(len(flat), dtype)
    values[:] = list(map(table.__getitem__, flat))
    return Column(values.reshape(texts.shape), of.null)


def by_distinct_pair(function: Callable[[str, str], Any], left: Column, right: Column, dtype: npt.DTypeLike) -> Column:
    """``function`` of every pair of texts, once for each pair that is different."""
    if right.values.ndim == 0 and not right.null:  # a constant: distinct texts are fewer than distinct pairs
        constant = right.values.item()
        return by_distinct(lambda text: function(text, constant), left, dtype)
    left, right = plain(left), plain(right)
    null = left.null | right.null
    ours, theirs = np.broadcast_arrays(np.where(left.null, "", left.values), np.where(right.null, "", right.values))
    pairs = list(zip(ours.reshape(-1).tolist(), theirs.reshape(-1).tolist(), strict=True))
    table = {pair: function(*pair) for pair in dict.fromkeys(pairs)}
    values = np.empty(len(pairs), dtype)
    values[:] = list(map(table.__getitem__, pairs))
    return Column(values.reshape(ours.shape), null)


def digits(text: str) -> str:
    """Only the digits 0-9: "DE 123.456" is "123456"."""
    return _NOT_DIGITS.sub("", text)


def alnum(text: str) -> str:
    """Only letters and digits, of any script: "St. Gallen-2" is "StGallen2"."""
    return "".join(filter(str.isalnum, text))


CHANGING: Mapping[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "trim": str.strip,
    "digits": digits,
    "alnum": alnum,
}
"""Functions from text to text."""

_WITHOUT_MEMORY = (str.lower, str.upper)  # of many texts at once they make what they make of each

ALIKE: Mapping[str, operators.Binary] = {"==": alike(operator.eq), "!=": alike(operator.ne)}
"""Comparisons for which the lanes of texts do."""

ASKING: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}
"""Functions from two texts to bool."""


def to_double(of: Column) -> Column:
    """Texts as doubles; null where a text is no number."""
    column = by_distinct(lambda text: float(text) if _NUMBER.fullmatch(text) else np.nan, of, np.float64)
    return Column(column.values, column.null | ~np.isfinite(column.values))


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text holds a match of an RE2 pattern: linear time for any pattern. ValueError says why it is none."""
    import re2  # type: ignore[import-untyped] # noqa: PLC0415 - a C extension that few conditions need

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason, _, at = (said.decode(errors="replace") if isinstance(said, bytes) else str(said)).partition(": ")
        wrong = "is a pattern that does not compile: " + reason + (f", at {at[:40]!r}" if at else "")
        raise ValueError(wrong) from error
    return lambda text: compiled.search(text) is not None
