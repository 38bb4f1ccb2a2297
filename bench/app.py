"""The app as the local host runs it, telling once in a while how far it is; run as a process of its own.

``python -m flockiq.bench.app DATA``: prints a line of JSON every TICK_S until its input is closed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import msgspec

from flockiq.bench.workload import CONFIG, ROOT
from flockiq.local.host.host import Host
from flockiq.shared.services import close, services

TICK_S = 0.1


class Progress(msgspec.Struct, frozen=True):
    """How far the app is: events its two functions have not handled, CPU seconds it has used, when."""

    changes: int
    resolved: int
    cpu_s: float
    at: float
    failures: int


async def _run(data: Path) -> None:
    host = Host(ROOT, events=lambda: services().events, data=data, port=0)
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.buffer.read)
    try:
        await host.start()
        while not ended.done():
            lag = await host.lag()
            failures = sum(one.failures for one in host.functions.values())
            now = Progress(lag["changes"], lag["resolved"], time.process_time(), time.time(), failures)
            sys.stdout.write(msgspec.json.encode(now).decode() + "\n")
            sys.stdout.flush()
            await asyncio.sleep(TICK_S)
    finally:
        await host.stop()
        await close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.environ |= {"FLOCKIQ_DATA": str(folder), "FLOCKIQ_CONFIG": str(CONFIG)}
    asyncio.run(_run(folder))
