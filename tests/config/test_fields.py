"""Canonical values: one form for what many systems write in many ways."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.shared.errors import BadRecord
from flockiq.shared.fields import LIMIT, MAX_TEXT, Field, FieldType, canonical, canonical_column

AMOUNT = Field("amount", "decimal")
BERLIN = Field("at", "timestamp", zone="Europe/Berlin")


def value(kind: FieldType, raw: object) -> object:
    """The canonical value of a field of ``kind``."""
    return canonical(Field("f", kind), raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("5000", "5000.00"), ("5e3", "5000.00"), (5000, "5000.00"), (1.1, "1.10"), (0.1 + 0.2, "0.30"),
        (" 7.5 ", "7.50"),
        ("1.005", "1.00"), ("1.015", "1.02"), ("-0.001", "0.00"), (-0.0, "0.00"), (".5", "0.50"), ("-3.", "-3.00"),
        ("1e-400", "0.00"), ("", None), (None, None),
    ],
)  # fmt: skip
def test_a_decimal_has_exactly_its_digits(raw: object, text: str | None) -> None:
    """Text, integers and floats give the same text, without binary noise, rounded half to even."""
    assert canonical(AMOUNT, raw) == text


@pytest.mark.parametrize(
    "raw",
    ["1_000", "1,000.00", "nan", "Infinity", "1e999", "9" * 17, "9" * 61, "٣", True, [], float("inf"), 10**40, "0x10"],
)
def test_what_is_no_bounded_decimal_is_refused(raw: object) -> None:
    """Separators, other scripts, infinities and numbers beyond 18 digits become a reason, not a number."""
    with pytest.raises(BadRecord, match=r"^amount: "):
        canonical(AMOUNT, raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00.000000Z"),
        ("2024-01-31T10:00:00.1234567+02:00", "2024-01-31T08:00:00.123456Z"),
        ("/Date(1706695200000)/", "2024-01-31T10:00:00.000000Z"),
        ("/Date(1706695200000+0060)/", "2024-01-31T10:00:00.000000Z"),
        (1706695200, "2024-01-31T10:00:00.000000Z"),
        (1706695200.5, "2024-01-31T10:00:00.500000Z"),
        (1706695200000, "2024-01-31T10:00:00.000000Z"),
        ("1706695200000", "2024-01-31T10:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_timestamp_is_rfc_3339_in_utc(raw: object, text: str) -> None:
    """Whatever a system writes, microseconds and a Z come out."""
    assert value("timestamp", raw) == text


@pytest.mark.parametrize(
    "raw",
    [
        "2024-01-31T10:00:00", "2024-01-31", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
        "2024-02-30T00:00:00Z",
        "2024-01-31T24:00:01Z", "2024-01-31T10:00:60Z", "0000-01-01T00:00:00Z", 1e300, float("nan"), True, {}, "soon",
    ],
)  # fmt: skip
def test_a_timestamp_without_a_zone_or_outside_the_calendar_is_refused(raw: object) -> None:
    """Nothing is guessed, one by one or in a column."""
    with pytest.raises(BadRecord):
        value("timestamp", raw)
    assert list(canonical_column(Field("f", "timestamp"), [raw])[1]) == [0]


def test_a_time_without_a_zone_is_told_the_ways_out() -> None:
    """The source writes one, or the field is given one where the stream maps it."""
    with pytest.raises(BadRecord, match=r"has no time zone \(end it with Z or .*, or give the field a zone\)"):
        value("timestamp", "2024-01-31T08:00:00")


def test_a_declared_zone_places_times_that_have_none() -> None:
    """In summer Berlin is two hours ahead; a time that says its zone keeps it."""
    assert canonical(BERLIN, "2024-07-01 10:00:00") == "2024-07-01T08:00:00.000000Z"
    assert canonical(BERLIN, "2024-07-01T10:00:00Z") == "2024-07-01T10:00:00.000000Z"


@pytest.mark.parametrize(
    ("raw", "zone", "text"),
    [
        ("2024-01-31", "", "2024-01-31"), ("20240131", "", "2024-01-31"), ("/Date(1706659200000)/", "", "2024-01-31"),
        ("2024-01-31T23:30:00Z", "", "2024-01-31"), ("2024-01-31T23:30:00Z", "Europe/Berlin", "2024-02-01"),
        ("/Date(1706743800000+0060)/", "", "2024-02-01"), ("00000000", "", None), ("", "", None), (0, "", "1970-01-01"),
    ],
)  # fmt: skip
def test_a_date_is_the_day_that_was_meant(raw: object, zone: str, text: str | None) -> None:
    """As written, or in the declared zone where a system keeps local midnight in UTC; SAP's zeros are none."""
    assert canonical(Field("due", "date", zone=zone), raw) == text


@pytest.mark.parametrize(
    ("raw", "answer"), [("X", True), ("", False), (0, False), (1, True), ("TRUE", True), ("no", False)]
)
def test_booleans_are_read_as_systems_write_them(raw: object, answer: bool) -> None:  # noqa: FBT001 - an example
    """SAP's X and blank, numbers and words."""
    assert value("boolean", raw) is answer


