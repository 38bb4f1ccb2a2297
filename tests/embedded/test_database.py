"""The sqlite file under four of the ports."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flockiq.shared.adapters.embedded.database import (
    GROUP,
    LARGE_PAGE_BYTES,
    LOG_BYTES,
    LOOK_S,
    PAGE_BYTES,
    Database,
    prefix_range,
)
from flockiq.shared.errors import ConfigError, HubUnavailable, StateCorrupt, StoreUnavailable

SCHEMA = "CREATE TABLE numbers (n INTEGER PRIMARY KEY)"
type Keep = Callable[[Any], Any]


def insert(number: int) -> Callable[[sqlite3.Connection], int]:
    """A write of one number."""

    def write(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        return number

    return write


def numbers(connection: sqlite3.Connection) -> list[int]:
    """A read of all numbers."""
    return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


async def test_more_writes_than_a_group_holds_are_all_done(tmp_path: Path, closing: Keep) -> None:
    """Each caller gets its own result."""
    database = closing(Database(tmp_path / "a.db", SCHEMA))
    wanted = list(range(GROUP * 2 + 3))
    assert await asyncio.gather(*(database.write(insert(n)) for n in wanted)) == wanted
    assert await database.read(numbers) == wanted


async def test_writes_that_wait_together_share_a_transaction(tmp_path: Path, closing: Keep) -> None:
    """One sync serves all: a hundred writes are far fewer transactions."""
    database = closing(Database(tmp_path / "a.db", SCHEMA))
    statements: list[str] = []
    await database.write(lambda connection: connection.set_trace_callback(statements.append))
    statements.clear()
    await asyncio.gather(*(database.write(insert(n)) for n in range(100)))
    assert 1 <= statements.count("COMMIT") <= 20
    await database.write(lambda connection: connection.set_trace_callback(None))


async def test_what_an_operation_raises_is_its_caller_s_and_is_undone(tmp_path: Path, closing: Keep) -> None:
    """Those beside it are committed."""
    database = closing(Database(tmp_path / "a.db", SCHEMA))

    def fail(connection: sqlite3.Connection) -> None:
        insert(99)(connection)
        raise ValueError("no")

    outcomes = await asyncio.gather(
        database.write(insert(1)), database.write(fail), database.write(insert(2)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [int, ValueError, int]
    assert await database.read(numbers) == [1, 2]


async def test_a_write_that_was_cancelled_before_its_turn_is_never_run(tmp_path: Path, closing: Keep) -> None:
    """And the one behind it is."""
    database = closing(Database(tmp_path / "a.db", SCHEMA))
    writes = [asyncio.ensure_future(database.write(insert(n))) for n in (1, 2)]
    writes[0].cancel()
    assert await writes[1] == 2
    assert await database.read(numbers) == [2]


async def test_a_file_keeps_the_pages_it_was_made_with(tmp_path: Path, closing: Keep) -> None:
    """One of an earlier version is read on as it is; either way the log is brought into the file at one size."""

    def sizes(connection: sqlite3.Connection) -> list[int]:
        return [int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_size", "wal_autocheckpoint")]

    for name, made in (("a.db", LARGE_PAGE_BYTES), ("b.db", PAGE_BYTES)):
        for asked in (made, LARGE_PAGE_BYTES):
            database = closing(Database(tmp_path / name, SCHEMA, page_bytes=asked))
            page_bytes, pages = await database.write(sizes)
            assert page_bytes == made
            assert page_bytes * pages == LOG_BYTES
            await database.close()


async def test_a_write_waits_for_another_process_and_looks_often_whether_it_is_done(
    tmp_path: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is free for moments only where many write: who looks rarely is overtaken again and again."""
    database = closing(Database(tmp_path / "a.db", SCHEMA))
    await database.write(insert(1))
    other = sqlite3.connect(tmp_path / "a.db", autocommit=True, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 20:
            other.execute("INSERT INTO numbers VALUES (2)")
            other.execute("COMMIT")

    monkeypatch.setattr("flockiq.shared.adapters.embedded.database.time.sleep", pause)
    await database.write(insert(3))
    other.close()
    assert len(pauses) == 20
    assert max(pauses) <= LOOK_S[1]
    assert await database.read(numbers) == [1, 2, 3]


async def test_a_write_that_never_gets_its_turn_is_unavailable(
    tmp_path: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that holds the file for too long is told, and nothing is written."""
    database = closing(Database(tmp_path / "a.db", SCHEMA))
    await database.write(insert(1))
    monkeypatch.setattr("flockiq.shared.adapters.embedded.database.BUSY_S", 0.05)
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", autocommit=True)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await database.write(insert(2))
        other.execute("ROLLBACK")
    assert await database.read(numbers) == [1]


async def test_the_file_is_kept_as_acknowledged_writes_need(tmp_path: Path, closing: Keep) -> None:
    """Write-ahead log, and a sync for every commit."""
    database = closing(Database(tmp_path / "a.db", SCHEMA))

    def ask(connection: sqlite3.Connection) -> tuple[str, int]:
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        return journal, synchronous

    full = 2
    assert await database.write(ask) == ("wal", full)


async def test_a_file_of_another_version_is_refused(tmp_path: Path, closing: Keep) -> None:
    """It is not read as something it isn't."""
    await closing(Database(tmp_path / "a.db", SCHEMA)).write(insert(1))
    newer = closing(Database(tmp_path / "a.db", SCHEMA, version=2))
    with pytest.raises(ConfigError, match="version 1"):
        await newer.read(numbers)


async def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path, closing: Keep) -> None:
    """The error names the file."""
    (tmp_path / "a.db").write_bytes(b"this is no database" * 1000)
    database = closing(Database(tmp_path / "a.db", SCHEMA))
    with pytest.raises(StateCorrupt, match=r"a\.db"):
        await database.read(numbers)
    with pytest.raises(StateCorrupt, match=r"a\.db"):
        await database.write(insert(1))


async def test_a_file_that_can_not_be_made_is_unavailable(tmp_path: Path, closing: Keep) -> None:
    """As the kind of error its port promises, for reads and writes."""
    (tmp_path / "file").write_bytes(b"")
    database = closing(Database(tmp_path / "file" / "a.db", SCHEMA, unavailable=HubUnavailable))
    with pytest.raises(HubUnavailable, match="file"):
        await database.write(insert(1))
    with pytest.raises(HubUnavailable, match="file"):
        await database.read(numbers)


async def test_a_failed_opening_is_tried_again(tmp_path: Path, closing: Keep) -> None:
    """Once the cause is gone, the same object works."""
    blocked = tmp_path / "folder"
    blocked.write_bytes(b"")
    database = closing(Database(blocked / "a.db", SCHEMA))
    with pytest.raises(StoreUnavailable):
        await database.write(insert(1))
    blocked.unlink()
    assert await database.write(insert(1)) == 1


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """Rather than opening the file again behind the caller's back."""
    database = Database(tmp_path / "a.db", SCHEMA)
    await database.write(insert(1))
    await database.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await database.write(insert(2))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.data())
def test_a_prefix_s_range_holds_what_begins_with_it_and_nothing_else(prefix: str, data: st.DataObject) -> None:
    """In sqlite's own order of texts."""
    some = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
    texts = {prefix, *(prefix + more for more in data.draw(st.lists(some))), *data.draw(st.lists(some))}
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE texts (t TEXT)")
        connection.executemany("INSERT INTO texts VALUES (?)", [(text,) for text in texts])
        found = connection.execute("SELECT t FROM texts WHERE t >= ? AND t < ?", prefix_range(prefix)).fetchall()
    connection.close()
    assert {text for (text,) in found} == {text for text in texts if text.startswith(prefix)}
