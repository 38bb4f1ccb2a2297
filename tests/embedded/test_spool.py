"""Rows on their way to the DuckDB file: those of this process, and of processes beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from flockiq.local import history
from flockiq.local.history import Taking
from flockiq.shared.adapters.embedded import analytics as analytics_module
from flockiq.shared.adapters.embedded import intake
from flockiq.shared.adapters.embedded import spool as module
from flockiq.shared.adapters.embedded.analytics import DuckdbAnalytics
from flockiq.shared.adapters.embedded.spool import Spool
from flockiq.shared.errors import BadRecord, NotFound, QueryError, StoreUnavailable
from flockiq.shared.services import Services, connect
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import Columns, packed

SPOOL = "analytics.spool"


def rows(*ids: str) -> bytes:
    """Rows of table Deltas as NDJSON."""
    return b"\n".join(msgspec.json.encode({"DeltaId": one, "RelativeChange": 0.5}) for one in ids)


def columns(*ids: str) -> bytes:
    """The same as columns."""
    made = Columns(len(ids))
    made.texts("DeltaId", list(ids))
    return packed([made])


def files(folder: Path) -> list[Path]:
    """What is in the spool's folder."""
    return sorted((folder / SPOOL).iterdir())


def left(folder: Path) -> int:
    """The bytes of what is in it; a file that is taken meanwhile has none."""
    size = 0
    for path in files(folder):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


async def told(services: Services) -> list[str]:
    """The ids of all deltas that DuckDB holds."""
    return [row[0] for row in (await services.analytics.query("Deltas | project DeltaId | sort by DeltaId asc")).rows]


async def test_rows_of_other_processes_are_taken_into_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both forms, while it goes on and when it stops."""
    monkeypatch.setattr(history, "CALM_S", 0.1)
    beside, holder = connect(Settings(data=tmp_path, analytics_spool=True)), connect(Settings(data=tmp_path))
    await beside.analytics.ingest("Deltas", rows("a", "b"))
    taking = Taking()
    taking.start(holder)
    await beside.analytics.flush()
    assert await told(holder) == ["a", "b"]
    await beside.analytics.ingest_columns("Deltas", columns("c"))  # type: ignore[attr-defined]  # it takes columns
    await taking.stop()
    assert files(tmp_path) == []
    assert await told(holder) == ["a", "b", "c"]
    await beside.close()
    await holder.close()


async def test_a_query_sees_what_was_left_before_it(tmp_path: Path) -> None:
    """By whatever process, and though nobody has taken it in yet."""
    beside, holder = connect(Settings(data=tmp_path, analytics_spool=True)), connect(Settings(data=tmp_path))
    for one in "abc":
        await beside.analytics.ingest("Deltas", rows(one))
        await holder.analytics.ingest("Deltas", rows(f"{one}{one}"))
        assert files(tmp_path)
        assert (await told(holder))[-1] == f"{one}{one}"
    assert len(await told(holder)) == 6
    await beside.close()
    await holder.close()


async def test_many_rows_are_taken_without_being_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little waits, no more than a little is left."""
    monkeypatch.setattr(analytics_module, "TAKEN_BYTES", 1_000)
    holder = connect(Settings(data=tmp_path))
    for number in range(20):
        await holder.analytics.ingest_columns("Deltas", columns(str(number)))  # type: ignore[attr-defined]  # it takes columns
    async with asyncio.timeout(30):
        while left(tmp_path) >= 1_000:  # noqa: ASYNC110 - of another thread's work
            await asyncio.sleep(0.01)
    await holder.close()
    assert files(tmp_path) == []


