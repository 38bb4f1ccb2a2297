"""What was removed from the embedded adapters' files leaves no byte there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from flockiq.shared.adapters.embedded.analytics import DuckdbAnalytics
from flockiq.shared.adapters.embedded.connect import EVENTHOUSE
from flockiq.shared.ports import StateVersion
from flockiq.shared.scrubs import Scrubs
from flockiq.shared.services import connect
from flockiq.shared.settings import Settings
from flockiq.shared.tabular import Columns, packed

MARK = "Zyxwvut-42-marker"


def holding(folder: Path) -> Sequence[str]:
    """The files that hold the mark."""
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size and MARK.encode() in path.read_bytes()
    )


async def test_sqlite_files_hold_nothing_of_what_was_removed(tmp_path: Path) -> None:
    """Neither in free pages nor in the write-ahead log, while another connection has the file open."""
    services, other = connect(Settings(data=tmp_path)), connect(Settings(data=tmp_path))
    await services.registry.put("a", MARK.encode() * 500, None)
    version = await services.state.append("log", MARK.encode() * 500, StateVersion(0, 0))
    assert await other.registry.get("a") is not None
    assert await other.state.logs() == ["log"]
    assert holding(tmp_path)
    await services.registry.delete("a")
    await services.state.roll("log", b"nothing", version)
    for port in (services.registry, services.state):
        assert isinstance(port, Scrubs)
        await port.scrub()
    assert holding(tmp_path) == []
    assert (await other.state.read("log")).snapshot == b"nothing"
    await services.close()
    await other.close()


async def test_the_history_is_written_anew_and_goes_on(tmp_path: Path) -> None:
    """Rows that stayed are there, queries and rows after it work, and nothing of the others is."""
    analytics = DuckdbAnalytics(tmp_path / "a.duckdb", EVENTHOUSE)
    for who in (MARK, "stays"):
        rows = [msgspec.json.encode({"EventId": f"{who}-{n}", "Key": who}) for n in range(300)]
        await analytics.ingest("Changes", b"\n".join(rows))
    assert await analytics.remove("Changes", [{"Key": MARK}]) == 300
    await analytics.scrub()
    await analytics.ingest("Changes", b'{"EventId": "later", "Key": "stays"}')
    table = await analytics.query("Changes | summarize count() by Key")
    assert [list(row) for row in table.rows] == [["stays", 301]]
    await analytics.close()
    assert holding(tmp_path) == []


@pytest.mark.parametrize("columns", [False, True])
async def test_rows_that_wait_for_the_history_are_scrubbed_too(tmp_path: Path, columns: bool) -> None:  # noqa: FBT001 - a parameter
    """Those that were left by another process, and were not asked for yet."""
    beside = connect(Settings(data=tmp_path, analytics_spool=True)).analytics
    if columns:
        made = Columns(40)
        made.texts("Key", [MARK] * 40)
        await beside.ingest_columns("Changes", packed([made]))  # type: ignore[attr-defined]  # it takes columns
    else:
        await beside.ingest("Changes", b"\n".join([msgspec.json.encode({"Key": MARK})] * 40))
    await beside.close()
    analytics = connect(Settings(data=tmp_path)).analytics
    assert await analytics.remove("Changes", [{"Key": MARK}]) == 40
    assert isinstance(analytics, Scrubs)
    await analytics.scrub()
    assert list((tmp_path / "analytics.spool").iterdir()) == []
    assert holding(tmp_path) == []
    await analytics.close()
