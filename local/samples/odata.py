"""What both OData versions share: ``$filter`` of simple comparisons and ``$orderby``, over plain rows.

Grammar: OData URL conventions, restricted to ``property op literal`` joined by ``and``, which is
what readers of whole tables use.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]
Literal = str | float | bool | None

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_COMPARISON = re.compile(
    r"\s*(?P<property>\w+)\s+(?P<op>eq|ne|gt|ge|lt|le)\s+(?P<kind>datetime(?:offset)?|guid)?(?P<literal>'(?:[^']|'')*'|[^\s']+)\s*"
)
_DATE = re.compile(r"/Date\((\d+)\)/")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?")


class BadQuery(Exception):
    """The query options make no sense; the message says which."""


def comparable(value: Any) -> Any:
    """``value`` as it is compared: points in time, however written, as seconds since the epoch."""
    if isinstance(value, str):
        if found := _DATE.fullmatch(value):
            return int(found[1]) / 1e3
        if _MOMENT.fullmatch(value):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return value


def _literal(text: str) -> Literal:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    try:
        return float(text.rstrip("mMdDfFlL"))
    except ValueError:
        return text  # a GUID or a point in time


def predicate(expression: str, properties: frozenset[str]) -> Callable[[Row], bool]:
    """A test of rows by ``$filter``. BadQuery if it is beyond the grammar or names what is not there."""
    tests: list[tuple[str, Callable[[Any, Any], bool], Any]] = []
    at = 0
    while True:
        found = _COMPARISON.match(expression, at)
        if found is None:
            raise BadQuery(f"Syntax error at position {at} in '{expression}'.")
        if found["property"] not in properties:
            raise BadQuery(f"Could not find a property named '{found['property']}'.")
        tests.append((found["property"], _OPERATORS[found["op"]], comparable(_literal(found["literal"]))))
        at = found.end()
        if at == len(expression):
            break
        if not expression.startswith("and ", at):
            raise BadQuery(f"Syntax error at position {at} in '{expression}'.")
        at += 4

    def holds(row: Row) -> bool:
        return all(_holds(test, comparable(row.get(name)), literal) for name, test, literal in tests)

    return holds


def _holds(test: Callable[[Any, Any], bool], value: Any, literal: Any) -> bool:
    if isinstance(literal, float) and isinstance(value, str):
        try:
            value = float(value)  # V2 writes decimals as text
        except ValueError:
            return False
    try:
        return bool(test(value, literal))
    except TypeError:
        return False


def ordered(rows: Sequence[Row], expression: str, properties: frozenset[str]) -> list[Row]:
    """Rows in the order of ``$orderby``. BadQuery if it names what is not there."""
    result = list(rows)
    for part in reversed(expression.split(",")):
        name, _, direction = part.strip().partition(" ")
        if name not in properties or direction not in ("", "asc", "desc"):
            raise BadQuery(f"The $orderby expression '{part.strip()}' is not valid.")
        result.sort(key=lambda row, name=name: _sortable(comparable(row.get(name))), reverse=direction == "desc")  # type: ignore[misc]
    return result


def _sortable(value: Any) -> tuple[int, float, str]:
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if isinstance(value, (int, float)) else (2, 0.0, str(value))


def count(text: str | None, name: str, most: int) -> int | None:
    """A number given as a query option, at most ``most``. BadQuery if it is not one."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadQuery(f"The value '{text[:40]}' of {name} is not a number.")
    return min(int(text), most)


def issued(text: str, form: str) -> float:
    """When a token was issued, in seconds since the epoch. BadQuery if ``text`` is not written as ``form`` says."""
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise BadQuery("The delta token is malformed.") from error
