"""Rows told by processes beside the one that holds the DuckDB file."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from flockiq.local.history import Taking
from flockiq.shared.adapters.embedded import spool as module
from flockiq.shared.adapters.embedded.connect import SPOOL
from flockiq.shared.adapters.embedded.spool import Spool
from flockiq.shared.errors import BadRecord, NotFound, QueryError, StoreUnavailable
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import Columns, packed


def rows(*ids: str) -> bytes:
    """Rows of table Deltas as NDJSON."""
    return b"\n".join(msgspec.json.encode({"DeltaId": one, "RelativeChange": 0.5}) for one in ids)


def columns(*ids: str) -> bytes:
    """The same as columns."""
    made = Columns(len(ids))
    made.texts("DeltaId", list(ids))
    return packed([made])


async def told(services: Services) -> list[str]:
    """The ids of all deltas that DuckDB holds."""
    return [row[0] for row in (await services.analytics.query("Deltas | project DeltaId | sort by DeltaId asc")).rows]


async def test_rows_of_other_processes_are_taken_into_the_history(tmp_path: Path) -> None:
    """In both forms, while it goes on and when it stops."""
    beside, holder = connect(Settings(data=tmp_path, analytics_spool=True)), connect(Settings(data=tmp_path))
    await beside.analytics.ingest("Deltas", rows("a", "b"))
    taking = Taking()
    taking.start(holder)
    await beside.analytics.flush()
    assert await told(holder) == ["a", "b"]
    await beside.analytics.ingest_columns("Deltas", columns("c"))  # type: ignore[attr-defined]  # it takes columns
    await taking.stop()
    assert await told(holder) == ["a", "b", "c"]
    await beside.close()
    await holder.close()


async def test_rows_left_by_a_process_that_died_are_taken_by_the_next(tmp_path: Path) -> None:
    """They are on disk when ``ingest`` returns."""
    spool = Spool(tmp_path / SPOOL)
    await spool.leave("Deltas", rows("a"), columns=False)
    await spool.close()
    holder, taking = connect(Settings(data=tmp_path)), Taking()
    taking.start(holder)
    await taking.stop()
    assert await told(holder) == ["a"]
    await holder.close()


async def test_what_is_no_row_is_refused_where_it_is_told(tmp_path: Path) -> None:
    """As the process that holds DuckDB would refuse it."""
    beside = connect(Settings(data=tmp_path, analytics_spool=True))
    with pytest.raises(NotFound, match="Detlas"):
        await beside.analytics.ingest("Detlas", rows("a"))
    with pytest.raises(BadRecord, match="row 2"):
        await beside.analytics.ingest("Deltas", rows("a") + b"\n[]")
    with pytest.raises(QueryError, match="ask the one that does"):
        await beside.analytics.query("Deltas | count")
    await beside.close()


async def test_a_flush_says_when_nobody_takes_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of waiting for ever."""
    monkeypatch.setattr(module, "FLUSH_S", 0.1)
    beside = connect(Settings(data=tmp_path, analytics_spool=True))
    await beside.analytics.flush()
    await beside.analytics.ingest("Deltas", rows("a"))
    with pytest.raises(StoreUnavailable, match="holds DuckDB"):
        await beside.analytics.flush()
    await beside.close()


async def test_rows_that_the_history_refuses_do_not_hold_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are told of in the log."""
    spool = Spool(tmp_path / SPOOL)
    await spool.leave("Nothing", rows("a"), columns=False)
    await spool.leave("Deltas", rows("b"), columns=False)
    await spool.close()
    holder, taking = connect(Settings(data=tmp_path)), Taking()
    with caplog.at_level(logging.ERROR):
        taking.start(holder)
        await taking.stop()
    assert await told(holder) == ["b"]
    assert "rows of table Nothing are refused" in caplog.text
    await holder.close()


async def test_whoever_tells_more_than_the_history_takes_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file does not grow for ever: what is folded waits too, and is to come again if nobody takes anything."""
    monkeypatch.setattr(module, "MOST_BYTES", 50_000)
    monkeypatch.setattr(module, "LEAVE_S", 0.1)
    spool = Spool(tmp_path / SPOOL)
    first = await spool.leave("Deltas", bytes(100_000), columns=True)
    with pytest.raises(StoreUnavailable, match="wait for the history"):
        await spool.leave("Deltas", rows("b"), columns=False)
    monkeypatch.setattr(module, "LEAVE_S", 10.0)
    waiting = asyncio.create_task(spool.leave("Deltas", rows("b"), columns=False))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await spool.forget(first)
    assert await waiting == first + 1
    await spool.close()
