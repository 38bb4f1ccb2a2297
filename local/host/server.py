"""The HTTP server: uvicorn on a loopback socket, inside the host's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from flockiq.local.host.errors import HostError
from flockiq.local.host.web import WebApp

LOOPBACK = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback interface; port 0 takes a free one. HostError if it is taken."""
    # With its protocol named, asyncio turns Nagle's algorithm off: without, each answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # So that a restart need not wait for the last run's connections; a living listener still refuses.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise HostError(
            f"port {port} on {LOOPBACK} can't be used ({error.strerror}); "
            "stop what listens there, or choose another with --port."
        ) from error
    listener.settimeout(0)  # the event loop waits, never the socket
    return listener


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the host, which stops more than HTTP."""
        yield


class WebServer:
    """Serves one application on one socket."""

    def __init__(self, app: WebApp, listener: socket.socket, grace_s: float) -> None:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(grace_s)),
        )
        self._server = _Server(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept; returns once it does."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="http")
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Accept no more, let the requests under way finish within the grace, close."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
        self._listener.close()
