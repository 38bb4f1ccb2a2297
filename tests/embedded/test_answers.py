"""DuckDB's values as the Eventhouse answers them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import duckdb
import pytest

from flockiq.shared.adapters.embedded.answers import Kind, plain, rows


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(0), "00:00:00"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=500_000), "1.02:03:04.5000000"),
        (-timedelta(minutes=90), "-01:30:00"),
        (-timedelta(days=2, microseconds=1), "-2.00:00:00.0000010"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05.000000Z"),  # noqa: DTZ001 - DuckDB's timestamps have no zone
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00.000000Z"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00.000000Z"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (True, True),
        (None, None),
        ([timedelta(0)], ["00:00:00"]),
        ({"a": float("nan")}, {"a": "NaN"}),
    ],
)
def test_a_value_is_written_as_kusto_writes_it(value: object, expected: object) -> None:
    """Scalars, and those inside lists and bags."""
    assert plain(value) == expected


def test_json_is_parsed_wherever_it_stands() -> None:
    """As a column and as a list's items; a text that looks like JSON stays a text."""
    with duckdb.connect() as connection:
        answer = connection.execute(
            """
            SELECT '{"a": [1, null]}'::JSON, ['1'::JSON, '"x"'::JSON], '{"a": 1}', NULL::JSON, 'null'::JSON,
                [now()::TIMESTAMP][2:]
            """
        )
        kinds = [Kind.of(kind) for _, kind, *_ in answer.description or []]
        (found,) = rows(kinds, answer.fetchall())
    assert found == [{"a": [1, None]}, [1, "x"], '{"a": 1}', None, None, []]
