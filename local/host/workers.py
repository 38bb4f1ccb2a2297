"""Worker processes: Event Hub batches run in several processes, so that they use as many cores.

As in Azure, ``FUNCTIONS_WORKER_PROCESS_COUNT`` says how many. Unlike there, a partition's batches always go
to the same process, so that the state which functions keep of a partition stays in one memory. What a
process does when another has run the same partition is the app's to know: here as in Azure, one that
ends is replaced by one that knows nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from flockiq.local.host import calls
from flockiq.local.host.errors import HostError
from flockiq.local.host.messages import InvocationRequest, InvocationResponse, RpcException
from flockiq.local.host.turns import Turns

log = logging.getLogger("flockiq.host")

SETTING = "FUNCTIONS_WORKER_PROCESS_COUNT"  # Azure's own name for it
MOST = 10  # as in Azure
_ROOT = Path(__file__).resolve().parents[2]  # where ``flockiq`` is imported from
_STOP_S = 10.0  # for a worker that has nothing in hand to end


def count_of(settings: Mapping[str, str]) -> int:
    """How many worker processes the settings ask for; 1: none beside the host's own."""
    text = settings.get(SETTING, "1")
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise HostError(f"{SETTING} is {text!r}; give a number from 1 to {MOST}.")
    return int(text)


class WorkerProcess:
    """One worker, started when it is first needed and again after it has ended."""

    def __init__(self, app: Path, environment: Mapping[str, str]) -> None:
        self._app = app
        self._environment = dict(environment)
        self.turns = Turns()
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[RpcException | None]] = {}
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process is not None and self._writer is not None else None

    async def start(self) -> None:
        """Start it and wait until it has indexed the app. HostError if it can't."""
        async with self._starting:
            if self._writer is not None:
                return
            await self._end()  # the one before
            mine, theirs = socket.socketpair()
            with theirs:
                self._process = self._spawned(theirs)
            reader, writer = await asyncio.open_connection(sock=mine)
            said = await calls.heard_by_host(reader)
            if not isinstance(said, calls.Ready):
                writer.close()
                await self._end()
                raise HostError(
                    said.reason if isinstance(said, calls.Failed) else "a worker process ended at its start."
                )
            self._writer = writer
            self._listening = asyncio.create_task(self._listen(reader, writer))

    def _spawned(self, connection: socket.socket) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "flockiq.local.host.worker", str(self._app), str(connection.fileno())],
            env={**os.environ, "PYTHONPATH": path, **self._environment},
            stdin=subprocess.DEVNULL,
            pass_fds=[connection.fileno()],
        )

    async def invoke(self, function: str, request: InvocationRequest) -> InvocationResponse:
        """Call a function once, as ``Runtime.invoke`` does; a worker that ends meanwhile is a failure."""
        await self.start()
        if self._writer is None:
            return calls.response_of(request.invocation_id, _ENDED)
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            calls.send(self._writer, calls.call_of(number, function, request))
            return calls.response_of(request.invocation_id, await answer)
        except asyncio.CancelledError:
            if self._writer is not None:
                calls.send(self._writer, calls.Cancel(number))
            raise
        finally:
            self._waiting.pop(number, None)

    async def stop(self) -> None:
        """Let it end."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._listening is not None:
            await self._listening
        await self._end()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (said := await calls.heard_by_host(reader)) is not None:
            if isinstance(said, calls.Answer):
                waiting = self._waiting.pop(said.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(said.error)
        if self._writer is writer:
            self._writer = None
            log.error("a worker process has ended; another takes its place")
            writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(_ENDED)

    async def _end(self) -> None:
        if self._process is None:
            return
        try:
            await asyncio.to_thread(self._process.wait, _STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


_ENDED = RpcException("the worker process that ran it has ended")


class Workers:
    """The worker processes of a host."""

    def __init__(self, app: Path, number: int, environment: Mapping[str, str]) -> None:
        self._processes = [WorkerProcess(app, environment) for _ in range(number)]

    def of(self, partition: int) -> WorkerProcess:
        """The worker of a partition."""
        return self._processes[partition % len(self._processes)]

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [one.pid for one in self._processes if one.pid is not None]

    async def start(self) -> None:
        """Start all of them at once. HostError, with none left running, if one can't."""
        ended = await asyncio.gather(*(one.start() for one in self._processes), return_exceptions=True)
        for error in ended:
            if error is not None:
                await self.stop()
                raise error

    async def stop(self) -> None:
        """Let all of them end."""
        await asyncio.gather(*(one.stop() for one in self._processes))


async def started(app: Path, settings: Mapping[str, str], environment: Mapping[str, str]) -> Workers | None:
    """The worker processes that the settings ask for, running, with ``environment`` of their own; None for none."""
    number = count_of(settings)
    if number == 1:
        return None
    workers = Workers(app, number, environment)
    await workers.start()
    return workers