@pytest.mark.parametrize(("raw", "number"), [("5", 5), (5.0, 5), ("5.0", 5), (" -7 ", -7), (LIMIT - 1, LIMIT - 1)])
def test_integers_are_whole(raw: object, number: int) -> None:
    """Integral text and floats are integers."""
    assert value("integer", raw) == number


@pytest.mark.parametrize("raw", [5.5, "5.5", "1e30", LIMIT, -LIMIT, True, "five", 2.0**60])
def test_what_is_not_whole_or_too_large_is_refused(raw: object) -> None:
    """Halves, words and numbers that state can't hold."""
    with pytest.raises(BadRecord):
        value("integer", raw)


def test_an_integer_too_long_to_write_down_gets_a_reason() -> None:
    """Python itself refuses to turn so many bits into text."""
    with pytest.raises(BadRecord, match="an integer of 40,001 bits"):
        value("integer", 1 << 40_000)


@pytest.mark.parametrize("raw", ["a\x00b", "a\x1fb", "\x9b31m", "\x7f", "\ud800", "x" * (MAX_TEXT + 1), {}, 1 << 70])
def test_text_that_could_do_harm_is_refused(raw: object) -> None:
    """Control characters, half surrogates and endless text, one by one or in a column of others."""
    with pytest.raises(BadRecord):
        value("string", raw)
    _, errors = canonical_column(Field("f", "string"), ["fine", raw, "café\n\t😀"])
    assert list(errors) == [1]


@pytest.mark.parametrize("raw", [float("nan"), float("inf"), "NaN", "1e999", [1]])
def test_no_float_is_nan_or_infinite(raw: object) -> None:
    """What arithmetic can't go on with is refused."""
    with pytest.raises(BadRecord):
        value("float", raw)


def test_json_has_one_text() -> None:
    """Keys are sorted and spaces dropped; NaN and endless nesting are refused."""
    assert value("json", {"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for raw in ({"a": float("nan")}, deep, {"a": "\ud800"}):
        with pytest.raises(BadRecord):
            value("json", raw)


def test_a_reason_quotes_little_of_the_value() -> None:
    """80 characters at most: values may be private, and logs are not the place for them."""
    with pytest.raises(BadRecord) as refused:
        canonical(AMOUNT, "secret " * 1000)
    assert refused.value.field == "amount"
    assert len(refused.value.reason) < 120


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=5),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12).map(str),
    st.floats(-1e6, 1e6).map(lambda number: round(number, 2)),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.dates().map(dt.date.isoformat),
    st.sampled_from(["X", "", "-0.00", "00000000", "/Date(0)/", "0000-01-01T00:00:00Z"]),
)  # fmt: skip
columns = st.one_of(
    st.lists(anything, max_size=6),
    *(st.lists(st.none() | of, max_size=6) for of in (st.text(max_size=3), st.integers(), st.booleans(), st.floats())),
    st.lists(st.none() | st.floats(-1e6, 1e6).map(lambda number: round(number, 2)), max_size=6),
    st.lists(st.datetimes().map(lambda at: at.isoformat() + "Z"), max_size=6),
    st.lists(st.decimals(-1000, 1000, places=2).map(str), max_size=6),
)


@given(raw=columns, kind=st.sampled_from(["string", "decimal", "float", "integer", "boolean", "date", "timestamp"]))
def test_a_column_gives_what_its_values_give(raw: list[object], kind: FieldType) -> None:
    """The fast paths differ in nothing but speed."""
    field = Field("f", kind)
    expected: list[object] = []
    reasons: dict[int, str] = {}
    for row, given_value in enumerate(raw):
        try:
            expected.append(canonical(field, given_value))
        except BadRecord as refused:
            expected.append(None)
            reasons[row] = refused.reason
    values, errors = canonical_column(field, raw)
    assert (values, errors) == (expected, reasons)
    assert list(map(type, values)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("kind", "good"), [("date", "2024-01-31"), ("timestamp", "2024-01-31T10:00:00.000000Z"), ("decimal", "1.50")]
)
def test_an_empty_text_is_nothing_wherever_it_stands_in_a_column(kind: FieldType, good: str) -> None:
    """Alone, first, last or between values."""
    for raw in ([""], ["", good], [good, ""], [good, "", good]):
        assert canonical_column(Field("f", kind, scale=2), raw) == ([text or None for text in raw], {})


@given(number=st.floats(-1e12, 1e12), scale=st.integers(0, 4))
def test_floats_become_the_decimals_they_are_written_as(number: float, scale: int) -> None:
    """As decimal arithmetic on the float's shortest text rounds it, in a column too."""
    exact = Decimal(repr(number)).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN)
    expected = f"{exact + 0:f}"
    assert canonical_column(Field("f", "decimal", scale), [number])[0] == [expected]


@given(raw=anything, kind=st.sampled_from(["decimal", "float", "integer", "boolean", "date", "timestamp", "json"]))
def test_a_canonical_value_is_its_own_canonical_form(raw: object, kind: FieldType) -> None:
    """Canonical again is the same again, so that replays compare equal."""
    field = Field("f", kind)
    try:
        once = canonical(field, raw)
    except BadRecord:
        return
    if kind != "json":
        assert canonical(field, once) == once
