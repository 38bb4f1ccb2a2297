"""A worker process: runs the functions of an app that its host calls, as a language worker does in Azure.

``python -m flockiq.local.host.worker APP SOCKET``: SOCKET is the number of the open socket that the
host gave it. It ends when the host closes that, or is gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from flockiq.local.host import calls
from flockiq.local.host.errors import HostError
from flockiq.local.host.runtime import Runtime


class Worker:
    """One indexed app, called over a connection."""

    def __init__(self, runtime: Runtime, ids: dict[str, str], writer: asyncio.StreamWriter) -> None:
        self._runtime = runtime
        self._ids = ids
        self._writer = writer
        self._running: dict[int, asyncio.Task[None]] = {}

    def take(self, message: calls.Call | calls.Cancel) -> None:
        """Begin a call, or cancel one."""
        if isinstance(message, calls.Cancel):
            task = self._running.get(message.number)
            if task is not None:
                task.cancel()
            return
        task = self._running[message.number] = asyncio.create_task(self._call(message))
        task.add_done_callback(lambda _: self._running.pop(message.number, None))

    async def _call(self, call: calls.Call) -> None:
        response = await self._runtime.invoke(calls.request_of(call, self._ids[call.function]))
        calls.send(self._writer, calls.Answer(call.number, response.result.exception))
        await self._writer.drain()

    @property
    def idle(self) -> bool:
        """Whether nothing is being called."""
        return not self._running


async def run(app: Path, connection: socket.socket) -> None:
    """Serve the host until it closes the connection."""
    reader, writer = await asyncio.open_connection(sock=connection)
    runtime = Runtime()
    try:
        functions = await runtime.index(app)
    except HostError as error:
        calls.send(writer, calls.Failed(str(error)))
        await writer.drain()
        return
    worker = Worker(runtime, {function.name: function.function_id for function in functions}, writer)
    calls.send(writer, calls.Ready())
    while (message := await calls.heard_by_worker(reader)) is not None:
        worker.take(message)
    if not worker.idle:  # the host was killed: nobody is told what would come of it
        os._exit(1)
    runtime.close()


def main(app: str, descriptor: str) -> None:
    """The process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the host says when to end
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    if os.environ.get("FLOCKIQ_TELEMETRY") == "console":
        logging.getLogger("flockiq.telemetry").setLevel(logging.INFO)
    asyncio.run(run(Path(app), socket.socket(fileno=int(descriptor))))


if __name__ == "__main__":
    main(*sys.argv[1:])
