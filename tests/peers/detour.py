"""An HTTP proxy on 127.0.0.1 by which another process finds a peer that goes by a service's name.

Clients check what the host they talk to is called, and their own process can't be told that it is here. So their
environment names this proxy (``https_proxy``), which opens a tunnel (CONNECT, RFC 9110, section 9.3.6) to the peers
it was given and to nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, Self

from tests.peers.loop import Loop

_HEAD_S: Final = 5.0
_CHUNK: Final = 1 << 16


class Detour:
    """Leads to these ports of 127.0.0.1, by host; serves from entering to leaving."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = {f"{host}:443".encode(): port for host, port in ports.items()}
        self._port = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._loop = stack.enter_context(Loop())
            self._server = self._loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
            stack.callback(lambda: self._loop.run(self._close()))
            self._port = self._server.sockets[0].getsockname()[1]
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to take it."""
        return {"https_proxy": f"http://127.0.0.1:{self._port}", "no_proxy": "127.0.0.1,localhost"}

    async def _close(self) -> None:
        self._server.close()
        self._server.close_clients()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_S)
            method, _, rest = head.partition(b" ")
            port = self._ports.get(rest.partition(b" ")[0])
            if method != b"CONNECT" or port is None:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            else:
                there, back = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(_carry(reader, back), _carry(there, writer))
        writer.close()


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Everything that comes, until it ends; then nothing more goes there."""
    try:
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()
