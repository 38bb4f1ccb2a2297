"""Does a number of steps of one kind that other processes do at the same time.

``contend.py log NAME COUNT`` appends entries to a state log it shares, ``contend.py document KEY
COUNT`` counts a shared document up, ``contend.py lease NAME COUNT`` takes and gives up a lease,
printing the token each time.
"""

from __future__ import annotations

import asyncio
import os
import sys

from flockiq.shared.errors import Conflict, FenceLost
from flockiq.shared.ports import Registry, StateStore
from flockiq.shared.services import connect
from flockiq.shared.settings import read

OWNER = str(os.getpid())


async def append(state: StateStore, log: str, count: int) -> None:
    """Append each entry once, reading what others wrote whenever the fence is lost."""
    version = (await state.read(log)).version
    for number in range(count):
        while True:
            try:
                version = await state.append(log, f"{OWNER}:{number}".encode(), version)
                break
            except FenceLost:
                version = (await state.read(log, version)).version


async def count_up(registry: Registry, key: str, count: int) -> None:
    """Count up once for each step, trying again whenever another was first."""
    for _ in range(count):
        while True:
            found = await registry.get(key)
            try:
                await registry.put(key, str(int(found.value) + 1).encode(), found.etag) if found else None
                break
            except Conflict:
                await asyncio.sleep(0)


async def take(registry: Registry, name: str, count: int) -> None:
    """Hold the lease for each step, and say its token before giving it up."""
    for _ in range(count):
        while (lease := await registry.acquire(name, OWNER, 30.0)) is None:  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(0.001)
        sys.stdout.write(f"{lease.token}\n")
        sys.stdout.flush()
        await registry.release(lease)


async def main() -> None:
    """Do what the arguments say."""
    kind, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    services = connect(read())
    if kind == "log":
        await append(services.state, name, count)
    elif kind == "document":
        await count_up(services.registry, name, count)
    else:
        await take(services.registry, name, count)
    await services.close()


if __name__ == "__main__":
    asyncio.run(main())
