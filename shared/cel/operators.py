"""CEL's operators over columns, with three-valued nulls.

Null in, null out, except: ``false && null`` is false, ``true || null`` is true (Kleene), and
``x == null`` asks. What has no value is null too: division by zero, integers beyond 64 bits,
doubles that are not finite. Columns broadcast, so constants are columns of shape ().
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flockiq.shared.cel.columns import Column

Bools = npt.NDArray[np.bool_]
Binary = Callable[[Column, Column], Column]

_LEAST = np.iinfo(np.int64).min


def conjunction(left: Column, right: Column) -> Column:
    """``left && right``: false if either is false, else null if either is null."""
    true = left.values & ~left.null & right.values & ~right.null
    false = (~left.values & ~left.null) | (~right.values & ~right.null)
    return Column(true, ~(true | false))


def disjunction(left: Column, right: Column) -> Column:
    """``left || right``: true if either is true, else null if either is null."""
    true = (left.values & ~left.null) | (right.values & ~right.null)
    false = ~left.values & ~left.null & ~right.values & ~right.null
    return Column(true, ~(true | false))


def negation(of: Column) -> Column:
    """``!of``."""
    return Column(~of.values, of.null)


def is_null(of: Column) -> Column:
    """``of == null``; never null itself."""
    return Column(of.null, np.zeros_like(of.null))


def choice(condition: Column, yes: Column, no: Column) -> Column:
    """``condition ? yes : no``; null where the condition is."""
    take = condition.values & ~condition.null
    values = np.where(take, yes.values, no.values)
    return Column(values, condition.null | np.where(take, yes.null, no.null))


def to_double(of: Column) -> Column:
    """Integers as doubles, rounded to the nearest beyond 2^53."""
    return Column(of.values.astype(np.float64), of.null)


def comparison(compare: Callable[[Any, Any], Any]) -> Binary:
    """An operator that compares values of one kind."""

    def run(left: Column, right: Column) -> Column:
        return Column(np.asarray(compare(left.values, right.values), np.bool_), left.null | right.null)

    return run


COMPARISONS: Mapping[str, Binary] = {
    "==": comparison(operator.eq),
    "!=": comparison(operator.ne),
    "<": comparison(operator.lt),
    "<=": comparison(operator.le),
    ">": comparison(operator.gt),
    ">=": comparison(operator.ge),
}


def _of_ints(calculate: Callable[[Any, Any], tuple[Any, Any]]) -> Binary:
    """An operator on int64 that says with its result where there is none."""

    def run(left: Column, right: Column) -> Column:
        values, missing = calculate(left.values, right.values)
        return Column(np.asarray(values, np.int64), left.null | right.null | missing)

    return run


def _add(a: Any, b: Any) -> tuple[Any, Any]:
    total = np.add(a, b)
    return total, ((a ^ total) & (b ^ total)) < 0


def _subtract(a: Any, b: Any) -> tuple[Any, Any]:
    difference = np.subtract(a, b)
    return difference, ((a ^ b) & (a ^ difference)) < 0


def _multiply(a: Any, b: Any) -> tuple[Any, Any]:
    product = np.multiply(a, b)
    divisor = np.where(b == 0, 1, b)
    wraps = (a == _LEAST) & (b == -1)
    back = np.floor_divide(product, np.where(divisor == -1, 1, divisor))
    fits = np.where(divisor == -1, ~wraps, (back == a) & (product == back * divisor))
    return product, (b != 0) & ~fits


def _divide(a: Any, b: Any) -> tuple[Any, Any]:
    """Towards zero, as CEL and C."""
    quotient, missing = _floored(a, b)
    inexact = quotient * np.where(b == 0, 1, b) != a
    return quotient + (inexact & ((a < 0) != (b < 0))), missing


def _floored(a: Any, b: Any) -> tuple[Any, Any]:
    wraps = (a == _LEAST) & (b == -1)
    missing = (b == 0) | wraps
    return np.floor_divide(a, np.where(missing, 1, b)), missing


def _remainder(a: Any, b: Any) -> tuple[Any, Any]:
    """With the sign of the dividend, as CEL and C."""
    missing = (b == 0) | ((a == _LEAST) & (b == -1))
    return np.fmod(a, np.where(missing, 1, b)), missing


INTS: Mapping[str, Binary] = {
    "+": _of_ints(_add),
    "-": _of_ints(_subtract),
    "*": _of_ints(_multiply),
    "/": _of_ints(_divide),
    "%": _of_ints(_remainder),
}


def _of_doubles(calculate: Callable[[Any, Any], Any]) -> Binary:
    def run(left: Column, right: Column) -> Column:
        values = np.asarray(calculate(left.values, right.values), np.float64)
        return Column(values, left.null | right.null | ~np.isfinite(values))

    return run


DOUBLES: Mapping[str, Binary] = {
    "+": _of_doubles(np.add),
    "-": _of_doubles(np.subtract),
    "*": _of_doubles(np.multiply),
    "/": _of_doubles(np.divide),
}


def join(left: Column, right: Column) -> Column:
    """Two texts, one after the other."""
    return Column(np.asarray(np.add(left.values, right.values), object), left.null | right.null)


def minus(of: Column) -> Column:
    """``-of`` for int64 and float64."""
    missing = of.values == _LEAST if of.values.dtype == np.int64 else np.zeros_like(of.null)
    return Column(np.negative(of.values), of.null | missing)


def absolute(of: Column) -> Column:
    """``abs(of)`` for int64 and float64."""
    missing = of.values == _LEAST if of.values.dtype == np.int64 else np.zeros_like(of.null)
    return Column(np.abs(of.values), of.null | missing)
