"""Texts that are put together into rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.shared.instants import EARLIEST_US, LATEST_US, rfc3339
from flockiq.shared.lanes import ABSENT, LIMIT, NULL, Int64s, value_of
from flockiq.shared.lanes import Texts as NoTexts
from flockiq.shared.pool import BOOLEAN, COMMA, DATE, DECIMAL, EMPTY, INTEGER, MOMENT, Pool, Rows
from flockiq.shared.positions import hash_id

TEXTS = st.one_of(
    st.text(
        alphabet=st.sampled_from(['"', "\\", "\n", "\b", "\x1f", "{", ",", "%", "é", "漢", "𝄞", "a"]), max_size=300
    ),
    st.sampled_from(["", "x" * 100_000, "é" * 50_000]),
)


def texts_of(rows: Rows) -> list[str]:
    """Rows as texts."""
    body, ends = rows.utf8.tobytes(), rows.ends.tolist()
    return [body[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]


def column(values: list[int]) -> Int64s:
    """Lanes."""
    return np.array(values, np.int64)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), TEXTS)
def test_texts_are_put_together_in_rows(pairs: list[tuple[str, str]], between: str) -> None:
    """Whatever is in them, in any order of the rows; and hashed as ids are."""
    pool = Pool()
    left, right = (pool.texts([pair[at] for pair in pairs]) for at in (0, 1))
    backwards = np.arange(len(pairs))[::-1].copy()
    together = texts_of(pool.joined(("", between, ""), [left, right]))
    again = texts_of(pool.joined(("", between, ""), [left, right], backwards))[::-1]
    ids = texts_of(pool.joined(("", ""), [pool.ids(left, right, "part")]))
    assert together == again == [f"{one}{between}{other}" for one, other in pairs]
    assert ids == [hash_id(one, other, "part") for one, other in pairs]


@pytest.mark.parametrize("size", [*range(1, 300), 511, 1023, 1024, 1025, 1088, 1089, 2048, 2049, 100_000])
def test_ids_are_those_of_texts_of_any_length(size: int) -> None:
    """Every way that the hash has for one, and its edges."""
    text = "".join(chr(33 + number * 7 % 90) for number in range(size))
    pool = Pool()
    assert texts_of(pool.joined(("", ""), [pool.ids(pool.texts([text, text[::-1]]))])) == [
        hash_id(text),
        hash_id(text[::-1]),
    ]


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=5))
def test_members_of_an_object_have_commas_between_them(there: list[list[bool]]) -> None:
    """Whichever of them there are, and whatever their texts hold."""
    expected = ["{" + ",".join(f'"{n}":"{{,\\b"' for n, one in enumerate(row) if one) + "}" for row in there]
    pool = Pool()
    members = [pool.text(f'{COMMA}"{number}":"{{,\\b"') for number in range(3)]
    parts = [np.array([number if row[at] else EMPTY for row in there]) for at, number in enumerate(members)]
    assert texts_of(pool.joined(("{", "", "", "}"), parts, members=True)) == expected


_SENTINELS = st.sampled_from([ABSENT, NULL])
_WHOLE = st.integers(1 - LIMIT, LIMIT - 1)


@settings(deadline=None)
@given(
    st.lists(st.one_of(_SENTINELS, _WHOLE, st.sampled_from([0, 9, 10, -10, 99, 100])), max_size=9), st.integers(0, 18)
)
def test_numbers_are_written_out(lanes: list[int], scale: int) -> None:
    """With the point where it belongs, and nothing for what is not there."""
    for kind, name, places in ((DECIMAL, "decimal", scale), (INTEGER, "integer", 0)):
        expected = ["" if lane in (ABSENT, NULL) else str(value_of(name, places, lane, NoTexts())) for lane in lanes]
        pool = Pool()
        said = pool.lanes(kind, scale, column(lanes))
        if lanes:
            assert texts_of(pool.joined(("", ""), [said.plain])) == expected
            assert texts_of(pool.joined(("", ""), [said.quoted])) == [f'"{one}"' for one in expected]


@settings(deadline=None)
@given(
    st.lists(st.one_of(_SENTINELS, st.integers(EARLIEST_US, LATEST_US), st.sampled_from([EARLIEST_US, LATEST_US, -1])))
)
def test_times_dates_and_truths_are_written_out(us: list[int]) -> None:
    """From the first day of the calendar to its last."""
    missing = [one in (ABSENT, NULL) for one in us]
    days = [one if gone else one // 86_400_000_000 for one, gone in zip(us, missing, strict=True)]
    truths = [one if gone else one & 1 for one, gone in zip(us, missing, strict=True)]
    for kind, lanes, say in (
        (MOMENT, us, rfc3339),
        (DATE, days, lambda lane: rfc3339(lane * 86_400_000_000)[:10]),
        (BOOLEAN, truths, lambda lane: "true" if lane else "false"),
    ):
        expected = ["" if gone else say(lane) for lane, gone in zip(lanes, missing, strict=True)]
        pool = Pool()
        if us:
            assert texts_of(pool.joined(("", ""), [pool.lanes(kind, 0, column(lanes)).plain])) == expected


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_floats_are_said_as_json_says_them(values: list[float]) -> None:
    """Of any magnitude; as they are and in quotes."""
    pool = Pool()
    said = pool.floats(values)
    plain, quoted = (texts_of(pool.joined(("", ""), [one])) for one in said)
    assert [float(one) for one in plain] == values
    assert quoted == [f'"{one}"' for one in plain]


@settings(deadline=None)
@given(st.lists(st.one_of(_SENTINELS, st.integers(-(1 << 62), 1 << 62), st.integers(0, 3)), max_size=50))
def test_lanes_are_told_apart(lanes: list[int]) -> None:
    """Each is one of the distinct ones, none of which comes twice."""
    pool = Pool()
    distinct, which = pool.distinct(column(lanes))
    assert distinct[which].tolist() == lanes
    assert len(set(distinct.tolist())) == len(distinct) == len(set(lanes))
