"""Conditions by machine code hold exactly where they hold by columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.pipeline import compiled
from flockiq.shared.cel.compile import compile_cel
from flockiq.shared.cel.kinds import KIND_OF_FIELD, Kind
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Scalar, Texts, lane_of
from flockiq.shared.layout import Baseline, Field, Layout, Tolerance
from flockiq.signal.by_columns import by_columns
from flockiq.signal.by_program import by_program
from flockiq.signal.hits import Hits
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Observed, Seen
from flockiq.signal.watch import Watch
from tests.signal.test_episodes import watch

FIELDS = (
    Field("name", "string"), Field("about", "json"), Field("price", "decimal", 2), Field("count", "integer"),
    Field("share", "float"), Field("open", "boolean"), Field("day", "date"), Field("at", "timestamp"),
)  # fmt: skip
LAYOUT = Layout(
    "thing",
    FIELDS,
    ("crm", "erp"),
    "",
    (("recent",),) * 8,
    ((0, 0),) * 8,
    (Tolerance(2, absolute=1.0), Tolerance(3)),
    (Baseline(3), Baseline(2)),
)
KINDS = {field.name: KIND_OF_FIELD[field.kind] for field in FIELDS} | {"key": Kind.STRING}
CONDITIONS = (
    "name == 'Acme' || about != '[]'", "lower(name).contains('acme') && price > 1.0", "size(name) + count > 5",
    "price >= 1.5", "price / share > 2.0", "-price < abs(share)", "count * 1000000 * count >= 0",
    "count / 2 == count % 2", "count + 1152921504606846975 > count", "share < 0.0", "share == -1.5",
    "double(count) * share <= price", "!open", "open && day > timestamp('2000-01-01')",
    "day < timestamp('1969-12-31')", "at - day > duration('1h')", "(open ? price : share) > 0.5",
    "(open ? count : 7) in [7, 8, 9]", "name in ['Acme', 'x', 'y']", "name in []", "has(price) || has(at)",
    "key == 'k1' && count == 3", "name < 'B'", "open == (count > 3)", "open != (share > 0.0)",
)  # fmt: skip
VALUES: Mapping[str, st.SearchStrategy[Scalar]] = {
    "name": st.sampled_from(["Acme", "acme ag", "x", ""]),
    "about": st.sampled_from(["[]", '{"a":1}']),
    "price": st.decimals(-1000, 1000, places=2).map(lambda value: f"{value:.2f}"),
    "count": st.one_of(st.integers(-9, 9), st.integers(-(2**60) + 1, 2**60 - 1)),
    "share": st.one_of(st.sampled_from([0.0, -1.5, 2.0]), st.floats(allow_nan=False, allow_infinity=False)),
    "open": st.booleans(),
    "day": st.dates().map(str),
    "at": st.datetimes().map(lambda at: at.isoformat() + "+00:00"),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.one_of(st.none(), values) for name, values in VALUES.items()}),
    min_size=1,
    max_size=9,
)


def rule(order: int, kind: Any, when: str, *, kinds: Mapping[str, Kind] = KINDS, fields: Sequence[int] = ()) -> Watch:
    """A rule with a condition."""
    condition = compile_cel(when, kinds)
    names = tuple(sorted(condition.names))
    return watch(kind, name=f"r{order}")._replace(number=order, condition=condition, names=names, fields=tuple(fields))


def seen(rows: Sequence[Mapping[str, Scalar]], texts: Texts, drift: Int64s) -> Seen:
    """Rows that all came at once, each with a delta of every field, from what the row before says."""
    n, fields = len(rows), len(FIELDS)
    golden = np.array(
        [[lane_of(one.kind, one.scale, row[one.name], texts) for one in FIELDS] for row in rows], np.int64
    )
    golden[::3][golden[::3] == NULL] = ABSENT
    told = np.where(golden == ABSENT, NULL, golden)
    return Seen(
        row=np.arange(n),
        previous=np.full(n, -1),
        entity=np.arange(n),
        us=np.arange(n),
        event=np.arange(n),
        key=np.array([texts.lane(f"k{number % 3}") for number in range(n)]),
        golden=golden,
        fresh=np.ones(n, np.bool_),
        drift=drift[np.arange(n) % len(drift)] == 1,
        delta_row=np.repeat(np.arange(n), fields),
        delta_field=np.tile(np.arange(fields), n),
        delta_old=np.roll(told, 1, axis=0).reshape(-1),
        delta_new=told.reshape(-1),
        delta_source=np.arange(n * fields) % 2,
        observed=Observed.none(),
    )


def alike(watches: Sequence[Watch], rows: Seen, texts: Texts, before: Int64s | None = None) -> Hits:
    """What is told by either way to judge rows, which is the same."""
    functions = compiled.ready()
    assert functions is not None, compiled.failure()
    rules = Ruleset(watches, LAYOUT)
    before = np.zeros(len(rows.row), np.int64) if before is None else before
    plain, swift = by_columns(rules, rows, before, texts), by_program(rules, rows, before, texts, functions)
    np.testing.assert_array_equal(plain[0], swift[0])
    for one, other in zip(plain[1], swift[1], strict=True):
        np.testing.assert_array_equal(one, other)
    return swift[1]


@settings(deadline=None)
@given(ROWS, st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4), st.randoms())
def test_states_hold_on_the_same_rows(rows: list[dict[str, Scalar]], drift: list[Any], random: Any) -> None:
    """Over every type, with and without values, for thresholds and drifts, whatever held before and is asked."""
    texts = Texts()
    watches = [rule(order, "threshold", when) for order, when in enumerate(CONDITIONS)]
    watches.append(rule(len(watches), "drift", "price > 0.0 || open", fields=(2, 3)))
    watches.append(watch("drift", name="bare")._replace(number=len(watches), fields=(3,)))
    watches = [one._replace(shown=("count", "key"), for_us=one.number % 2) for one in watches]
    given_rows = seen(rows, texts, np.array(drift, np.int64))
    some = np.array([random.random() < 0.5 for _ in given_rows.delta_row], np.bool_)
    given_rows = given_rows._replace(
        previous=np.array([row - 1 if random.random() < 0.5 else -1 for row in range(len(rows))]),
        entity=np.zeros(len(rows), np.int64),
        fresh=np.array([random.random() < 0.5 for _ in rows], np.bool_),
        delta_row=given_rows.delta_row[some],
        delta_field=given_rows.delta_field[some],
    )
    before = np.array([random.getrandbits(len(watches)) for _ in rows], np.int64)
    alike(watches, _one_after_the_other(given_rows), texts, before)


def _one_after_the_other(rows: Seen) -> Seen:
    """Rows of as many entities as have no predecessor."""
    return rows._replace(entity=np.cumsum(rows.previous < 0) - 1, previous=np.where(rows.row == 0, -1, rows.previous))


@settings(deadline=None)
@given(ROWS)
def test_changes_are_found_on_the_same_deltas(rows: list[dict[str, Scalar]]) -> None:
    """By old and new value, by how much they differ, by who said it, and by the golden record."""
    texts, watches = Texts(), list[Watch]()
    for number, field in enumerate(FIELDS):
        kind = KINDS[field.name]
        kinds = {**KINDS, "old": kind, "new": kind, "field": Kind.STRING, "source": Kind.STRING}
        whens = ["has(old) && new != old", f"source == 'erp' && field == '{field.name}'", "key == 'k2' && count > 1"]
        whens += ["source.startsWith('e')", "field.contains('a') && key.matches('^k[01]')"]
        if kind in (Kind.INT, Kind.DOUBLE):
            kinds["relative_change"] = Kind.DOUBLE
            whens += ["relative_change > 0.5", "new - old > old"]
        if kind is Kind.STRING:
            whens += ["old.endsWith('e') || size(new) > 3"]
        watches += [
            rule(len(watches) + order, "change", when, kinds=kinds, fields=(number,))
            for order, when in enumerate(whens)
        ]
    watches.append(rule(len(watches), "change", "open", fields=(5, 0, 3)))
    alike(watches, seen(rows, texts, np.zeros((1, 2), np.int64)), texts)


@settings(deadline=None)
@given(ROWS, st.lists(st.tuples(st.integers(0, 8), st.sampled_from([2, 3]), st.floats(width=32)), max_size=20))
def test_scores_are_found_unusual_alike(rows: list[dict[str, Scalar]], said: list[tuple[int, int, float]]) -> None:
    """By the score, by what was expected, by the golden record; a number without a score never is."""
    texts = Texts()
    kinds = {**KINDS, **dict.fromkeys(("score", "new", "expected", "low", "high"), Kind.DOUBLE)}
    whens = ("score > 1.0", "new < low || new > high", "expected - new > price", "open", "name.matches('^A')")
    watches = [
        rule(order, "anomaly", when, kinds=kinds, fields=((3, 2), (2,))[order % 2]) for order, when in enumerate(whens)
    ]
    watches.append(watch("anomaly", name="bare")._replace(fields=(2, 3)))
    numbers = [(row, field, number) for row, field, number in sorted(said, key=str) if row < len(rows)]
    row, field = (np.array([one[place] for one in numbers], np.int64) for place in (0, 1))
    number = np.array([one[2] for one in numbers], np.float64)
    order = np.lexsort((-field, row))  # as the baselines stand
    row, field, number = row[order], field[order], number[order]
    with np.errstate(all="ignore"):
        observed = Observed(field, row, number, number / 2, number - 1, number - 2, number + 0.5)
    alike(watches, seen(rows, texts, np.zeros((1, 2), np.int64))._replace(observed=observed), texts)


def test_texts_are_looked_into_alike() -> None:
    """In any case, by the character; also those whose characters change their size or become ASCII with it."""
    texts = Texts()
    said = [
        "",
        "a",
        "TEST gmbh",
        "Größe test",
        "İstanbul",
        "3 \u212a",
        "straße",
        "ﬁn",
        "ΑΣ",
        "x" * 300,
        "tes",
        "\ud800",
    ]
    rows: list[dict[str, Scalar]] = [{**dict.fromkeys(VALUES), "name": name} for name in [*said, None]]
    parts = ("", "test", "k", "i", "SS", "ß", "ä", "FIN", "ς", "xx")
    cases = ("name", "lower(name)", "upper(name)", "lower(upper(name))", "trim(name)")
    whens = [
        f"{case}.{how}('{part}')" for case in cases for how in ("contains", "startsWith", "endsWith") for part in parts
    ]
    whens += [f"size({case}) {than} {size}" for case in cases for size in (0, 1, 5, 9) for than in ("<=", ">")]
    given_rows = seen(rows, texts, np.zeros((1, 2), np.int64))
    for first in range(0, len(whens), 60):
        some = [rule(order, "threshold", when) for order, when in enumerate(whens[first : first + 60])]
        assert len(alike(some, given_rows, texts).row) > len(some)


def test_lower_case_makes_ascii_of_two_characters_alone() -> None:
    """By them, machine code knows the texts that it may compare byte by byte; and none but İ becomes several."""
    beyond = [chr(one) for one in range(0x80, 0x110000)]
    assert [one for one in beyond if any(other.isascii() for other in one.lower())] == ["İ", "\u212a"]
    assert [one for one in beyond if len(one.lower()) > 1] == ["İ"]


@pytest.mark.parametrize("count", [1, 62, 63, 130])
def test_a_field_may_be_watched_by_more_rules_than_a_word_has_bits(count: int) -> None:
    """Of changes there may be any number."""
    texts = Texts()
    rows = [{**dict.fromkeys(VALUES), "count": number} for number in range(count)]
    kinds = {**KINDS, "new": Kind.INT}
    watches = [rule(order, "change", f"new == {order}", kinds=kinds, fields=(3,)) for order in range(count)]
    found = alike(watches, seen(rows, texts, np.zeros((1, 2), np.int64)), texts)
    assert found.row.tolist() == found.order.tolist() == list(range(count))


def test_there_may_be_more_hits_than_rows() -> None:
    """However many rules a row is told by."""
    texts = Texts()
    rows = [{**dict.fromkeys(VALUES), "count": 1}] * 3
    kinds = {**KINDS, "new": Kind.INT}
    watches = [rule(order, "change", "new > 0", kinds=kinds, fields=(3,)) for order in range(100)]
    assert len(alike(watches, seen(rows, texts, np.zeros((1, 2), np.int64)), texts).row) == 300
