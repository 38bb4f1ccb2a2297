"""What every Analytics promises. The tables are those of eventhouse/tables.kql."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from flockiq.shared.errors import BadRecord, NotFound, QueryError
from flockiq.shared.ports import Analytics, Table
from flockiq.shared.services import Services


def delta(number: int, **more: object) -> dict[str, object]:
    """A row of table Deltas."""
    return {
        "DeltaId": f"d{number}",
        "Tenant": "t",
        "EntityType": "company",
        "EntityId": f"e{number % 3}",
        "Field": "credit_limit",
        "Kind": "changed",
        "RelativeChange": number / 4,
        "SourceTime": "2026-01-02T03:04:05.123456Z",
        **more,
    }


def ndjson(*rows: dict[str, object]) -> bytes:
    """Rows as NDJSON."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


async def seen(analytics: Analytics, kql: str, **parameters: str | float) -> Table:
    """The answer over everything ingested so far."""
    await analytics.flush()
    return await analytics.query(kql, parameters)


async def test_ingested_rows_are_answered_after_a_flush(analytics: Analytics) -> None:
    """Columns by name, rows in the order asked for."""
    await analytics.ingest("Deltas", ndjson(*(delta(n) for n in range(5))))
    table = await seen(analytics, "Deltas | sort by DeltaId desc | project DeltaId, RelativeChange | take 2")
    assert list(table.columns) == ["DeltaId", "RelativeChange"]
    assert [list(row) for row in table.rows] == [["d4", 1.0], ["d3", 0.75]]


async def test_values_come_back_as_json_has_them(analytics: Analytics) -> None:
    """Timestamps as RFC 3339 text in UTC, dynamic values as what they hold."""
    row = {
        "Tenant": "t",
        "EntityType": "company",
        "EntityId": "e1",
        "Version": 9_007_199_254_740_993,
        "UpdatedAt": "2026-01-02T05:04:05+02:00",
        "Deleted": True,
        "Fields": {"name": "Akmé 😀", "limits": [1, 2.5, None], "of": {"x": False}},
        "Provenance": [],
    }
    await analytics.ingest("Entities", ndjson(row))
    table = await seen(
        analytics, "Entities | project Version, UpdatedAt, Deleted, Fields, Provenance, limit=Fields.limits[1]"
    )
    ((version, updated, deleted, fields, provenance, limit),) = table.rows
    assert (version, deleted, fields, provenance, limit) == (
        9_007_199_254_740_993,
        True,
        row["Fields"],
        [],
        2.5,
    )
    assert isinstance(updated, str)
    assert updated.endswith("Z")
    assert datetime.fromisoformat(updated) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_a_column_a_row_lacks_is_empty(analytics: Analytics) -> None:
    """A text is never null: it equals "", as in Kusto."""
    await analytics.ingest("Deltas", ndjson({"DeltaId": "d"}, {"DeltaId": "e", "Old": None, "RelativeChange": None}))
    table = await seen(
        analytics, "Deltas | where Old == '' and Retracts == '' | project RelativeChange, SourceTime, Old"
    )
    assert [list(row) for row in table.rows] == [[None, None, ""], [None, None, ""]]


async def test_a_value_that_is_not_of_its_columns_type_is_null(analytics: Analytics) -> None:
    """And the rest of the row is there, as in Kusto."""
    await analytics.ingest("Deltas", ndjson(delta(1, RelativeChange="much", SourceTime="yesterday", Old=5)))
    table = await seen(analytics, "Deltas | project DeltaId, RelativeChange, SourceTime, Old")
    assert list(table.rows[0]) == ["d1", None, None, "5"]


async def test_ingesting_nothing_changes_nothing(analytics: Analytics) -> None:
    """Empty lines are no rows."""
    await analytics.ingest("Deltas", b"")
    await analytics.ingest("Deltas", b"\n\n" + ndjson(delta(1)) + b"\n  \n")
    assert (await seen(analytics, "Deltas | count")).rows[0][0] == 1


async def test_an_unknown_table_is_not_found(analytics: Analytics) -> None:
    """The error names it."""
    with pytest.raises(NotFound, match="Detlas"):
        await analytics.ingest("Detlas", ndjson(delta(1)))


@pytest.mark.parametrize(
    "line",
    [b"[1]", b"{", b'{"DeltaId": "a"} {"DeltaId": "b"}', b'"x"', b"\xff", b'{"DeltaId": "x"}, {"DeltaId": "y"}'],
)
async def test_a_row_that_is_no_json_object_is_refused(analytics: Analytics, line: bytes) -> None:
    """With its number; none of its batch is kept."""
    with pytest.raises(BadRecord, match="row 2"):
        await analytics.ingest("Deltas", ndjson(delta(1)) + line)
    assert (await seen(analytics, "Deltas | count")).rows[0][0] == 0


async def test_a_row_with_a_column_the_table_lacks_is_refused(analytics: Analytics) -> None:
    """A misspelt column would be lost in silence."""
    with pytest.raises(BadRecord, match="Filed"):
        await analytics.ingest("Deltas", ndjson(delta(1, Filed="x")))


async def test_a_bad_batch_does_not_harm_those_beside_it(analytics: Analytics) -> None:
    """Ingestions at once succeed or fail each for themselves."""
    batches = [ndjson(delta(n)) if n % 5 else b"no" for n in range(20)]
    outcomes = await asyncio.gather(*(analytics.ingest("Deltas", batch) for batch in batches), return_exceptions=True)
    assert [isinstance(outcome, BadRecord) for outcome in outcomes] == [n % 5 == 0 for n in range(20)]
    assert (await seen(analytics, "Deltas | count")).rows[0][0] == 16


