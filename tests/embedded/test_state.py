"""Damage to a state log is found when it is read, and said; nothing damaged is given to a fold."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flockiq.shared.adapters.embedded import state as module
from flockiq.shared.adapters.embedded.state import SqliteState
from flockiq.shared.errors import BadRecord, StateCorrupt
from flockiq.shared.ports import StateVersion

type Keep = Callable[[Any], SqliteState]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET body = x'00' WHERE place = 1",
        "UPDATE entries SET body = substr(body, 1, 2) WHERE place = 2",
        "DELETE FROM entries WHERE place = 1",
        "DELETE FROM entries WHERE place = 2",
        "UPDATE entries SET place = place + 10",
        "UPDATE entries SET (body, checksum) = (SELECT body, checksum FROM entries WHERE place = 0) WHERE place = 1",
        "UPDATE logs SET snapshot = x'00'",
        "UPDATE logs SET generation = generation + 1",
        "UPDATE logs SET length = length + 1",
    ],
)
async def test_a_damaged_log_is_said_and_never_read(tmp_path: Path, closing: Keep, damage: str) -> None:
    """Flipped, torn, missing and misplaced entries, and a damaged snapshot."""
    state = closing(SqliteState(tmp_path / "logs.db"))
    version = await state.roll("log", b"snapshot", StateVersion(0, 0))
    for body in (b"one", b"two", b"three"):
        version = await state.append("log", body, version)
    with sqlite3.connect(tmp_path / "logs.db") as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(StateCorrupt, match=r"'log'.*replay"):
        await state.read("log")


async def test_an_entry_over_the_limit_is_refused_with_its_size(
    tmp_path: Path, closing: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is a snapshot."""
    state = closing(SqliteState(tmp_path / "logs.db"))
    monkeypatch.setattr(module, "MAX_ENTRY_BYTES", 1_000)
    monkeypatch.setattr(module, "MAX_SNAPSHOT_BYTES", 2_000)
    with pytest.raises(BadRecord, match="1,001"):
        await state.append("log", b"x" * 1_001, StateVersion(0, 0))
    with pytest.raises(BadRecord, match="2,001"):
        await state.roll("log", b"x" * 2_001, StateVersion(0, 0))
    await state.append("log", b"x" * 1_000, StateVersion(0, 0))


async def test_a_version_the_log_never_reached_reads_all(tmp_path: Path, closing: Keep) -> None:
    """As after a restore from a backup: the reader must start over."""
    state = closing(SqliteState(tmp_path / "logs.db"))
    version = await state.append("log", b"one", StateVersion(0, 0))
    for ahead in (StateVersion(0, 5), StateVersion(3, 0)):
        assert await state.read("log", ahead) == (version, b"", [b"one"])
    assert await state.read("gone", StateVersion(2, 7)) == (StateVersion(0, 0), b"", [])
