"""The DuckDB file beyond its port: declarations, functions, limits, crashes, one process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flockiq.shared.adapters.embedded import analytics as module
from flockiq.shared.adapters.embedded import insertion, intake
from flockiq.shared.adapters.embedded.analytics import DuckdbAnalytics
from flockiq.shared.adapters.embedded.connect import EVENTHOUSE
from flockiq.shared.errors import ConfigError, QueryError

ROOT = Path(__file__).resolve().parents[2]
type Keep = Callable[[Any], DuckdbAnalytics]

TABLES = (
    '.create-merge table Orders (Id:string, Amount:real, At:datetime, Took:timespan) with (docstring = "Orders.")\n'
)
ORDERS = b'{"Id": "a", "Amount": 1.5, "At": "2026-01-01T00:00:00Z", "Took": "01:30:00"}\n{"Id": "b", "Amount": 2}\n'

SLOW = (
    "range a from 1 to 300000 step 1 | extend k=1 | join kind=inner (range b from 1 to 300000 step 1 | extend k=1)"
    " on k | where a * b == 77 and a > b | count"
)


@pytest.fixture
def eventhouse(tmp_path: Path) -> Path:
    """A folder that declares one table."""
    (tmp_path / "eventhouse" / "functions" / "embedded").mkdir(parents=True)
    (tmp_path / "eventhouse" / "tables.kql").write_text(TABLES)
    return tmp_path / "eventhouse"


def writer(folder: Path) -> subprocess.Popen[str]:
    """A process that ingests for ever."""
    return subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, str(Path(__file__).parent / "processes" / "ingest.py")],
        env={**os.environ, "FLOCKIQ_DATA": str(folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_every_type_of_a_declared_column_comes_back(tmp_path: Path, eventhouse: Path, closing: Keep) -> None:
    """Timespans as KQL writes them."""
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse))
    await analytics.ingest("Orders", ORDERS)
    table = await analytics.query("Orders | sort by Id asc")
    assert table.columns == ["Id", "Amount", "At", "Took"]
    assert table.rows == [["a", 1.5, "2026-01-01T00:00:00.000000Z", "01:30:00"], ["b", 2.0, None, None]]


async def test_a_column_added_to_the_declaration_is_added_on_opening(
    tmp_path: Path, eventhouse: Path, closing: Keep
) -> None:
    """Rows from before lack it."""
    before = DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse)
    await before.ingest("Orders", ORDERS)
    await before.close()
    (eventhouse / "tables.kql").write_text(TABLES.replace("Took:timespan", "Took:timespan, Lines:dynamic, N:long"))
    after = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse))
    await after.ingest("Orders", b'{"Id": "c", "Lines": [{"sku": "x"}], "N": 3}')
    table = await after.query("Orders | sort by Id asc | project Id, sku=tostring(Lines[0].sku), N")
    assert table.rows == [["a", "", None], ["b", "", None], ["c", "x", 3]]


async def test_stored_functions_can_be_called_and_call_one_another(
    tmp_path: Path, eventhouse: Path, closing: Keep
) -> None:
    """With parameters, defaults, comments and a docstring."""
    (eventhouse / "functions" / "orders.kql").write_text(
        "// What large orders are.\n"
        '.create-or-alter function with (docstring = "Large ones") LargeOrders(least:real = 2.0) {\n'
        "    Orders | where Amount >= least // and no less\n}\n"
    )
    (eventhouse / "functions" / "total.kql").write_text(
        ".create-or-alter function Total() {\n    LargeOrders(1.0)\n    | summarize Total = sum(Amount)\n}\n"
    )
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse))
    await analytics.ingest("Orders", ORDERS)
    assert (await analytics.query("LargeOrders() | project Id")).rows == [["b"]]
    assert (await analytics.query("Total() | extend x = 1")).rows == [[3.5, 1]]


async def test_a_twin_stands_in_for_a_function_that_duckdb_can_not_run(
    tmp_path: Path, eventhouse: Path, closing: Keep
) -> None:
    """The query stays the same."""
    (eventhouse / "functions" / "f.kql").write_text(
        ".create-or-alter function Series() { Orders | make-series n=count() default=0 on At step 1d }"
    )
    (eventhouse / "functions" / "embedded" / "f.kql").write_text(
        ".create-or-alter function Series() { Orders | summarize n=count() by bin(At, 1d) }"
    )
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse))
    await analytics.ingest("Orders", ORDERS)
    assert len((await analytics.query("Series()")).rows) == 2


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("tables.kql", ".create-merge table T (A:string,\n B:strnig)", r"tables\.kql:1: T: 'B:strnig'"),
        ("functions/f.kql", ".create-or-alter function F( { Orders }", r"f\.kql"),
        ("functions/f.kql", "Orders | count", r"f\.kql"),
    ],
)
async def test_a_declaration_that_is_wrong_refuses_to_open(
    tmp_path: Path, eventhouse: Path, closing: Keep, file: str, text: str, named: str
) -> None:
    """The error names the file."""
    (eventhouse / file).write_text(text)
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse))
    with pytest.raises(ConfigError, match=named):
        await analytics.query("print 1")
    with pytest.raises(ConfigError, match=named):
        await analytics.ingest("Orders", ORDERS)


async def test_a_query_that_takes_too_long_is_stopped(tmp_path: Path, eventhouse: Path, closing: Keep) -> None:
    """And the next one is answered."""
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse, timeout_s=0.5))
    begun = time.perf_counter()
    with pytest.raises(QueryError, match=r"0\.5 s"):
        await analytics.query(SLOW)
    assert time.perf_counter() - begun < 10
    assert (await analytics.query("print x=1")).rows == [[1]]


async def test_a_query_behind_slow_ones_is_stopped_in_its_turn(tmp_path: Path, eventhouse: Path, closing: Keep) -> None:
    """None of them runs on, and what comes after is answered."""
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse, timeout_s=0.5))
    outcomes = await asyncio.gather(*(analytics.query(SLOW) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [QueryError] * 5
    assert (await analytics.query("print x=1")).rows == [[1]]


async def test_a_query_nobody_waits_for_any_more_is_stopped(tmp_path: Path, eventhouse: Path, closing: Keep) -> None:
    """As when a person closes the page."""
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse, timeout_s=60.0))
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(analytics.query(SLOW), 0.5)
    assert (await asyncio.wait_for(analytics.query("print x=1"), 20)).rows == [[1]]


async def test_an_answer_that_is_too_long_is_refused(
    tmp_path: Path, eventhouse: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than cut in silence."""
    monkeypatch.setattr(module, "MAX_ROWS", 100)
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse))
    assert len((await analytics.query("range x from 1 to 100 step 1")).rows) == 100
    with pytest.raises(QueryError, match="100 rows"):
        await analytics.query("range x from 1 to 101 step 1")


