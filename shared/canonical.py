"""The canonical form of one value of each type; ``shared.fields`` says what is taken and given."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal

from flockiq.shared.instants import calendar_date, instant_us, rfc3339, zone_info

FieldType = Literal["string", "decimal", "float", "integer", "boolean", "date", "timestamp", "json"]
NUMERIC: tuple[FieldType, ...] = ("decimal", "float", "integer")
TIMED: tuple[FieldType, ...] = ("date", "timestamp")

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


CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_DIGITS = re.compile(r"[+-]?(?:[0-9]{1,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,60}")
_LONG_BITS = 256
_TRUE = frozenset({"true", "1", "x", "yes", "y", "t"})
_FALSE = frozenset({"false", "0", "", "no", "n", "f"})


def quote(value: object) -> str:
    """A value for a reason: at most MAX_QUOTED characters of it."""
    if isinstance(value, str):
        text = repr(value[:MAX_QUOTED])
    elif isinstance(value, int) and value.bit_length() > _LONG_BITS:  # Python refuses to write the longest at all
        text = f"an integer of {value.bit_length():,} bits"
    elif isinstance(value, int | float):
        text = repr(value)
    else:
        text = f"a value of type {_json_type(value)}"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def _json_type(value: object) -> str:
    return {dict: "object", list: "array", bool: "boolean", str: "string"}.get(type(value), type(value).__name__)


def _check_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT:,} characters")
    control = CONTROL.search(text)
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


CANONICAL: Mapping[FieldType, Callable[[Field, object], Value]] = {
    "string": _string,
    "decimal": _decimal,
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
    "json": _json,
}
"""Each raises ValueError with the rest of a sentence that begins with the value."""
