"""Rows as columns: what DuckDB holds of them is what it holds of the same rows as JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path

import arro3.core as arrow
import numpy as np
import pytest
import zstandard

from flockiq.shared import tabular
from flockiq.shared.errors import BadRecord, NotFound
from flockiq.shared.lanes import NULL
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import Columns, TakesColumns, names, ndjson, packed, unpacked


def entities(ids: list[str], fields: list[str]) -> Columns:
    """Rows of table Entities with some of its columns."""
    n = len(ids)
    made = Columns(n)
    made.texts("EntityId", ids)
    made.text("Tenant", "Ähre")
    made.texts("MatchKey", ["x", 'a "quoted" key'], np.arange(n) % 2)
    made.numbers("Version", np.arange(n) + (1 << 53) + 1)
    made.instants("UpdatedAt", np.array([0, -62_135_596_800_000_000, 253_402_300_799_999_999])[:n])
    made.numbers("Deleted", np.arange(n) % 2 == 1)
    made.instants("SourceTime", np.array([NULL, 1, NULL])[:n])
    made.dynamic("Fields", fields)
    return made


QUERY = (
    "Entities | sort by EntityId asc"
    " | project EntityId, Tenant, MatchKey, Version, UpdatedAt, Deleted, Fields, Sources, EntityType, SourceTime"
)


@pytest.mark.parametrize(
    "fields",
    [
        ['{"a":1.5}', "null", '{"b":[1,null]}'],
        ['{"a":"\\ud83d\\ude00"}', '"text"', "1e400"],  # msgspec and DuckDB read some of it in their own ways
    ],
)
async def test_columns_are_what_the_same_rows_as_json_are(tmp_path: Path, fields: list[str]) -> None:
    """Every type, texts shared by rows, columns left out, the calendar's ends."""
    made = packed([entities(["a", "b"], fields[:2]), entities(["c"], fields[2:])])
    answers = []
    for name in ("columns", "json"):
        services = connect(Settings(data=tmp_path / name))
        assert isinstance(services.analytics, TakesColumns)
        if name == "columns":
            await services.analytics.ingest_columns("Entities", made)
        else:
            await services.analytics.ingest("Entities", ndjson(made))
        answers.append([list(row) for row in (await services.analytics.query(QUERY)).rows])
        await services.close()
    assert answers[0] == answers[1]
    assert [row[0] for row in answers[0]] == ["a", "b", "c"]
    assert [row[9] for row in answers[0]] == [None, "1970-01-01T00:00:00.000001Z", None]
    assert answers[0][1][2:6] == ['a "quoted" key', (1 << 53) + 2, "0001-01-01T00:00:00.000000Z", True]


def test_every_kind_of_column_is_read_as_it_was_given() -> None:
    """By a library's reader: nulls, bits beyond a byte, parts whose shared texts differ, a part without rows."""
    parts = []
    for first, n in ((0, 20), (20, 3), (23, 0)):
        numbers = np.arange(first, first + n)
        part = Columns(n)
        part.texts("Text", [f"ü{one}" if one % 4 else "" for one in numbers.tolist()])
        part.texts("Shared", [f"s{first}", "", "x"], numbers % 3)
        part.text("One", f"é{first}")
        part.dynamic("Dynamic", [f"[{one}]" for one in numbers.tolist()])
        part.instants("Instant", numbers[::-1])
        part.instants("Some", np.where(numbers % 3, numbers, NULL))
        part.numbers("Integer", -numbers)
        part.numbers("Float", np.where(numbers % 5, numbers / 4, np.nan))
        part.numbers("Boolean", numbers % 3 == 1)
        parts.append(part)
    table = unpacked(packed(parts))
    found = {name: table.column(name).to_pylist() for name in table.column_names}
    whole, began = [*range(23)], [0] * 20 + [20] * 3
    assert found["Text"] == [f"ü{one}" if one % 4 else "" for one in whole]
    assert found["Shared"] == [(f"s{first}", "", "x")[one % 3] for one, first in zip(whole, began, strict=True)]
    assert found["One"] == [f"é{first}" for first in began]
    assert found["Dynamic"] == [f"[{one}]" for one in whole]
    assert table.column("Instant").cast(arrow.DataType.int64()).to_pylist() == [*range(19, -1, -1), 22, 21, 20]
    some = table.column("Some").cast(arrow.DataType.int64()).to_pylist()
    assert some == [one if one % 3 else None for one in whole]
    assert found["Integer"] == [-one for one in whole]
    assert found["Float"] == [one / 4 if one % 5 else None for one in whole]
    assert found["Boolean"] == [one % 3 == 1 for one in whole]
    assert (table.schema.field("Dynamic").metadata_str or {})["kql"] == "dynamic"


