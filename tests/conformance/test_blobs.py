"""What every Blobs promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flockiq.shared.errors import BadRecord, Conflict, NotFound
from flockiq.shared.ports import Blobs
from flockiq.shared.services import Services


async def test_a_blob_is_read_as_it_was_written(blobs: Blobs) -> None:
    """Any bytes, none, and many."""
    for path, body in {"a": bytes(range(256)), "deep/er/ü b.json": b"", "big": b"x" * 5_000_000}.items():
        await blobs.put(path, body)
        assert await blobs.get(path) == body


async def test_a_second_write_replaces_the_first_whole(blobs: Blobs) -> None:
    """A shorter one leaves nothing of a longer."""
    await blobs.put("a/b", b"long" * 1000)
    await blobs.put("a/b", b"short")
    assert await blobs.get("a/b") == b"short"


async def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    """Nor is a folder a blob."""
    await blobs.put("a/b", b"x")
    for path in ("nope", "a", "a/c", "a/b/c"):
        with pytest.raises(NotFound, match=path):
            await blobs.get(path)


async def test_create_only_conflicts_when_it_exists(blobs: Blobs) -> None:
    """And leaves what is there."""
    await blobs.put("a", b"first", create_only=True)
    with pytest.raises(Conflict, match="a"):
        await blobs.put("a", b"second", create_only=True)
    assert await blobs.get("a") == b"first"


async def test_of_many_that_create_one_succeeds(another: Callable[[], Services]) -> None:
    """And its bytes are what is read, whole."""
    writers = [another().blobs for _ in range(4)]
    for round_ in range(5):
        outcomes = await asyncio.gather(
            *(writer.put(f"race/{round_}", bytes([n]) * 100_000, create_only=True) for n, writer in enumerate(writers)),
            return_exceptions=True,
        )
        (winner,) = [n for n, outcome in enumerate(outcomes) if outcome is None]
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
        assert await writers[0].get(f"race/{round_}") == bytes([winner]) * 100_000


async def test_a_reader_never_sees_half_a_write(another: Callable[[], Services]) -> None:
    """Old or new, never a mixture."""
    writer, reader = another().blobs, another().blobs
    await writer.put("a", b"0" * 200_000)

    async def write() -> None:
        for n in range(1, 20):
            await writer.put("a", str(n % 10).encode() * 200_000)

    writing = asyncio.create_task(write())
    while not writing.done():
        body = await reader.get("a")
        assert len(body) == 200_000
        assert len(set(body)) == 1
    await writing


async def test_deleting_is_harmless_when_there_is_nothing(blobs: Blobs) -> None:
    """Once, twice, and never written."""
    await blobs.put("a/b", b"x")
    await blobs.delete("a/b")
    await blobs.delete("a/b")
    await blobs.delete("a/b/c")
    await blobs.delete("never")
    with pytest.raises(NotFound):
        await blobs.get("a/b")
    assert await blobs.list("") == []


async def test_paths_are_listed_sorted_as_texts(blobs: Blobs) -> None:
    """A folder's place is that of its paths: ``a-b`` comes before ``a/b``."""
    paths = ["a-b", "a/b", "a/b-c/d", "a/b.c", "a0", "b/ü", "b/z", "B"]
    for path in paths:
        await blobs.put(path, b"x")
    assert await blobs.list("") == sorted(paths)


async def test_a_prefix_need_not_end_at_a_slash(blobs: Blobs) -> None:
    """It is the beginning of a text."""
    for path in ("raw/2026-01-01/a", "raw/2026-01-02/b", "raw/2025-12-31/c", "row"):
        await blobs.put(path, b"x")
    assert await blobs.list("raw/2026-01") == ["raw/2026-01-01/a", "raw/2026-01-02/b"]
    assert await blobs.list("raw/2026-01-01/a") == ["raw/2026-01-01/a"]
    assert await blobs.list("raw/2026-01-01/ab") == []
    assert await blobs.list("nothing/") == []


async def test_a_list_is_paged_by_the_last_path(blobs: Blobs) -> None:
    """Pages of any size hold every path once."""
    paths = sorted(f"{folder}/{n}{end}" for folder in ("a", "a-", "b/c") for n in range(5) for end in ("", "-", "0"))
    for path in paths:
        await blobs.put(path, b"x")
    for limit in (1, 4, 1000):
        seen: list[str] = []
        while page := await blobs.list("", after=seen[-1] if seen else "", limit=limit):
            assert len(page) <= limit
            seen += page
        assert seen == paths
    assert await blobs.list("a/", after="a/3", limit=2) == ["a/3-", "a/30"]
    assert await blobs.list("a/", after="zzz") == []


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../secret", "a/../../secret", "a//b", "a/", "./a", "a\\..\\b", "a\x00b", "a\nb", "x" * 1025],
)
async def test_a_path_that_could_lead_elsewhere_is_refused(blobs: Blobs, path: str) -> None:
    """By every call that takes one."""
    with pytest.raises(BadRecord):
        await blobs.put(path, b"x")
    with pytest.raises(BadRecord):
        await blobs.get(path)
    with pytest.raises(BadRecord):
        await blobs.delete(path)


async def test_blobs_survive_a_restart(another: Callable[[], Services]) -> None:
    """What was written is there, and nothing beside it."""
    before = another()
    await before.blobs.put("a/b", b"x")
    await before.close()
    after = another().blobs
    assert await after.list("") == ["a/b"]
    assert await after.get("a/b") == b"x"
