"""Places at a source: no more of its streams are read at a time than limits.concurrency, over all instances."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from flockiq.capture.lease import under_lease
from flockiq.shared.config.sources import Source
from flockiq.shared.services import Services

_ROUND_S: Final = 0.25  # between two rounds of asking for a place


def spare(source: Source) -> range:
    """The places at which slices of a backfill are read: never all, so that polls go on meanwhile.

    A source with more places than streams keeps one for each stream; another leaves one to the polls, if it has two.
    """
    places, streams = source.limits.concurrency, len(source.streams)
    return range(streams, places) if streams < places else range(max(places - 1, 1))


async def seated[Result](
    services: Services,
    source: Source,
    work: Callable[[], Awaitable[Result]],
    *,
    wait_s: float,
    among: range | None = None,
) -> Result | None:
    """What ``work`` returns, done in one of the source's places; None if none is free for ``wait_s``.

    A source with more places than streams needs no asking for a poll: the lease of a stream admits one reader,
    and other work keeps to the places that are ``spare``.
    """
    if among is None:
        if len(source.streams) < source.limits.concurrency:
            return await work()
        among = range(source.limits.concurrency)
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + wait_s
    done: list[Result] = []

    async def kept() -> bool:
        done.append(await work())
        return True

    while True:
        for place in random.sample(among, len(among)):  # spreads instances over the places
            name = f"seat/{services.settings.tenant}/{source.source}/{place}"
            if await under_lease(services.registry, name, kept, ttl_s=services.settings.lease_s):
                return done[0]
        if loop.time() >= give_up_at:
            return None
        await asyncio.sleep(_ROUND_S * (0.5 + random.random()))  # noqa: S311 - spreads load, keeps no secret
