"""The app as a process of its own, that tests start, kill and start again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import flockiq
from flockiq.shared.errors import FlockIQError

ROOT = Path(flockiq.__file__).resolve().parent
PATIENCE_S = 240.0
LOG = "app.log"


class App(NamedTuple):
    """How the app is run: its folders, its port, what else it is told, and whose code it is."""

    data: Path
    config: Path
    port: int
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    root: Path = ROOT

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """A life of the app from when it listens; killed when left, if it has not ended by then."""
        process = await self._start()
        try:
            await self._listening(process)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def end(self, process: asyncio.subprocess.Process) -> None:
        """Stop it gently, and wait until it has."""
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE_S)

    async def _start(self) -> asyncio.subprocess.Process:
        given = ("--data", str(self.data), "--config", str(self.config), "--port", str(self.port))
        with (self.data / LOG).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "flockiq",
                "run",
                *given,
                *self.arguments,
                cwd=self.root,
                env={**os.environ, **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _listening(self, process: asyncio.subprocess.Process) -> None:
        """Return once it listens. FlockIQError with the log's end if it does not start."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and process.returncode is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.05)
        end = (self.data / LOG).read_text(errors="replace")[-2000:]
        raise FlockIQError(f"the app does not start:\n{end}")
