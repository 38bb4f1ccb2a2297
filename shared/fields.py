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

import dataclasses
import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Literal, get_args

from flockiq.shared.errors import BadRecord
from flockiq.shared.instants import calendar_date, instant_us, rfc3339, zone_info

FieldType = Literal["string", "decimal", "float", "integer", "boolean", "date", "timestamp", "json"]
FIELD_TYPES: tuple[FieldType, ...] = get_args(FieldType)
NUMERIC: tuple[FieldType, ...] = ("decimal", "float", "integer")

Value = str | int | float | bool | None
"""A canonical value."""

MAX_TEXT = 100_000  # characters
MAX_SCALE = 9  # digits after a decimal's point
LIMIT = 1 << 60  # integers, and decimals times 10^scale, stay below it: lanes keep them as int64
MAX_QUOTED = 80  # characters of a value in a reason


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A field of an entity type. ``zone`` is set where a mapping declares one for a source's times."""

    name: str
    type: FieldType
    scale: int = 2  # of a decimal: digits after the point
    currency: str = ""  # of a decimal: the field that holds its currency
    zone: str = ""  # IANA name; of dates and timestamps that come without one


def canonical(field: Field, value: object) -> Value:
    """The canonical form of one JSON value. BadRecord names the field and says why it doesn't fit."""
    if value is None:
        return None
    try:
        return _CANONICAL[field.type](field, value)
    except ValueError as error:
        raise BadRecord(f"{_quote(value)} {error}", field=field.name) from error


def canonical_column(field: Field, values: Sequence[object]) -> tuple[list[Value], dict[int, str]]:
    """The canonical forms of a column, and ``{row: reason}`` of what doesn't fit (None in its place).

    Columns of one plain type take a fast path; what it can't vouch for goes value by value.
    """
    fast = _fast(field, values)
    if fast is not None:
        return fast, {}
    one = _CANONICAL[field.type]
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
            errors[row] = f"{_quote(value)} {error}"
            out.append(None)
            continue
        out.append(fitting)
        if remembered is not None and len(seen) < _REMEMBERED:
            seen[remembered] = fitting
    return out, errors


_REMEMBERED = 65_536
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_DIGITS = re.compile(r"[+-]?(?:[0-9]{1,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,60}")
_TRUE = frozenset({"true", "1", "x", "yes", "y", "t"})
_FALSE = frozenset({"false", "0", "", "no", "n", "f"})


def _quote(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float) else f"a value of type {_json_type(value)}"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def _json_type(value: object) -> str:
    return {dict: "object", list: "array", bool: "boolean", str: "string"}.get(type(value), type(value).__name__)


def _check_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT:,} characters")
    control = _CONTROL.search(text)
    if control:
        raise ValueError(f"holds the control character U+{ord(control[0]):04X}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a surrogate pair") from error
    return text


def _string(_: Field, value: object) -> Value:
    if isinstance(value, str):
        return _check_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(_whole(value))
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    raise ValueError("is not text")


def _decimal(field: Field, value: object) -> Value:
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if not _DIGITS.fullmatch(text):
            raise ValueError("is not a decimal number")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = str(_whole(value)) if isinstance(value, int) else repr(value)  # a float's repr has no binary noise
    else:
        raise ValueError("is not a decimal number")  # noqa: TRY004 - of a value that people wrote, not of code
    number = Decimal(text)
    if not number.is_finite() or (number and number.adjusted() > _MOST_DIGITS):
        raise ValueError("is too large" if number.is_finite() else "is not a number")
    scaled = int(number.scaleb(field.scale, _EXACT).to_integral_value(ROUND_HALF_EVEN, _EXACT))
    if not -LIMIT < scaled < LIMIT:
        raise ValueError(f"is too large for {field.scale} digits after the point")
    return _point(scaled, field.scale)


_MOST_DIGITS = 20
_EXACT = Context(prec=200)


def _point(scaled: int, scale: int) -> str:
    if not scale:
        return str(scaled)
    digits = str(abs(scaled)).rjust(scale + 1, "0")
    return f"{'-' if scaled < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def _float(_: Field, value: object) -> Value:
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        number = float(text) if _DIGITS.fullmatch(text) else math.nan
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(_whole(value)) if isinstance(value, int) else value
    else:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is not a finite number")
    return number + 0.0  # negative zero becomes zero


def _integer(_: Field, value: object) -> Value:
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if _WHOLE.fullmatch(text):
            return _whole(int(text))
        if _DIGITS.fullmatch(text):
            return _integer(_, float(text))
    elif isinstance(value, float):
        if abs(value) <= _EXACT_FLOAT and value.is_integer():
            return int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return _whole(value)
    raise ValueError("is not a whole number")


_EXACT_FLOAT = float(1 << 53)


def _whole(value: int) -> int:
    if not -LIMIT < value < LIMIT:
        raise ValueError("is beyond ±2^60")
    return value


def _boolean(_: Field, value: object) -> Value:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
    raise ValueError("is not true or false")


def _date(field: Field, value: object) -> Value:
    if isinstance(value, str) and value.strip() in ("", _ABAP_NO_DATE):
        return None
    return calendar_date(value, zone_info(field.zone) if field.zone else None).isoformat()


_ABAP_NO_DATE = "00000000"


def _timestamp(field: Field, value: object) -> Value:
    if isinstance(value, str) and not value.strip():
        return None
    return rfc3339(instant_us(value, zone_info(field.zone) if field.zone else None))


def _json(_: Field, value: object) -> Value:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, RecursionError) as error:
        raise ValueError("is not JSON, or nested too deeply") from error
    return _check_text(text)


_CANONICAL: dict[FieldType, Callable[[Field, object], Value]] = {
    "string": _string,
    "decimal": _decimal,
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
    "json": _json,
}


def _fast(field: Field, values: Sequence[object]) -> list[Value] | None:
    """The column if every value is already canonical or null, judged without a Python step a value."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return [None] * len(values)
    match field.type:
        case "string" if kinds == {str}:
            texts = [text for text in values if text is not None]
            return list(values) if _all_plain(texts) else None  # type: ignore[arg-type]
        case "integer" if kinds == {int}:
            numbers: list[int] = [number for number in values if number is not None]  # type: ignore[misc]
            return list(values) if min(numbers) > -LIMIT and max(numbers) < LIMIT else None  # type: ignore[arg-type]
        case "boolean" if kinds == {bool}:
            return list(values)  # type: ignore[arg-type]
        case "decimal" if kinds == {str}:
            texts = [text for text in values if text is not None]
            plain = _plain_decimals(field.scale).fullmatch("\n".join(texts))  # type: ignore[arg-type]
            return list(values) if plain else None  # type: ignore[arg-type]
        case _:
            return None


def _all_plain(texts: list[object]) -> bool:
    joined = "".join(texts)  # type: ignore[arg-type]
    if _CONTROL.search(joined) or max(map(len, texts)) > MAX_TEXT:  # type: ignore[arg-type]
        return False
    return joined.isascii() or _encodes(joined)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=MAX_SCALE + 1)
def _plain_decimals(scale: int) -> re.Pattern[str]:
    """Lines of decimals that are canonical at ``scale``, never more than 18 digits in all."""
    fraction = rf"\.[0-9]{{{scale}}}" if scale else ""
    one = rf"(?!-0(?:\.0*)?(?:\n|\Z))-?(?:0|[1-9][0-9]{{0,{17 - scale}}}){fraction}"
    return re.compile(rf"(?:{one}\n)*+{one}")
