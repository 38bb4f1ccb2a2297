"""Survivorship against the same rules in plain Python, one field of one entity at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flockiq.merge.golden import Golden, fold
from flockiq.shared.lanes import ABSENT, NULL, Texts, lane_of
from flockiq.shared.layout import Field, Layout, Survival
from flockiq.shared.rows import Rows

SOURCES = ("crm", "erp", "web")
RULES: tuple[Survival, ...] = ("rank", "recent", "complete", "longest", "highest", "lowest", "frequent")
WORDS = ("Acme", "Acme Ltd", "ACME", "Borg")


Position = tuple[int, int, int]


class Said(NamedTuple):
    """What a source says, as numbers by field (ABSENT, NULL or a small number), and where."""

    values: tuple[int, ...]
    position: Position


Record = Sequence[Said]  # by source


class Chosen(NamedTuple):
    """The golden record of one entity: value, source and rule by field."""

    value: list[int]
    source: list[int]
    rule: list[int]


def choose(record: Record, cascades: Sequence[tuple[Survival, ...]], ranks: Sequence[tuple[int, ...]]) -> Chosen:
    """The engine's choice for one entity; odd fields are texts, even ones are integers."""
    texts = Texts()
    fields = tuple(Field(f"f{number}", "string" if number % 2 else "integer") for number in range(len(cascades)))
    layout = Layout("thing", fields, SOURCES, "", tuple(cascades), tuple(ranks))
    golden = Golden.empty(layout, 1)
    for source, said in enumerate(record):
        lanes = [
            value if value in (ABSENT, NULL) else lane_of(field.kind, 0, plain(number, value), texts)
            for number, (field, value) in enumerate(zip(fields, said.values, strict=True))
        ]
        us, rr, tie = said.position
        numbers = {"source": source, "us": us, "rr": rr, "event": tie}
        columns = {name: np.array([numbers.get(name, 0)], np.int64) for name in Rows.names}
        fold(golden, layout, Rows(**columns | {"value": np.array([lanes], np.int64)}), texts)
    return Chosen(golden.golden[0].tolist(), golden.winner[0].tolist(), golden.rule[0].tolist())


def plain(field: int, value: int) -> str | int:
    """A small number as the value it stands for."""
    return WORDS[value % len(WORDS)] if field % 2 else value


def score(rule: Survival, source: int, field: int, record: Record, ranks: tuple[int, ...], left: set[int]) -> object:
    """How well a candidate does on a rule: the greater the better."""
    value = record[source].values[field]
    match rule:
        case "rank":
            return -ranks[source]
        case "recent":
            return record[source].position
        case "complete":
            return sum(one not in (ABSENT, NULL) for one in record[source].values)
        case "longest":
            return len(str(plain(field, value))) if field % 2 and value != NULL else 0
        case "highest":
            return value
        case "lowest":
            return -value
        case "frequent":
            return sum(same(field, record[other].values[field], value) for other in left)


def same(field: int, one: int, other: int) -> bool:
    """Whether two candidates say the same."""
    return one == other or (NULL not in (one, other) and plain(field, one) == plain(field, other))


def reference(
    field: int, record: Record, cascade: tuple[Survival, ...], ranks: tuple[int, ...]
) -> tuple[int | None, int]:
    """(winning source or None, index of the rule that decided)."""
    left = {source for source in range(len(SOURCES)) if record[source].values[field] not in (ABSENT, NULL)}
    left = left or {source for source in range(len(SOURCES)) if record[source].values[field] == NULL}
    if not left:
        return None, -1
    if len(left) == 1:
        return left.pop(), 0
    decided = len(cascade)
    for number, rule in enumerate(cascade):
        best = max(score(rule, source, field, record, ranks, left) for source in left)  # type: ignore[type-var]
        left = {source for source in left if score(rule, source, field, record, ranks, left) == best}
        if len(left) == 1:
            decided = number
            break
    best_rank = min(ranks[source] for source in left)
    return min(source for source in left if ranks[source] == best_rank), decided


def numeric(field: int, rules: Sequence[Survival]) -> tuple[Survival, ...]:
    """A cascade that config allows for the field: texts are neither highest nor lowest."""
    kept = tuple(rule for rule in rules if not (field % 2 and rule in ("highest", "lowest")))
    return kept or ("rank",)


