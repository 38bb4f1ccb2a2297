"""What machine code calls columns by."""

from __future__ import annotations

import pytest

from flockiq.compare.anomalies import Series
from flockiq.merge.golden import Golden
from flockiq.pipeline import codes
from flockiq.pipeline.history import Marks
from flockiq.pipeline.world import Signs
from flockiq.shared.rows import Rows
from flockiq.shared.structs import Structs


@pytest.mark.parametrize("structs", [Golden, Series, Signs, Marks])
def test_a_column_has_the_number_that_it_stands_at(structs: type[Structs]) -> None:
    """Columns of one type are told apart by nothing else."""
    assert [getattr(codes, name.upper()) for name in structs.names] == list(range(len(structs.names)))


def test_the_words_of_a_groups_marks_are_its_columns() -> None:
    """Machine code reads them as words of a row, without asking where they begin."""
    assert [(member.name, member.at) for member in Marks.empty(1).members] == [
        (name, 8 * number) for number, name in enumerate(Marks.names)
    ]


def test_every_column_of_rows_is_handed_over() -> None:
    """And none that rows don't have."""
    assert codes.RowColumns._fields == Rows.names
