"""The whole app as a user starts it: ``python -m flockiq run`` in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def running(data: Path, port: int, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The app and its sample systems over ``data``; stopped gently at the end, systems included."""
    data.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a test may wait for its folder
    with (data / "out.log").open("ab") as log:
        app = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "flockiq",
            "run",
            "--data",
            str(data),
            "--port",
            str(port),
            *arguments,
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield app
    finally:
        with contextlib.suppress(ProcessLookupError):
            app.terminate()
        await app.wait()
