"""Conditions by machine code hold exactly where they hold by columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.pipeline import compiled
from flockiq.shared.cel.compile import compile_cel
from flockiq.shared.cel.kinds import KIND_OF_FIELD, Kind
from flockiq.shared.lanes import ABSENT, NULL, Int64s, Scalar, Texts, lane_of
from flockiq.shared.layout import Field, Layout, Tolerance
from flockiq.signal.by_columns import ByColumns
from flockiq.signal.by_program import ByProgram
from flockiq.signal.columns import Columns, DeltaColumns
from flockiq.signal.ruleset import Ruleset
from flockiq.signal.seen import Seen
from flockiq.signal.watch import Watch
from tests.signal.test_episodes import watch

FIELDS = (
    Field("name", "string"), Field("about", "json"), Field("price", "decimal", 2), Field("count", "integer"),
    Field("share", "float"), Field("open", "boolean"), Field("day", "date"), Field("at", "timestamp"),
)  # fmt: skip
LAYOUT = Layout(
    "thing", FIELDS, ("crm", "erp"), "", (("recent",),) * 8, ((0, 0),) * 8, (Tolerance(2, absolute=1.0), Tolerance(3))
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
        observed=(),
    )


def both(rules: Ruleset, rows: Seen, texts: Texts) -> tuple[ByColumns, ByProgram, DeltaColumns]:
    """The two ways to judge rows."""
    functions = compiled.ready()
    assert functions is not None, compiled.failure()
    columns = Columns(LAYOUT, rows.golden, rows.key, texts)
    deltas = DeltaColumns(LAYOUT, rows, columns, texts)
    return ByColumns(rules, rows, columns), ByProgram(rules, rows, columns, functions), deltas


@settings(deadline=None)
@given(ROWS, st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4), st.randoms())
def test_states_hold_on_the_same_rows(rows: list[dict[str, Scalar]], drift: list[Any], random: Any) -> None:
    """Over every type, with and without values, for thresholds and drifts, on those rows that they are asked of."""
    texts = Texts()
    watches = [rule(order, "threshold", when) for order, when in enumerate(CONDITIONS)]
    watches.append(rule(len(watches), "drift", "price > 0.0 || open", fields=(2, 3)))
    watches.append(watch("drift", name="bare")._replace(number=len(watches), fields=(3,)))
    rules = Ruleset(watches, LAYOUT)
    plain, swift, _ = both(rules, given_rows := seen(rows, texts, np.array(drift, np.int64)), texts)
    news = [[word for word in rules.reads.tolist() if random.random() < 0.5] for _ in given_rows.row]
    asked = np.array([reduce(or_, words, int(rules.always)) for words in news], np.int64)
    np.testing.assert_array_equal(plain.held(asked) & asked, swift.held(asked) & asked)


@settings(deadline=None)
@given(ROWS)
def test_changes_are_found_on_the_same_deltas(rows: list[dict[str, Scalar]]) -> None:
    """By old and new value, by how much they differ, by who said it, and by the golden record."""
    texts, watches = Texts(), list[Watch]()
    for number, field in enumerate(FIELDS):
        kind = KINDS[field.name]
        kinds = {**KINDS, "old": kind, "new": kind, "field": Kind.STRING, "source": Kind.STRING}
        whens = ["has(old) && new != old", f"source == 'erp' && field == '{field.name}'", "key == 'k2' && count > 1"]
        if kind in (Kind.INT, Kind.DOUBLE):
            kinds["relative_change"] = Kind.DOUBLE
            whens += ["relative_change > 0.5", "new - old > old"]
        watches += [
            rule(len(watches) + order, "change", when, kinds=kinds, fields=(number,))
            for order, when in enumerate(whens)
        ]
    given_rows = seen(rows, texts, np.zeros((1, 2), np.int64))
    plain, swift, deltas = both(Ruleset(watches, LAYOUT), given_rows, texts)
    for order, one in enumerate(watches):
        found = deltas.of(one.fields[0])
        if found is None:
            assert not rows
            continue
        np.testing.assert_array_equal(plain.changed(order, found), swift.changed(order, found))


@pytest.mark.parametrize("count", [1, 62, 63, 130])
def test_a_field_may_be_watched_by_more_rules_than_a_word_has_bits(count: int) -> None:
    """Of changes there may be any number."""
    texts = Texts()
    rows = [{**dict.fromkeys(VALUES), "count": number} for number in range(count)]
    kinds = {**KINDS, "new": Kind.INT}
    watches = [rule(order, "change", f"new == {order}", kinds=kinds, fields=(3,)) for order in range(count)]
    given_rows = seen(rows, texts, np.zeros((1, 2), np.int64))
    _, swift, deltas = both(Ruleset(watches, LAYOUT), given_rows, texts)
    found = deltas.of(3)
    assert found is not None
    assert [swift.changed(order, found).tolist() for order in range(count)] == [[order] for order in range(count)]
