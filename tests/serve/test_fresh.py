"""Shared answers: one piece of work for all who watch."""

from __future__ import annotations

import asyncio

import pytest

from flockiq.serve.fresh import Fresh


class Work:
    """Counts how often it is done; fails while ``broken``."""

    def __init__(self) -> None:
        self.done = 0
        self.broken = False

    async def __call__(self) -> int:
        """The work."""
        self.done += 1
        await asyncio.sleep(0.01)
        if self.broken:
            raise ValueError("broken")
        return self.done


async def test_many_watchers_cause_one_piece_of_work() -> None:
    """All who ask at once share an answer."""
    work = Work()
    fresh = Fresh(work, 60)
    assert await asyncio.gather(*(fresh.get() for _ in range(50))) == [1] * 50
    assert await fresh.get() == 1


async def test_an_answer_grows_old() -> None:
    """After its time it is worked out again."""
    work = Work()
    fresh = Fresh(work, 0)
    assert [await fresh.get(), await fresh.get()] == [1, 2]


async def test_an_error_is_told_and_not_kept() -> None:
    """The next to ask tries again."""
    work = Work()
    fresh = Fresh(work, 60)
    work.broken = True
    with pytest.raises(ValueError, match="broken"):
        await fresh.get()
    work.broken = False
    assert await fresh.get() == 2


async def test_a_watcher_who_leaves_takes_nothing_from_the_others() -> None:
    """Cancelling one request does not cancel the shared work."""
    fresh = Fresh(Work(), 60)
    leaving = asyncio.create_task(fresh.get())
    staying = asyncio.create_task(fresh.get())
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 1