values = st.sampled_from([ABSENT, NULL, -1, 0, 1, 2])
said = st.builds(Said, st.tuples(*[values] * 4), st.tuples(st.integers(1, 3), st.integers(0, 1), st.integers(0, 1)))
cascade = st.lists(st.sampled_from(RULES), min_size=1, max_size=3)
rank = st.tuples(*[st.integers(0, 2)] * 3)


@settings(max_examples=200, deadline=None)
@given(record=st.tuples(said, said, said), rules=st.tuples(*[cascade] * 4), ranks=st.tuples(*[rank] * 4))
def test_every_cascade_chooses_as_the_plain_rules_do(
    record: Record, rules: Sequence[list[Survival]], ranks: Sequence[tuple[int, ...]]
) -> None:
    """Value, source and the rule that decided, for four fields with cascades of their own."""
    cascades = [numeric(field, one) for field, one in enumerate(rules)]
    chosen = choose(record, cascades, ranks)
    for field in range(4):
        source, rule = reference(field, record, cascades[field], ranks[field])
        assert chosen.source[field] == (-1 if source is None else source)
        assert chosen.rule[field] == rule
        if source is None:
            assert chosen.value[field] == ABSENT
        elif field % 2 == 0:
            assert chosen.value[field] == record[source].values[field]


def one(
    values: Sequence[int], cascade: tuple[Survival, ...], places: Sequence[Position] = ((1, 0, 0), (2, 0, 0), (3, 0, 0))
) -> tuple[int, int]:
    """(winning source, rule that decided) for one integer field; ranks put erp first, then crm and web."""
    record = [Said((value,), at) for value, at in zip(values, places, strict=True)]
    chosen = choose(record, [cascade], [(1, 0, 2)])
    return chosen.source[0], chosen.rule[0]


@pytest.mark.parametrize(
    ("rule", "values", "winner"),
    [
        ("rank", (5, 6, 7), 1),
        ("recent", (5, 6, 7), 2),
        ("highest", (7, 6, 5), 0),
        ("lowest", (7, 6, 5), 2),
        ("frequent", (5, 6, 5), 0),
    ],
)
def test_each_rule_has_its_winner(rule: Survival, values: tuple[int, ...], winner: int) -> None:
    """Of three values; a rule that leaves a tie leaves it to the ranks."""
    assert one(values, (rule,))[0] == winner


def test_an_empty_value_loses_to_any_other() -> None:
    """The best-ranked, most recent null is no candidate while another source has a value."""
    assert one((NULL, NULL, 7), ("rank", "recent")) == (2, 0)
    assert one((ABSENT, NULL, ABSENT), ("rank",)) == (1, 0)
    assert one((ABSENT, ABSENT, ABSENT), ("rank",)) == (-1, -1)


def test_a_tie_goes_to_the_next_rule_and_at_last_to_the_best_rank() -> None:
    """The rule that decided is told by its place in the cascade; beyond the last, none did."""
    assert one((5, 5, 5), ("highest", "recent")) == (2, 1)
    assert one((5, 5, 5), ("highest", "frequent")) == (1, 2)
    assert one((5, 5, 5), ("recent",), [(2, 0, 0), (1, 9, 9), (2, 0, 0)]) == (0, 1)


def test_recency_is_the_whole_position() -> None:
    """Equal times are decided by run and row, and then by content."""
    assert one((5, 6, 7), ("recent",), [(2, 1, 0), (2, 0, 9), (1, 9, 9)]) == (0, 0)
    assert one((5, 6, 7), ("recent",), [(2, 1, 0), (2, 1, 9), (2, 0, 9)]) == (1, 0)


def test_completeness_counts_the_whole_record() -> None:
    """The source with the most fields filled wins a field of which it has a value."""
    record = [Said((5, NULL, NULL), (1, 0, 0)), Said((6, 3, NULL), (1, 0, 0)), Said((NULL, 3, 3), (1, 0, 0))]
    assert choose(record, [("complete",)] * 3, [(0, 1, 2)] * 3).source == [1, 1, 2]
