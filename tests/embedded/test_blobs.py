"""The folder of blobs beyond its port."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flockiq.shared.adapters.embedded.blobs import STALE_S, FolderBlobs
from flockiq.shared.errors import BadRecord, StoreUnavailable
from flockiq.shared.paths import RESERVED

type Keep = Callable[[Any], FolderBlobs]


async def test_what_a_crash_left_half_written_is_never_listed_and_goes_away(tmp_path: Path, closing: Keep) -> None:
    """But not what another process may be writing now."""
    incoming = tmp_path / "blobs" / RESERVED
    incoming.mkdir(parents=True)
    for name, age_s in {"left": STALE_S + 60, "now": 1.0}.items():
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age_s,) * 2)
    blobs = closing(FolderBlobs(tmp_path / "blobs"))
    await blobs.put("a", b"x")
    assert await blobs.list("") == ["a"]
    assert [path.name for path in incoming.iterdir()] == ["now"]


async def test_a_write_leaves_no_other_file(tmp_path: Path, closing: Keep) -> None:
    """Whether it succeeds or not."""
    blobs = closing(FolderBlobs(tmp_path / "blobs"))
    await blobs.put("a", b"x")
    with pytest.raises(BadRecord):
        await blobs.put("a/b", b"x")
    assert list((tmp_path / "blobs" / RESERVED).iterdir()) == []


async def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path: Path, closing: Keep) -> None:
    """Either way round, whole or create_only."""
    blobs = closing(FolderBlobs(tmp_path / "blobs"))
    await blobs.put("a", b"x")
    await blobs.put("b/c", b"x")
    for path in ("a/d", "b"):
        for create_only in (False, True):
            with pytest.raises(BadRecord, match="same name"):
                await blobs.put(path, b"x", create_only=create_only)
    assert await blobs.list("") == ["a", "b/c"]


async def test_the_folder_of_incoming_files_is_no_path(tmp_path: Path, closing: Keep) -> None:
    """Nothing can be put where it would be swept away."""
    with pytest.raises(BadRecord):
        await closing(FolderBlobs(tmp_path / "blobs")).put(f"{RESERVED}/a", b"x")


async def test_a_folder_that_can_not_be_made_is_unavailable(tmp_path: Path, closing: Keep) -> None:
    """The error names it."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="file"):
        await closing(FolderBlobs(tmp_path / "file" / "blobs")).put("a", b"x")
