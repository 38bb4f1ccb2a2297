"""The app as the local host runs it, telling once in a while how far it is; run as a process of its own.

``python -m flockiq.bench.app DATA WORKERS``: with so many worker processes (1: none); prints a line of
JSON every TICK_S until its input is closed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import msgspec

from flockiq.bench.workload import CONFIG, ROOT
from flockiq.local.history import OF_WORKERS, Taking
from flockiq.local.host.host import Host
from flockiq.local.host.workers import SETTING
from flockiq.shared.adapters.embedded.connect import HISTORY
from flockiq.shared.adapters.embedded.spool import SPOOL, Spool
from flockiq.shared.services import close, services

TICK_S = 0.1


class Progress(msgspec.Struct, frozen=True):
    """How far the app is: events not handled by its two functions, rows not in the history, CPU seconds, when."""

    changes: int
    resolved: int
    spooled: int
    cpu_s: float
    asked: float
    at: float
    failures: int


def _cpu_s(pid: int) -> float:
    """The CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stamped(folder: Path) -> Path:
    """The app's folder for the host: the app's own settings, and its functions, stamped."""
    folder.mkdir()
    for name in ("host.json", "local.settings.example.json"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "bench" / "stamped_app.py", folder / "function_app.py")
    return folder


def _read_to_end() -> None:
    """Wait until the input is closed; without Python's buffer, which must not be in use when the process ends."""
    while os.read(sys.stdin.fileno(), 1):
        pass


async def _run(data: Path) -> None:
    host = Host(_stamped(data / "app"), events=lambda: services().events, data=data, port=0, workers=OF_WORKERS)
    history, spool = Taking(), Spool((data / HISTORY).with_suffix(SPOOL))
    ended = threading.Thread(target=_read_to_end, daemon=True)  # so that an app that can't start ends
    ended.start()
    try:
        await host.start()
        history.start(services())
        while ended.is_alive():
            asked = time.time()
            lag = await host.lag()
            failures = sum(one.failures for one in host.functions.values())
            cpu_s = time.process_time() + sum(map(_cpu_s, host.workers))
            spooled = len(spool.waiting())
            now = Progress(lag["changes"], lag["resolved"], spooled, cpu_s, asked, time.time(), failures)
            sys.stdout.write(msgspec.json.encode(now).decode() + "\n")
            sys.stdout.flush()
            await asyncio.sleep(TICK_S)
    finally:
        await host.stop()
        await history.stop()
        await spool.close()
        await close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.environ |= {"FLOCKIQ_DATA": str(folder), "FLOCKIQ_CONFIG": str(CONFIG), SETTING: sys.argv[2]}
    asyncio.run(_run(folder))
