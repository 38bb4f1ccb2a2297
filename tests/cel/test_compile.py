"""What expressions may say, what they give, and how a wrong one is refused."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.compile import CelError, compile_cel
from flockiq.shared.cel.kinds import Kind

SCHEMA = {"n": Kind.INT, "x": Kind.DOUBLE, "s": Kind.STRING, "t": Kind.TIMESTAMP, "p": Kind.BOOL}
ROWS: dict[str, list[Any]] = {
    "n": [1, -7, None],
    "x": [0.5, None, 2.0],
    "s": ["DE 123.456", None, "Ünlü & Söhne"],
    "t": [0, 86_400_000_000, None],
    "p": [True, None, False],
}
DTYPES = {
    Kind.INT: np.int64,
    Kind.DOUBLE: np.float64,
    Kind.STRING: object,
    Kind.TIMESTAMP: np.int64,
    Kind.BOOL: np.bool_,
}


def columns() -> dict[str, Column]:
    """The rows above."""
    made = {}
    for name, values in ROWS.items():
        null = np.array([value is None for value in values])
        filled: npt.NDArray[Any] = np.zeros(len(values), DTYPES[SCHEMA[name]])
        filled[~null] = [value for value in values if value is not None]
        made[name] = Column(filled, null)
    return made


def answer(text: str, expect: Kind = Kind.BOOL) -> list[object]:
    """The value for each of the rows above; None for null."""
    values, null, _ = compile_cel(text, SCHEMA, expect=expect)(columns(), 3)
    assert values.shape == null.shape == (3,)
    return [None if missing else value for value, missing in zip(values.tolist(), null.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits(s)", ["123456", None, ""]),
        ("alnum(s)", ["DE123456", None, "ÜnlüSöhne"]),
        ("s.lower()", ["de 123.456", None, "ünlü & söhne"]),
        ("upper(s)", ["DE 123.456", None, "ÜNLÜ & SÖHNE"]),
        ("trim('  a ' + s)", ["a DE 123.456", None, "a Ünlü & Söhne"]),
        ("has(s) ? s : 'none'", ["DE 123.456", "none", "Ünlü & Söhne"]),
    ],
)
def test_texts_are_changed_once_a_value(text: str, expected: list[object]) -> None:
    """The functions match keys are made of, on every script."""
    assert answer(text, Kind.STRING) == expected


def test_the_size_of_a_text_is_its_characters() -> None:
    """Not its bytes."""
    assert answer("size(s)", Kind.INT) == [10, None, 12]
    assert answer("abs(n)", Kind.INT) == [1, 7, None]
    assert answer("abs(-x)", Kind.DOUBLE) == [0.5, None, 2.0]
    assert answer("double('1.5') + double(s)", Kind.DOUBLE) == [None, None, None]
    assert answer("double('-1.5e1')", Kind.DOUBLE) == [-15.0] * 3


def test_times_are_compared_and_subtracted() -> None:
    """Timestamps with timestamps, differences with durations; a date is its midnight in UTC."""
    assert answer("t > timestamp('1970-01-01T12:00:00Z')") == [False, True, None]
    assert answer("t == timestamp('1970-01-02')") == [False, True, None]
    assert answer("t - timestamp('1970-01-01') >= duration('24h')") == [False, True, None]
    assert answer("t + duration('1d') == duration('1d') + t") == [True, True, None]
    assert answer("t - duration('1d') < t && -duration('1s') < duration('0s')") == [True, True, None]


def test_null_is_never_a_value() -> None:
    """What can't be known is null; only null comparisons and has() ask."""
    assert answer("x == null") == [False, True, False]
    assert answer("null != x && has(n)") == [True, False, False]
    assert answer("x != x") == [False, None, False]
    assert answer("p && x > 0.0") == [True, None, False]
    assert answer("p || n > 0") == [True, None, None]
    assert answer("p ? 1 : null", Kind.INT) == [1, None, None]
    assert answer("n in [1, 2]") == [True, False, None]
    assert answer("1 in [n, 1]") == [True, True, True]
    assert answer("2 in [n, 1]") == [False, False, None]
    assert answer("n in []") == [False, False, None]


