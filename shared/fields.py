"""The types of an entity's fields, and the one canonical form of a value of each.

| type | takes | canonical |
|---|---|---|
| string | text, numbers, booleans | the text as it is; at most 100,000 characters, no control characters |
| decimal | digits as text or number | text with exactly ``scale`` digits, rounded half to even: "5000.00" |
| float | number, text | float; never NaN or infinite |
| integer | whole number, text, 5.0 | int within ±2^60 |
| boolean | true/false, 0/1, "yes"/"no", SAP's "X" and "" | bool |
| date | ISO 8601, YYYYMMDD, /Date(ms)/, epoch s or ms | "2024-01-31" |
| timestamp | RFC 3339, /Date(ms+off)/, epoch s or ms; a zone, or ``zone`` declared | "2024-01-31T08:00:00.000000Z" |
| json | any JSON value | compact text with sorted keys |

None is null in every type, and so is "" in all but string, boolean and json. What doesn't fit is
refused with a reason that quotes at most 80 characters of the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from flockiq.shared.canonical import (
    CANONICAL,
    CONTROL,
    LIMIT,
    MAX_SCALE,
    MAX_TEXT,
    NUMERIC,
    TIMED,
    Field,
    FieldType,
    Value,
    quote,
)
from flockiq.shared.errors import BadRecord
from flockiq.shared.instants import EARLIEST_US

__all__ = [
    "LIMIT",
    "MAX_SCALE",
    "MAX_TEXT",
    "NUMERIC",
    "TIMED",
    "Field",
    "FieldType",
    "Value",
    "canonical",
    "canonical_column",
]


def canonical(field: Field, value: object) -> Value:
    """The canonical form of one JSON value. BadRecord names the field and says why it doesn't fit."""
    if value is None:
        return None
    try:
        return CANONICAL[field.type](field, value)
    except ValueError as error:
        raise BadRecord(f"{quote(value)} {error}", field=field.name) from error


def canonical_column(field: Field, values: Sequence[object]) -> tuple[list[Value], dict[int, str]]:
    """The canonical forms of a column, and ``{row: reason}`` of what doesn't fit (None in its place).

    Columns of one plain type take a fast path; what it can't vouch for goes value by value.
    """
    fast = _fast(field, values)
    if fast is not None:
        return fast, {}
    one = CANONICAL[field.type]
    out: list[Value] = []
    errors: dict[int, str] = {}
    seen: dict[tuple[type, object], Value] = {}  # equal texts are common, and parsing dates is dear
    for row, value in enumerate(values):
        if value is None:
            out.append(None)
            continue
        remembered = (type(value), value) if isinstance(value, str | int) else None
        if remembered is not None and remembered in seen:
            out.append(seen[remembered])
            continue
        try:
            fitting = one(field, value)
        except ValueError as error:
            errors[row] = f"{quote(value)} {error}"
            out.append(None)
            continue
        out.append(fitting)
        if remembered is not None and len(seen) < _REMEMBERED:
            seen[remembered] = fitting
    return out, errors


_REMEMBERED = 65_536


