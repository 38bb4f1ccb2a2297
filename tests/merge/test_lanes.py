"""Lanes: every canonical value of every type as one int64, and back."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flockiq.shared.instants import rfc3339
from flockiq.shared.lanes import ABSENT, LIMIT, NULL, LaneType, Scalar, Texts, lane_of, lanes_of, numbers, value_of
from flockiq.shared.stored_texts import Block, block

UTC = dt.UTC
SMALLEST, LARGEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def decimals(scale: int) -> st.SearchStrategy[str]:
    """Canonical decimals of a scale, the widest included."""
    wide = st.integers(-LIMIT + 1, LIMIT - 1) | st.integers(-200, 200)
    return wide.map(lambda scaled: f"{Decimal(scaled).scaleb(-scale):.{scale}f}")


TIMES = st.datetimes(timezones=st.just(UTC)).map(
    lambda at: rfc3339((at - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1))
)
VALUES: dict[tuple[LaneType, int], st.SearchStrategy[Scalar]] = {
    ("string", 0): st.text(st.characters(codec="utf-8")),
    ("json", 0): st.sampled_from(['{"a":1}', "[]", '"x"', "null"]),
    ("decimal", 0): decimals(0),
    ("decimal", 2): decimals(2),
    ("decimal", 9): decimals(9),
    ("integer", 0): st.integers(-LIMIT + 1, LIMIT - 1),
    ("boolean", 0): st.booleans(),
    ("date", 0): st.dates().map(dt.date.isoformat),
    ("timestamp", 0): TIMES,
    ("float", 0): st.floats(allow_nan=False, allow_infinity=False).filter(
        lambda value: lane_of("float", 0, value, Texts()) - 1 not in (ABSENT, NULL)
    ),
}


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def test_every_value_comes_back_as_it_was(kind: tuple[LaneType, int]) -> None:
    """One by one and as a column; null as well; equal lanes only for equal values; never a sentinel."""
    name, scale = kind

    @given(values=st.lists(st.none() | VALUES[kind], max_size=5))
    def returns(values: list[Scalar]) -> None:
        texts = Texts()
        lanes = lanes_of(name, scale, values, texts)
        assert lanes == [lane_of(name, scale, value, texts) for value in values]
        assert [value_of(name, scale, lane, texts) for lane in lanes] == values
        assert all((lane == NULL) == (value is None) for lane, value in zip(lanes, values, strict=True))
        assert len(set(lanes)) == len({(value is None, value) for value in values})
        assert ABSENT not in lanes
        assert all(SMALLEST <= lane <= LARGEST for lane in lanes)

    returns()


@pytest.mark.parametrize("kind", [kind for kind in VALUES if kind[0] not in ("string", "json")], ids=str)
def test_lanes_order_as_their_values_do(kind: tuple[LaneType, int]) -> None:
    """So that highest, lowest and recency are one integer comparison."""
    name, scale = kind

    @given(pair=st.tuples(VALUES[kind], VALUES[kind]))
    def ordered(pair: tuple[Scalar, Scalar]) -> None:
        one, other = (lane_of(name, scale, value, Texts()) for value in pair)
        left, right = (Decimal(value) if name == "decimal" else value for value in pair)  # type: ignore[arg-type]
        assert (one < other) == (left < right)  # type: ignore[operator]

    ordered()


@given(value=st.floats(allow_nan=False, allow_infinity=False))
@example(-1.9999999999999998)
@example(5e-324)
@example(-0.0)
@example(1.7976931348623157e308)
def test_a_float_is_off_by_at_most_the_last_digit(value: float) -> None:
    """Two floats make room for the sentinels; zero has one sign."""
    texts = Texts()
    lane = lane_of("float", 0, value, texts)
    assert lane not in (ABSENT, NULL)
    back = value_of("float", 0, lane, texts)
    assert isinstance(back, float)
    assert back in (value, math.nextafter(value, math.inf))
    assert math.copysign(1, back) == 1 if value == 0 else True
    assert numbers("float", 0, np.array([lane], np.int64))[0] == back


@pytest.mark.parametrize(
    ("kind", "scale", "value"),
    [
        ("integer", 0, LIMIT),
        ("integer", 0, -LIMIT),
        ("decimal", 0, str(LIMIT)),
        ("decimal", 2, f"-{LIMIT // 100 + 1}.00"),
        ("decimal", 2, "1.234"),
        ("decimal", 2, "a lot"),
        ("date", 0, "2024-02-30"),
        ("date", 0, "soon"),
        ("timestamp", 0, "soon"),
        ("float", 0, "much"),
        ("integer", 0, "many"),
    ],
)
def test_what_does_not_fit_is_refused(kind: LaneType, scale: int, value: str | int) -> None:
    """At the limit itself and beyond, with more digits than the scale has, and what is no such value."""
    for given_ in ([value], [None, value, None]):
        with pytest.raises(ValueError, match=r".+"):
            lanes_of(kind, scale, given_, Texts())


@pytest.mark.parametrize("scale", [0, 2, 9])
@given(scaled=st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=1, max_size=5))
def test_a_decimal_as_a_number_is_the_nearest_double(scale: int, scaled: Sequence[int]) -> None:
    """As a person who reads the digits would write it."""
    found = numbers("decimal", scale, np.array([*scaled, ABSENT, NULL], np.int64))
    assert found[: len(scaled)].tolist() == [float(Decimal(one).scaleb(-scale)) for one in scaled]
    assert np.isnan(found[len(scaled) :]).all()


@pytest.mark.parametrize("kind", ["float", "integer", "timestamp", "date", "boolean"])
def test_what_has_no_value_is_no_number(kind: LaneType) -> None:
    """Absent and null are NaN; the numbers beside them are not."""
    lanes = np.array([ABSENT, 1, NULL], np.int64)
    assert np.isnan(numbers(kind, 0, lanes)).tolist() == [True, False, True]
    assert lanes.tolist() == [ABSENT, 1, NULL]


def test_a_text_is_kept_once_and_told_once() -> None:
    """What a commit added is given out once; what was read back is known and not added again."""
    texts = Texts()
    lane = texts.lane("Acme")
    assert texts.lane("Acme") == lane
    told = texts.taken()
    assert told == block({lane: "Acme"})
    assert texts.taken() == Block()
    again = Texts()
    again.restore(told)
    assert again.lane("Acme") == lane
    assert again.text(lane) == "Acme"
    assert (again.taken(), len(again)) == (Block(), 1)


def test_a_snapshot_keeps_only_the_texts_that_are_referred_to() -> None:
    """The others are forgotten; lanes that are no texts are not asked for any."""
    texts = Texts()
    kept, _ = texts.lane("a"), texts.lane("b")
    only = texts.only([kept, NULL, ABSENT, 12345])
    assert only.text(kept) == "a"
    assert only.all()[0] == block({kept: "a"})
    assert len(only) == 1


@pytest.mark.parametrize("count", [3, 9000])
def test_texts_come_back_whole_wherever_they_are_kept(count: int) -> None:
    """Few or many, restored or of late; one after the other, together, and as lengths."""
    written = Texts()
    words = [f"Straße {number} \ud800" for number in range(count)]
    lanes = np.array([written.lane(word) for word in words], np.int64)
    read = Texts()
    read.restore(written.taken())
    extra = read.lane("extra")
    assert read.many(lanes) == words
    assert [read.text(int(lane)) for lane in lanes[:3]] == words[:3]
    assert read.lengths(lanes).tolist() == [len(word) for word in words]
    assert int(lanes[0]) in read
    assert 12345 not in read
    only = read.only([int(lanes[1]), extra])
    assert (only.text(int(lanes[1])), only.text(extra), len(only)) == (words[1], "extra", 2)
    with pytest.raises(KeyError):
        only.text(int(lanes[0]))
    whole = Texts()
    whole.restore(read.all()[0])
    assert (whole.many(lanes), whole.text(extra)) == (words, "extra")


def test_lengths_count_characters() -> None:
    """Not bytes; what has no text has none."""
    texts = Texts()
    lanes = np.array([[texts.lane("Straße"), NULL], [texts.lane(""), ABSENT]], np.int64)
    assert texts.lengths(lanes).tolist() == [[6, 0], [0, 0]]
