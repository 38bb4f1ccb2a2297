"""What the clock's rules are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from flockiq.shared.config.model import Rule
from flockiq.shared.errors import QueryError
from flockiq.signal.periodic import rows_holding
from tests.signal.clockwork import write_config


@pytest.fixture
def rule(tmp_path: Path) -> Rule:
    """A rule that tells rows apart by two columns, of which its query gives one."""
    return write_config(tmp_path).rules["lacking"]


def test_rows_are_told_apart_by_the_whole_key(rule: Rule) -> None:
    """No value can pass for parts of two; of rows with one key, the first counts."""
    rows = [["a/b", "c", 1], ["a", "b/c", 2], ["a%2Fb", "c", 3], ["a/b", "c", 4], [None, 5, 6]]
    found = rows_holding(rule, ["key", "colour", "n"], rows, 9)
    assert [one.values["n"] for one in found] == [1, 2, 3, 6]
    assert len({one.subject for one in found}) == 4


def test_a_query_without_a_key_column_is_refused_though_it_gives_no_row(rule: Rule) -> None:
    """The mistake shows at the first run, not at the first finding."""
    with pytest.raises(QueryError, match="no column colour"):
        rows_holding(rule, ["key"], [], 9)


def test_values_that_are_no_scalars_are_shown_as_text(rule: Rule) -> None:
    """A list in a column does not break the alert."""
    (one,) = rows_holding(rule, ["key", "colour", "tags"], [["k", "red", ["x", 1]]], 9)
    assert one.values == {"key": "k", "colour": "red", "tags": "['x', 1]"}
