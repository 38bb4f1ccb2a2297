"""The query options that both OData versions share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.local.samples.odata import BadQuery, ordered, predicate

PROPERTIES = frozenset(("name", "size", "at"))
ROWS: list[dict[str, Any]] = [
    {"name": "O'Brien", "size": 2, "at": "2026-01-01T00:00:00.500Z"},
    {"name": "ann", "size": 10, "at": "/Date(1767225600000)/"},
    {"name": None, "size": "3.50", "at": "2026-01-02T00:00:00+01:00"},
]


def kept(expression: str) -> list[int]:
    """Which of ROWS pass the filter."""
    holds = predicate(expression, PROPERTIES)
    return [number for number, row in enumerate(ROWS) if holds(row)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("name eq 'O''Brien'", [0]),
        ("name ne null", [0, 1]),
        ("size gt 2.5", [1, 2]),
        ("size gt 2.5m and size lt 5", [2]),
        ("at gt 2026-01-01T00:00:00Z", [0, 2]),
        ("at ge datetime'2026-01-01T00:00:00'", [0, 1, 2]),
        ("at lt datetimeoffset'2026-01-01T12:00:00Z' and name eq 'ann'", [1]),
        ("size eq 'ten'", []),
    ],
)
def test_filters_compare_by_meaning(expression: str, expected: list[int]) -> None:
    """Numbers in text as numbers, times however written as times, null as nothing."""
    assert kept(expression) == expected


@pytest.mark.parametrize(
    "expression", ["", "name", "name eq", "nothing eq 1", "name eq 'a' or size eq 1", "name eq 'a"]
)
def test_filters_beyond_the_grammar_are_refused(expression: str) -> None:
    """Rather than half understood."""
    with pytest.raises(BadQuery):
        predicate(expression, PROPERTIES)


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    """It is a filter, or it is refused."""
    try:
        holds = predicate(text, PROPERTIES)
    except BadQuery:
        return
    assert all(holds(row) in (True, False) for row in ROWS)


def test_orders_are_stable_and_go_either_way() -> None:
    """Several properties, the first first; what has no value comes first."""
    assert [row["name"] for row in ordered(ROWS, "name", PROPERTIES)] == [None, "O'Brien", "ann"]
    assert ordered(ROWS, "at desc", PROPERTIES)[-1] == ROWS[1]
    with pytest.raises(BadQuery):
        ordered(ROWS, "name sideways", PROPERTIES)
