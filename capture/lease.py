"""Work done under a lease that is renewed while it lasts, and dropped the moment the lease is lost."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from flockiq.shared.errors import LeaseLost, TransientError
from flockiq.shared.ports import Lease, Registry

_TRIES: Final = 20  # to take a lease in one lifetime of it, while waiting
_RENEWALS: Final = 3  # in one lifetime, so that one that fails is not the end


async def under_lease[Result](
    registry: Registry, name: str, work: Callable[[], Awaitable[Result]], *, ttl_s: float, wait_s: float = 0.0
) -> Result | None:
    """What ``work`` returns, done while holding ``name``; None if another holds it, even after ``wait_s``.

    LeaseLost: it passed to another, and ``work`` was cancelled at its next wait.
    """
    # Every holder is a new owner: two in one process must not take each other's lease for their own.
    owner = f"{os.getpid()}-{uuid.uuid4().hex}"
    give_up_at = asyncio.get_running_loop().time() + wait_s
    while (lease := await registry.acquire(name, owner, ttl_s)) is None:
        if asyncio.get_running_loop().time() >= give_up_at:
            return None
        await asyncio.sleep(ttl_s / _TRIES)
    working = asyncio.ensure_future(work())
    renewing = asyncio.create_task(_renew(registry, lease, ttl_s))
    try:
        await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        raise LeaseLost(f"lease {name!r} was lost; what it covered stops, the new holder goes on")
    finally:
        for task in (working, renewing):
            task.cancel()
        await asyncio.gather(working, renewing, return_exceptions=True)
        await registry.release(lease)


async def _renew(registry: Registry, lease: Lease, ttl_s: float) -> None:
    """Renew until it fails for good: the lease is another's, or the store is away for a lifetime."""
    loop = asyncio.get_running_loop()
    good_until = loop.time() + ttl_s
    while True:
        await asyncio.sleep(ttl_s / _RENEWALS)
        asked = loop.time()
        try:
            lease = await registry.renew(lease, ttl_s)
        except LeaseLost:
            return
        except TransientError:
            if loop.time() >= good_until:
                return
        else:
            good_until = asked + ttl_s