def test_what_arithmetic_cannot_say_is_null() -> None:
    """Division by zero, integers beyond 64 bits, doubles without end."""
    for text in (
        "n / 0 == 0", "n % 0 == 0", "x / 0 > 0", "1e308 * 10.0 > 0", "4611686018427387904 * 2 == 0",
        "9223372036854775807 + 1 == 0", "-(-9223372036854775807 - 1) == 0", "abs(-9223372036854775807 - 1) == 0",
    ):  # fmt: skip
        assert answer(text) == [None] * 3, text


def test_numbers_mix_freely() -> None:
    """An integer beside a double is one; between integers division stays whole, as in CEL."""
    assert answer("n * 0.5 + x == 1") == [True, None, None]
    assert answer("n / 2", Kind.INT) == [0, -3, None]
    assert answer("n / 2.0", Kind.DOUBLE) == [0.5, -3.5, None]
    assert answer("true ? 1 : x", Kind.DOUBLE) == [1.0, 1.0, 1.0]


def test_a_constant_is_as_long_as_the_rows() -> None:
    """Whether or not a column is read, there is an answer for each."""
    assert answer("1 < 2") == [True] * 3
    assert compile_cel("1 < 2", {})({}, 0).values.shape == (0,)


def test_the_names_an_expression_reads_are_known() -> None:
    """So that only those columns need to be made."""
    expression = compile_cel("has(s) && (n > 1 || n < 0) && s in ['x']", SCHEMA)
    assert expression.names == {"s", "n"}
    with pytest.raises(KeyError):
        expression({"s": columns()["s"]}, 3)


