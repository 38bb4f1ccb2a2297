"""Azurite, Microsoft's own emulator of Azure Storage: one a process, from memory, at free ports of 127.0.0.1."""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import IO, Final, NamedTuple

FOLDER: Final = Path(__file__).parent / "emulator"
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that Azurite's documentation gives everyone."""

_LISTENS: Final = re.compile(r"Azurite (\w+) service is successfully listening at http://127\.0\.0\.1:(\d+)")


class Missing(Exception):
    """Azurite is not installed here."""

    def __init__(self) -> None:
        super().__init__("needs Azurite: tests/peers/storage/emulator/install gets it (with Node and npm)")


class Azurite(NamedTuple):
    """Where it listens."""

    blob: int
    queue: int


@cache
def azurite() -> Azurite:
    """Azurite, started at the first call, until this process ends. Missing if it is not installed."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        raise Missing
    process = subprocess.Popen(  # noqa: S603 - our own script
        [node, str(FOLDER / "serve.cjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(_end, process)
    if process.stdout is None:
        raise AssertionError("no pipe")
    ports = _ports(process.stdout)
    return Azurite(ports["Blob"], ports["Queue"])


def _ports(said: IO[str]) -> dict[str, int]:
    ports: dict[str, int] = {}
    for line in said:
        if found := _LISTENS.search(line):
            ports[found[1]] = int(found[2])
        if len(ports) == 3:
            return ports
    raise AssertionError(f"Azurite ended before it listened: {ports}")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()  # it keeps nothing
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
