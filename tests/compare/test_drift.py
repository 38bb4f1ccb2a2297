"""Drift: when sources that disagree on a field are further apart than it tolerates."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.compare.drift import disagree
from flockiq.shared.lanes import ABSENT, NULL, LaneType, Scalar, Texts, lane_of
from flockiq.shared.layout import Field, Layout, Tolerance

SILENT = object()
"""A source that never said anything."""


def drifts(kind: LaneType, values: Sequence[Scalar | object], **tolerance: object) -> bool:
    """Whether these sources' values of one field drift; the entity beside them, all equal, never does."""
    texts, scale = Texts(), 2 if kind == "decimal" else 0
    layout = Layout(
        "thing",
        (Field("other", "integer"), Field("value", kind, scale)),
        tuple(f"s{number}" for number in range(len(values))),
        "",
        (("recent",),) * 2,
        ((0,) * len(values),) * 2,
        (Tolerance(1, **tolerance),),  # type: ignore[arg-type]  # by name
    )
    lanes = [ABSENT if value is SILENT else lane_of(kind, scale, value, texts) for value in values]  # type: ignore[arg-type]
    first = next((lane for lane in lanes if lane not in (ABSENT, NULL)), NULL)
    cube = np.array([[[number, lane] for number, lane in enumerate(lanes)], [[0, first]] * len(lanes)], np.int64)
    before = cube.copy()
    found = disagree(cube, layout, texts)
    assert found.shape == (2, 1)
    assert not found[1, 0]
    assert (cube == before).all(), "the values compared are left as they were"
    return bool(found[0, 0])


@pytest.mark.parametrize("values", [("a", SILENT), ("a", None, SILENT), ("a", "a", None), (None, None), (SILENT,) * 2])
def test_only_sources_that_have_a_value_can_disagree(values: tuple[object, ...]) -> None:
    """Silence and emptiness agree with everything."""
    assert not drifts("string", values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("string", ("a", "b")),
        ("string", ("a", None, "b")),
        ("boolean", (True, False)),
        ("date", ("2024-01-31", "2024-02-01")),
        ("timestamp", ("2024-01-31T08:00:00.000000Z", "2024-01-31T08:00:00.000001Z")),
        ("integer", (5, 6)),
        ("integer", ((1 << 60) - 1, (1 << 60) - 2)),
        ("decimal", ("12345678901234.56", "12345678901234.57")),
        ("decimal", ("-0.01", "0.01")),
        ("float", (0.1, 0.1 + 2e-17)),
        ("json", ('{"a":1}', '{"a":2}')),
    ],
)
def test_without_a_tolerance_any_difference_is_drift(kind: LaneType, values: tuple[Scalar, ...]) -> None:
    """Down to the last digit, of every type; equal values never drift."""
    differ = len({lane_of(kind, 2, value, Texts()) for value in values if value is not None}) > 1
    assert drifts(kind, values) == differ
    assert not drifts(kind, (values[0], values[0]))


@pytest.mark.parametrize(
    ("values", "tolerance", "expected"),
    [
        (("100.00", "100.10"), {"absolute": 0.1}, False),
        (("100.00", "100.11"), {"absolute": 0.1}, True),
        (("1000.30", "1000.40"), {"absolute": 0.1}, False),
        (("0.30", "0.40"), {"absolute": 0.1}, False),
        (("-5.00", "5.00"), {"absolute": 10}, False),
        (("99.00", "100.00"), {"relative": 0.01}, False),
        (("98.99", "100.00"), {"relative": 0.01}, True),
        (("-99.00", "-100.00"), {"relative": 0.01}, False),
        (("-98.99", "-100.00"), {"relative": 0.01}, True),
        (("0.00", "0.01"), {"relative": 0.5}, True),
        (("1.00", "1.50"), {"absolute": 0.1, "relative": 0.5}, False),
        (("0.05", "0.10"), {"absolute": 0.1, "relative": 0.01}, False),
    ],
)
def test_numbers_within_a_tolerance_agree(
    values: tuple[str, ...], tolerance: dict[str, float], *, expected: bool
) -> None:
    """A difference up to the tolerance is agreement, as a person would work it out; of two, the wider counts."""
    assert drifts("decimal", values, **tolerance) == expected


@settings(max_examples=200, deadline=None)
@given(
    low=st.integers(-(10**9), 10**9),
    allowed=st.integers(1, 10**6),
    beyond=st.integers(-1, 1),
    between=st.floats(0, 1),
)
def test_an_absolute_tolerance_is_exact_on_decimals(low: int, allowed: int, beyond: int, between: float) -> None:
    """Whatever binary fractions make of cents: only the cent beyond it is drift."""
    high = low + allowed + beyond
    cents = [low, int(low + between * (high - low)), high]
    values = [f"{Decimal(cent) / 100:.2f}" for cent in cents]
    assert drifts("decimal", values, absolute=allowed / 100) == (beyond == 1)


@pytest.mark.parametrize(
    ("one", "other", "ignore", "expected"),
    [
        ("Acme Ltd", "ACME LTD", {"case"}, False),
        ("Acme Ltd", "AcmeLtd", {"case"}, True),
        ("Acme\u00a0 Ltd", "AcmeLtd", {"space"}, False),
        ("Acme, Ltd.", "Acme Ltd", {"punctuation"}, False),
        ("Acme-Ltd_", "acme ltd", {"case", "space", "punctuation"}, False),
        ("Straße", "STRASSE", {"case"}, False),
        ("Acme Ltd", "Acme Inc", {"case", "space", "punctuation"}, True),
    ],
)
def test_texts_that_differ_only_in_what_is_ignored_agree(
    one: str, other: str, ignore: set[str], *, expected: bool
) -> None:
    """Case as Unicode folds it, every kind of space, every mark that is no letter or digit."""
    assert drifts("string", (one, other), ignore=frozenset(ignore)) == expected


@pytest.mark.parametrize(
    ("kind", "one", "other", "expected"),
    [
        ("string", "a,b;c", "c; b , a", False),
        ("string", "a,b,b,", "b,a", False),
        ("string", "a,b", "a,c", True),
        ("string", '["a", "b"]', '["b","a"]', False),
        ("json", '["a","b"]', '["b","a","a"]', False),
        ("json", '["a","b"]', '["a","c"]', True),
        ("json", '["a,b"]', '["b,a"]', True),
        ("json", '[{"a":1,"b":2},3]', '[3,{"a":1,"b":2}]', False),
        ("string", '["a","b"]', "b, a", False),
        ("string", "[draft], final", "final, [draft]", False),
        ("json", '{"a":[1,2]}', '{"a":[2,1]}', True),
        ("json", "[" * 2_000 + "]" * 2_000, "[" * 1_999 + "]" * 1_999, True),
    ],
)
def test_the_order_of_a_set_makes_no_difference(kind: LaneType, one: str, other: str, *, expected: bool) -> None:
    """Parts between commas or semicolons, or the items of a JSON array; how often one is named counts as once."""
    assert drifts(kind, (one, other), as_set=True) == expected


def test_a_set_can_ignore_case_too() -> None:
    """What makes no difference makes none within the parts."""
    assert not drifts("string", ("Red, GREEN", "green;red"), as_set=True, ignore=frozenset({"case"}))
    assert not drifts("string", ('["Red"]', '["red"]'), as_set=True, ignore=frozenset({"case"}))
    assert drifts("string", ("Red, GREEN", "green;red"), as_set=True)
