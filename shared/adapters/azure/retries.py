"""Trying again, for every Azure adapter: growing waits with jitter, within a time.

The SDKs' own retries are turned off where this is used: they have no jitter, count attempts rather than
time, and don't say what they gave up on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from flockiq.shared.errors import FlockIQError

log = logging.getLogger("flockiq.azure")

FIRST_S = 0.1
LONGEST_S = 8.0
TRY_S = 15.0


class Verdict(NamedTuple):
    """What an SDK's exception means here, and whether another try may mend it."""

    error: FlockIQError
    again: bool
    least_s: float = 0.0  # to wait before that, as the service asks


async def persist[T](
    work: Callable[[], Awaitable[T]],
    judge: Callable[[Exception], Verdict],
    *,
    within_s: float,
    what: str,
    try_s: float = TRY_S,
) -> T:
    """What ``work`` gives, tried again while ``judge`` says so and ``within_s`` lasts.

    A try that takes over ``try_s`` is given up (TimeoutError, for ``judge``): not every wait of the SDKs has an end.
    The error judged last is raised, from the SDK's own. ``what`` names the work in the log.
    """
    deadline = time.monotonic() + within_s
    tries = 0
    while True:
        try:
            async with asyncio.timeout(try_s):
                return await work()
        except FlockIQError:
            raise
        except Exception as error:
            verdict = judge(error)
            tries += 1
            wait_s = verdict.least_s * random.uniform(1.0, 1.25) + delay_s(tries)  # noqa: S311 - spreads load
            if not verdict.again or time.monotonic() + wait_s > deadline:
                raise verdict.error from error
            log.info("%s: try %d in %.1f s: %s", what, tries + 1, wait_s, verdict.error)
        await asyncio.sleep(wait_s)


def delay_s(tries: int) -> float:
    """Seconds to wait after so many tries (from 1): anything up to a limit that doubles."""
    return random.uniform(0.0, min(LONGEST_S, FIRST_S * 2.0 ** min(tries - 1, 30)))  # noqa: S311 - spreads load