async def test_a_batch_longer_than_a_statement_is_ingested_whole(
    tmp_path: Path, eventhouse: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces, in one transaction."""
    monkeypatch.setattr(insertion, "GROUP_ROWS", 7)
    monkeypatch.setattr(intake, "STATEMENT_BYTES", 100)
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse))
    await asyncio.gather(
        *(analytics.ingest("Orders", b"".join(b'{"Id": "%d"}\n' % (n + at) for n in range(50))) for at in (0, 50, 100))
    )
    assert (await analytics.query("Orders | summarize count(), dcount(Id)")).rows == [[150, 150]]


async def test_the_same_query_is_translated_once(tmp_path: Path, eventhouse: Path, closing: Keep) -> None:
    """Whatever its parameters; each asking is answered with its own."""
    analytics = closing(DuckdbAnalytics(tmp_path / "a.duckdb", eventhouse))
    kql = "declare query_parameters(n:long = 7); print n * 2"
    assert (await analytics.query(kql, {"n": 1})).rows == [[2]]
    assert (await analytics.query(kql, {"n": 2})).rows == [[4]]
    assert (await analytics.query(kql)).rows == [[14]]
    assert analytics._translate.cache_info().misses == 1  # type: ignore[attr-defined]


async def test_acknowledged_rows_survive_kill_9_and_a_second_process_is_refused(tmp_path: Path, closing: Keep) -> None:
    """Each is there once. The refusal names the file and the way out."""
    for wanted in (3, 40):
        with writer(tmp_path) as child:
            if child.stdout is None:
                raise AssertionError("no pipe")
            acknowledged = [child.stdout.readline() for _ in range(wanted)]
            second = closing(DuckdbAnalytics(tmp_path / "analytics.duckdb", EVENTHOUSE))
            with pytest.raises(ConfigError, match=r"analytics\.duckdb.*another process.*HTTP"):
                await second.query("print 1")
            child.kill()
            acknowledged += child.stdout.readlines()
        last = int(acknowledged[-1])
        ((rows, newest),) = (await second.query("Runs | summarize count(), max(Run)")).rows
        assert rows == newest
        assert isinstance(newest, int)
        assert last <= newest <= last + 1
        await second.close()