def test_texts_too_long_for_32_bits_are_told_with_64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The places of texts are as wide as they need to be."""
    monkeypatch.setattr(tabular, "_LONGEST", 5)
    made = Columns(2)
    made.texts("Text", ["abc", "def"])
    made.dynamic("Dynamic", ["123", "456"])
    table = unpacked(packed([made]))
    assert [table.column(name).to_pylist() for name in ("Text", "Dynamic")] == [["abc", "def"], ["123", "456"]]
    assert table.schema.field("Text").type == arrow.DataType.large_utf8()
    assert ndjson(packed([made])) == b'{"Text":"abc","Dynamic":123}\n{"Text":"def","Dynamic":456}'


def test_columns_left_by_an_earlier_version_are_read() -> None:
    """They were kept as they are; now they are compressed once, and moved as they are kept."""
    made = packed([entities(["a", "b"], ["{}", "{}"])])
    earlier = zstandard.ZstdDecompressor().decompress(made)
    assert len(made) < len(earlier)
    assert ndjson(earlier) == ndjson(made)
    assert names(earlier) == names(made) == unpacked(made).column_names


async def test_columns_told_in_other_types_go_in_together(tmp_path: Path) -> None:
    """As they do when two versions of the app tell at once: texts each by itself, and each kept once."""
    services = connect(Settings(data=tmp_path))
    shared, alone = Columns(3), Columns(1)
    shared.texts("EntityId", ["a", "b"], np.array([1, 0, 1]))
    shared.numbers("Version", np.array([1, 2, 3]))
    alone.texts("EntityId", ["c"])
    alone.numbers("Version", np.array([4]))
    given = [services.analytics.ingest_columns("Entities", packed([one])) for one in (shared, alone)]  # type: ignore[attr-defined]  # it takes columns
    await asyncio.gather(*given)
    found = await services.analytics.query("Entities | sort by Version asc | project EntityId")
    assert [row[0] for row in found.rows] == ["b", "a", "b", "c"]
    await services.close()


async def test_columns_that_duckdb_refuses_go_the_way_of_json(tmp_path: Path) -> None:
    """And come out as they would have: a value that DuckDB can't read does not keep the row from it."""
    services = connect(Settings(data=tmp_path))
    made = Columns(1)
    made.texts("DeltaId", ["a"])
    made.texts("RelativeChange", ["much"])  # not of its column's type
    await services.analytics.ingest_columns("Deltas", packed([made]))  # type: ignore[attr-defined]  # it takes columns
    assert (await services.analytics.query("Deltas | project DeltaId, RelativeChange")).rows == [["a", None]]
    await services.close()


async def test_a_column_or_table_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    """By name."""
    services = connect(Settings(data=tmp_path))
    made = Columns(1)
    made.texts("Nope", ["a"])
    with pytest.raises(BadRecord, match="Nope: the table has no such column"):
        await services.analytics.ingest_columns("Deltas", packed([made]))  # type: ignore[attr-defined]  # it takes columns
    with pytest.raises(NotFound, match="Detlas"):
        await services.analytics.ingest_columns("Detlas", packed([made]))  # type: ignore[attr-defined]  # it takes columns
    await services.close()