async def test_parameters_are_values_and_never_query_text(analytics: Analytics) -> None:
    """Whatever a person typed."""
    hostile = "d1' | where true or '' == '"
    await analytics.ingest("Deltas", ndjson(delta(1), delta(2, DeltaId=hostile)))
    kql = (
        "declare query_parameters(id:string, least:real = 0.0);"
        " Deltas | where DeltaId == id and RelativeChange >= least"
    )
    assert len((await seen(analytics, kql, id="d1")).rows) == 1
    assert len((await seen(analytics, kql, id=hostile)).rows) == 1
    assert len((await seen(analytics, kql, id="'; drop table Deltas; --")).rows) == 0
    assert len((await seen(analytics, kql, id="d1", least=0.5)).rows) == 0


@pytest.mark.parametrize(
    ("kql", "named"),
    [
        ("Detlas | count", "Detlas"),
        ("Deltas | where Filed == 1", "Filed"),
        ("Deltas | where", "where|EOF|1:"),
        ("Deltas | frobnicate", "frobnicate|1:"),
        ("declare query_parameters(id:string); Deltas | where DeltaId == id", "id"),
        (".drop table Deltas", "drop"),
        (".set-or-replace Deltas <| Alerts", "set-or-replace|writes"),
        ("(" * 5000, "nested|1:|parse"),
        ("print " + "1" * 200_000, "limit"),
    ],
)
async def test_a_query_that_can_not_be_run_says_what_is_wrong(analytics: Analytics, kql: str, named: str) -> None:
    """And changes nothing."""
    with pytest.raises(QueryError, match=named):
        await analytics.query(kql)
    await analytics.ingest("Deltas", ndjson(delta(1)))
    assert (await seen(analytics, "Deltas | count")).rows[0][0] == 1


async def test_a_parameter_the_query_does_not_declare_is_refused(analytics: Analytics) -> None:
    """It would be a filter that does nothing."""
    for value, line in (("t", "tenant:string"), (1, "tenant:long"), (1.5, "tenant:real")):
        with pytest.raises(QueryError, match=rf"begin it with: declare query_parameters\({line}\);"):
            await analytics.query("Deltas | count", {"tenant": value})


@pytest.mark.parametrize("kql", ["['/etc/passwd'] | take 1", "externaldata(x:string)['/etc/passwd']", "['x.csv']"])
async def test_a_query_reads_no_files(analytics: Analytics, kql: str) -> None:
    """Only the tables."""
    with pytest.raises(QueryError):
        await analytics.query(kql)


async def test_queries_see_one_another_s_tables_joined(analytics: Analytics) -> None:
    """The usual operators work over the declared tables."""
    await analytics.ingest("Deltas", ndjson(*(delta(n) for n in range(6))))
    await analytics.ingest("Entities", ndjson({"EntityId": "e1", "MatchKey": "DE1", "Version": 1}))
    table = await seen(
        analytics,
        "Deltas | join kind=inner (Entities | summarize arg_max(Version, *) by EntityId) on EntityId"
        " | summarize n=count(), ids=make_list(DeltaId) by MatchKey1 = strcat(MatchKey1, '')",
    )
    (row,) = table.rows
    ids = row[2]
    assert isinstance(ids, list)
    assert (row[0], row[1], sorted(ids)) == ("DE1", 2, ["d1", "d4"])


async def test_queries_at_once_are_each_answered(analytics: Analytics) -> None:
    """While rows come in."""
    answers = await asyncio.gather(
        *(analytics.query(f"print x={n}") for n in range(10)),
        analytics.ingest("Deltas", ndjson(*(delta(n) for n in range(100)))),
    )
    assert [answer.rows[0][0] for answer in answers[:10] if answer] == list(range(10))


async def test_ingested_rows_survive_a_restart(another: Callable[[], Services]) -> None:
    """Closing flushes; opening again finds them."""
    before = another()
    await before.analytics.ingest("Deltas", ndjson(delta(1)))
    await before.close()
    assert (await another().analytics.query("Deltas | count")).rows[0][0] == 1


async def test_rows_are_removed_by_the_texts_they_hold(analytics: Analytics) -> None:
    """A row goes if it has all the values of one of those given; whatever the values, nothing else goes."""
    strange = 'a "b" (c) or 1 == 1 \\ é\n'
    rows = [delta(n, Field=field) for n in range(4) for field in ("name", strange)]
    await analytics.ingest("Deltas", ndjson(*rows))
    await seen(analytics, "Deltas | count")
    like = [{"Tenant": "t", "EntityId": "e1"}, {"DeltaId": "d2", "Field": strange}, {"Tenant": "u", "EntityId": "e0"}]
    assert await analytics.remove("Deltas", like) == 3
    table = await seen(analytics, "Deltas | sort by DeltaId asc, Field asc | project DeltaId, Field")
    assert sorted(map(tuple, table.rows)) == sorted(
        [("d0", "name"), ("d0", strange), ("d2", "name"), ("d3", "name"), ("d3", strange)]
    )
    assert await analytics.remove("Deltas", like) == 0
    with pytest.raises(NotFound):
        await analytics.remove("Deltos", like)
    with pytest.raises(BadRecord):
        await analytics.remove("Deltas", [{"Name": "x"}])