async def test_rows_are_taken_when_no_more_come_when_they_are_old_and_when_there_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While rows come they wait for what comes with them, but not for ever."""
    spool = Spool(tmp_path / SPOOL)
    holder = DuckdbAnalytics(tmp_path / "analytics.duckdb", tmp_path)
    assert not holder.due(0.0, 0.0)
    await spool.leave("Deltas", rows("a"), columns=False)
    await asyncio.sleep(0.05)
    await spool.leave("Deltas", rows("b"), columns=False)
    old_s = time.time() - spool.waiting()[0].left_s
    assert not holder.due(60.0, old_s + 60)
    assert holder.due(0.0, 60.0)
    assert holder.due(60.0, old_s)
    monkeypatch.setattr(analytics_module, "TAKEN_BYTES", 10)
    assert holder.due(60.0, 60.0)
    await spool.close()
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


@pytest.mark.parametrize("at_a_time", [1, 1_000_000])
async def test_rows_are_not_doubled_by_a_death_between_taking_and_removing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    """DuckDB knows which files it has; the next process removes them."""
    monkeypatch.setattr(intake, "TAKEN_BYTES", at_a_time)
    beside = connect(Settings(data=tmp_path, analytics_spool=True))
    for one in "abc":
        await beside.analytics.ingest("Deltas", rows(one))
    await beside.close()

    def dies(_spool: Spool, names: Sequence[str]) -> None:
        if names:
            raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "forget", dies)
        dying = connect(Settings(data=tmp_path))
        with pytest.raises(StoreUnavailable, match="killed"):
            await dying.analytics.flush()
        await dying.close()
    assert len(files(tmp_path)) == 3
    holder = connect(Settings(data=tmp_path))
    assert await told(holder) == ["a", "b", "c"]
    assert files(tmp_path) == []
    await holder.close()


async def test_what_waits_together_is_one_file(tmp_path: Path) -> None:
    """A batch's rows of several tables are brought to disk together."""
    spool = Spool(tmp_path / SPOOL)
    await asyncio.gather(*(spool.leave(table, rows("a"), columns=False) for table in ("Deltas",) * 40))
    assert 1 <= len(files(tmp_path)) <= 20
    await spool.close()


async def test_a_damaged_file_does_not_hold_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is set aside and told of; what was left half written is no file."""
    spool = Spool(tmp_path / SPOOL)
    for one in "abc":
        await spool.leave("Deltas", rows(one), columns=False)
    await spool.close()
    damaged = files(tmp_path)[1]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    half = tmp_path / SPOOL / "00000000000000000001-1-0.half"
    half.write_bytes(b"half")
    holder = connect(Settings(data=tmp_path))
    with caplog.at_level(logging.ERROR):
        assert await told(holder) == ["a", "c"]
    assert "rows are lost to the history" in caplog.text
    assert files(tmp_path) == [half, damaged.with_suffix(".damaged")]
    await holder.close()
    for path in files(tmp_path):
        os.utime(path, (0, 0))
    holder = connect(Settings(data=tmp_path))
    await told(holder)
    assert files(tmp_path) == []
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


async def test_a_query_answers_from_what_is_there_while_rows_can_not_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A flush says so; the rows come when they can."""
    holder = connect(Settings(data=tmp_path))
    assert isinstance(holder.analytics, DuckdbAnalytics)
    await holder.analytics.ingest("Deltas", rows("a"))
    assert await told(holder) == ["a"]
    await holder.analytics.ingest("Deltas", rows("b"))

    def full(_spool: Spool, _name: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Spool, "read", full)
        assert await told(holder) == ["a"]
        assert "rows wait to be taken into the history" in caplog.text
        with pytest.raises(StoreUnavailable, match="No space left"):
            await holder.analytics.flush()
    assert await told(holder) == ["a", "b"]
    await holder.close()


async def test_whoever_tells_more_than_the_history_takes_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder does not grow for ever: what is folded waits too, and is to come again if nobody takes anything."""
    monkeypatch.setattr(module, "MOST_BYTES", 50_000)
    monkeypatch.setattr(module, "LEAVE_S", 0.1)
    spool = Spool(tmp_path / SPOOL)
    await spool.leave("Deltas", bytes(100_000), columns=True)
    with pytest.raises(StoreUnavailable, match="wait for the history"):
        await spool.leave("Deltas", rows("b"), columns=False)
    monkeypatch.setattr(module, "LEAVE_S", 10.0)
    waiting = asyncio.create_task(spool.leave("Deltas", rows("b"), columns=False))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    spool.forget([one.name for one in spool.waiting()])
    await waiting
    assert len(spool.waiting()) == 1
    await spool.close()