def _fast(field: Field, values: Sequence[object]) -> list[Value] | None:
    """The column if it is all of one plain type and fits, without a Python step a value; else None."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return [None] * len(values)
    kind = (field.type, kinds.pop())
    if kinds:
        return None
    whole = None not in values
    given = [*values] if whole else [value for value in values if value is not None]
    canonical_already = _CANONICAL_ALREADY.get(kind)
    if canonical_already is not None and canonical_already(field, given):
        return list[Any](values)
    fast = _FAST.get(kind)
    fitting = fast(field, given) if fast is not None else None
    if fitting is None or whole:
        return fitting
    rest = iter(fitting)
    return [None if value is None else next(rest) for value in values]


def _texts(_: Field, texts: list[str]) -> bool:
    joined = "".join(texts)
    if CONTROL.search(joined) or max(map(len, texts)) > MAX_TEXT:
        return False
    try:
        joined.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integers(_: Field, numbers: list[int]) -> bool:
    return min(numbers) > -LIMIT and max(numbers) < LIMIT


def _booleans(_: Field, __: list[bool]) -> bool:
    return True


def _floats(_: Field, numbers: list[float]) -> list[Value] | None:
    given = np.array(numbers)
    return (given + 0.0).tolist() if np.isfinite(given).all() else None  # negative zero becomes zero


def _date_texts(_: Field, texts: list[str]) -> bool:
    """Dates as ISO 8601 writes them, which name the same day everywhere."""
    return _each(_DATES, texts) and _in_the_calendar(texts, "datetime64[D]")


_DATES = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\n|\Z))*+")


def _instants(_: Field, texts: list[str]) -> bool:
    """RFC 3339 in UTC with microseconds."""
    return _each(_INSTANTS, texts) and _in_the_calendar([text[:-1] for text in texts], "datetime64[us]")


_INSTANTS = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z(?:\n|\Z))*+")


def _in_the_calendar(texts: list[str], kind: str) -> bool:
    try:
        moments = np.array(texts, kind)
    except ValueError:  # the 30th of February
        return False
    return not (moments < np.datetime64("0001-01-01")).any()  # numpy knows a year 0, nobody else does


def _decimal_texts(field: Field, texts: list[str]) -> bool:
    return _each(_plain_decimals(field.scale), texts)


def _each(lines: re.Pattern[str], texts: list[str]) -> bool:
    """Whether a pattern of lines matches the texts, each of which is one line and not empty."""
    joined = "\n".join(texts)
    whole = joined.count("\n") == len(texts) - 1 and texts[-1] != ""  # the pattern sees an empty one anywhere else
    return whole and lines.fullmatch(joined) is not None


@lru_cache(maxsize=MAX_SCALE + 1)
def _plain_decimals(scale: int) -> re.Pattern[str]:
    """Lines of decimals that are canonical at ``scale``, never more than 18 digits in all."""
    fraction = rf"\.[0-9]{{{scale}}}" if scale else ""
    one = rf"(?!-0(?:\.0*)?(?:\n|\Z))-?(?:0|[1-9][0-9]{{0,{17 - scale}}}){fraction}"
    return re.compile(rf"(?:{one}\n)*+{one}")


def _decimal_integers(field: Field, numbers: list[int]) -> list[Value] | None:
    most = LIMIT // 10**field.scale
    if min(numbers) <= -most or max(numbers) >= most:
        return None
    zeros = "." + "0" * field.scale if field.scale else ""
    return [f"{number}{zeros}" for number in numbers]


def _decimal_floats(field: Field, numbers: list[float]) -> list[Value] | None:
    """Floats that are the nearest to a decimal of ``scale`` digits, as most that come from JSON are.

    Of those the shortest text that reads back as the float has no more digits than that, so that
    formatting can't round it differently.
    """
    given = np.array(numbers)
    power = 10.0**field.scale
    with np.errstate(over="ignore"):  # beyond all doubles is beyond what is taken
        scaled = np.rint(given * power)
    if not (np.isfinite(given).all() and (np.abs(scaled) < _FEW_DIGITS).all() and (scaled / power == given).all()):
        return None
    form = f"%.{field.scale}f"
    return [form % number for number in (given + 0.0).tolist()]  # negative zero becomes zero


_FEW_DIGITS = 1e15  # below it a double tells any two decimals of so many digits apart


def _timestamp_texts(_: Field, texts: list[str]) -> list[Value] | None:
    """RFC 3339 in UTC, of one length, as one source writes it."""
    if not _each(_UTC_TIMES, texts):
        return None
    try:
        moments = np.array([text[:-1] for text in texts], "datetime64[us]")
    except ValueError:  # the 30th of February
        return None
    return _written(moments)


_UTC_TIMES = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z(?:\n|\Z))*+")


def _written(moments: npt.NDArray[np.datetime64]) -> list[Value] | None:
    if (moments < np.datetime64(EARLIEST_US, "us")).any():  # numpy knows a year 0, nobody else does
        return None
    return [text + "Z" for text in np.datetime_as_string(moments, unit="us").tolist()]


_CANONICAL_ALREADY: dict[tuple[FieldType, type], Callable[[Field, list[Any]], bool]] = {
    ("string", str): _texts,
    ("integer", int): _integers,
    ("boolean", bool): _booleans,
    ("date", str): _date_texts,
    ("timestamp", str): _instants,
    ("decimal", str): _decimal_texts,
}
"""Whether values of one plain type need nothing done to them."""

_FAST: dict[tuple[FieldType, type], Callable[[Field, list[Any]], list[Value] | None]] = {
    ("float", float): _floats,
    ("decimal", float): _decimal_floats,
    ("decimal", int): _decimal_integers,
    ("timestamp", str): _timestamp_texts,
}
"""The column, if that can be done at once; else None."""
