"""Measurements run in processes of their own: nothing of one is left in memory for the next."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def fresh[**P, Result](work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """What ``work`` returns, called in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()


def together[Result](work: Callable[..., Result], calls: Sequence[tuple[object, ...]]) -> list[Result]:
    """What ``work`` returns for each of several calls, made at the same time in a new process each."""
    with ProcessPoolExecutor(len(calls), mp_context=multiprocessing.get_context("spawn")) as pool:
        return [job.result() for job in [pool.submit(work, *call) for call in calls]]


def wait_until(moment: float) -> None:
    """Sleep until ``time.time()`` is ``moment``, so that several processes begin at once."""
    time.sleep(max(0.0, moment - time.time()))


def resident_bytes() -> int:
    """The memory this process holds now, without what it has mapped from files: the code of libraries."""
    status = Path("/proc/self/status").read_text().splitlines()
    (said,) = (line.split() for line in status if line.startswith("RssAnon:"))
    return int(said[1]) * 1024