def test_nulls_may_hold_anything_underneath() -> None:
    """NaN, None and the ends of 64 bits beneath a null never show."""
    null = np.ones(2, np.bool_)
    dirty = {
        "s": Column(np.array([None, None], object), null),
        "n": Column(np.array([-(2**63), 2**63 - 1]), null),
        "x": Column(np.array([np.nan, np.inf]), null),
    }
    for text in (
        "s < 'a' && n * n > 1 || x > 1",
        "lower(s) + s == s",
        "s.contains(s)",
        "s.matches('a')",
        "-n > abs(n)",
    ):
        assert compile_cel(text, SCHEMA)(dirty, 2).null.tolist() == [True, True], text


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("nn > 1", 0, "did you mean n"),
        ("p && nn > 1", 5, "there is no 'nn'"),
        ("s == 1", 0, "quote the number"),
        ("t > '2024-01-31'", 0, "timestamp('2024-01-31')"),
        ("n", 0, "is an int, not a bool"),
        ("null", 0, "is null, not a bool"),
        ("n && p", 0, "&& needs conditions"),
        ("!n", 1, "! needs conditions"),
        ("n > null", 0, "null can only be asked for"),
        ("n in [1, null]", 9, "null is in no list"),
        ("s in 'abc'", 5, "in needs a list"),
        ("[1] == [1]", 0, "only to the right of in"),
        ("lowr(s) == 'a'", 0, "did you mean lower"),
        ("lower(n) == 'a'", 0, "lower does not take int"),
        ("s.startsWith() ", 0, "startsWith does not take string"),
        ("s.matches(s)", 0, "takes a text in quotes"),
        ("s.matches('(')", 10, "'(' is a pattern that does not compile: missing ), at '('"),
        ("s.matches('*')", 10, "does not compile: no argument for repetition operator, at '*'"),
        ("n.matches('a')", 0, "does not go with int"),
        ("t > timestamp('soon')", 14, "'soon' is not a date"),
        ("t - t > duration('5')", 17, "8: '5' is not a duration"),
        ("has(n + 1)", 0, "has asks about one name"),
        ("n ? 1 : 2", 0, "needs a condition before it"),
        ("p ? 1 : 'a'", 0, "does not go with int and string"),
        ("x % 2.0 == 0.0", 0, "% does not go with double"),
        ("-s == s", 0, "- does not go with string"),
        ("p + p", 0, "+ does not go with bool"),
        ("s.part", 0, "no parts to reach into"),
        ("s[0] == 'a'", 0, "no parts to reach into"),
        ("{'a': 1} == 1", 0, "not supported"),
        ("[1, 2].all(i, i > 0)", 0, "only to the right of in"),
        ("b'x' == s", 0, "bytes are not supported"),
        ("p and p", 2, "CEL writes && for and"),
        ("n = 1", 2, "compares with =="),
        ("n === 1", 4, "compares with =="),
        ("n !== 1", 4, "compares with !="),
        ("n <> 1", 3, "CEL writes != for <>"),
        ("not has(s)", 4, "write !has(s)"),
        ("not p", 4, "CEL writes ! for not"),
        ("s not in ['a']", 2, "write !(s in [a, b])"),
        ("s is null", 2, "write s == null"),
        ("s IS NOT NULL", 2, "write s != null"),
        ("s like 'A%'", 2, "write s.startsWith('A')"),
        ("p & p", 2, "CEL writes && for and"),
        ("p | p", 2, "CEL writes || for or"),
        ("n > 1 'x is null'", 6, "docs/rules.md lists"),
        ("s == open", 5, "a text stands in quotes: 'open'"),
        ("open != lower(s)", 0, "a text stands in quotes: 'open'"),
        ("s in [open, 'a']", 6, "a text stands in quotes: 'open'"),
        ("s in ['a'] && s == open", 19, "a text stands in quotes: 'open'"),
        ("n == open", 5, "there is no 'open' here (there are: "),
        ("open == late", 0, "there is no 'open' here (there are: "),
        ("(n > 1", 6, "ends too soon"),
        ("s == 'a", 5, "a text does not end"),
        ("s == '\\q'", 5, "means nothing"),
        ("n > 99999999999999999999", 4, "64 bits"),
        ("x > 1e999", 4, "beyond any double"),
        ("", 0, "ends too soon"),
        ("n > 1; n < 2", 5, "unexpected"),
        ("__import__('os')", 0, "there is no function"),
    ],
)
def test_a_wrong_expression_is_refused_where_it_is_wrong(text: str, position: int, said: str) -> None:
    """With what is allowed, or what was likely meant."""
    with pytest.raises(CelError) as refused:
        compile_cel(text, SCHEMA)
    assert said in str(refused.value)
    assert refused.value.position == position


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100 + "a" + " == b)" * 100,
        "n > 1" + " && n > 1" * 400, "(" * 1500 + "p" + ")" * 1500, "!" * 3000 + "p", "p" + " ? p : p" * 400,
        "'" + "\\n" * 1900, "s.matches('" + "(a*)*" * 300 + "b')", "n" * 5000, "[" * 3999,
    ],
)  # fmt: skip
def test_a_monstrous_expression_is_refused_or_compiled_quickly(text: str) -> None:
    """Depth, length and escapes are bounded; patterns take linear time."""
    begun = time.perf_counter()
    with contextlib.suppress(CelError):
        compile_cel(text, SCHEMA)
    assert time.perf_counter() - begun < 5


words = st.sampled_from([
    *"nxstp()[],+-*/%<!?:.\\'", "1", "2.5", "'a'", "null", "true", "==", "&&", "||", "in", "lower", "has", "size",
    "abs", "matches", "duration", "'1s'", "timestamp",
])  # fmt: skip


@given(st.one_of(st.text(max_size=30), st.lists(words, max_size=12).map(" ".join)), st.sampled_from(list(Kind)))
def test_any_text_is_compiled_or_refused(text: str, expect: Kind) -> None:
    """Nothing but CelError comes out of a text; what compiles has a value or null for every row."""
    try:
        expression = compile_cel(text, SCHEMA, expect=expect)
    except CelError:
        return
    values, null, _ = expression(columns(), 3)
    assert len(values) == len(null) == 3
