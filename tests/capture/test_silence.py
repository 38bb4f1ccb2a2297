"""A source that can't be reached: the error says why, and where to look."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from flockiq.capture.http.silence import silence
from tests.capture.conftest import Open
from tests.capture.peers.shop import orders
from tests.peers.certificates import Authority


async def said(world: Open, url: str, **connection: str) -> str:
    """The error of a stream that is read at ``url``."""
    source = orders(url, "offset") | {"limits": {"attempts": 1, "longest_wait": "10ms"}}
    source["connection"] |= connection
    async with world(source) as it:
        await it.poll()
        return (await it.status("shop", "orders")).error


@asynccontextmanager
async def listening(context: ssl.SSLContext | None, answer: bytes = b"") -> AsyncIterator[int]:
    """Somebody who takes connections, says something or nothing, and the port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await asyncio.sleep(0.0 if answer else 1.0)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        server.close_clients()  # whom it has nothing to say to as well
        await server.wait_closed()


async def test_a_name_that_is_none_is_told_of(world: Open) -> None:
    """The name, and the key of the file it stands under."""
    error = await said(world, "https://no-such-host.invalid/v1")
    assert "no-such-host.invalid does not resolve; is connection.base_url right?" in error


async def test_a_closed_port_is_told_of(world: Open) -> None:
    """Nobody is there."""
    async with listening(None) as port:
        pass
    assert "nobody takes the connection" in await said(world, f"http://127.0.0.1:{port}")


async def test_http_where_https_was_meant_is_told_of(world: Open) -> None:
    """The service does not speak TLS."""
    async with listening(None, b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "it does not speak TLS there; is it http?" in await said(world, f"https://127.0.0.1:{port}")


async def test_a_certificate_that_nobody_vouches_for_is_told_of(world: Open, tmp_path: Path) -> None:
    """TLS is verified."""
    context = Authority(tmp_path).serving()
    async with listening(context) as port:
        assert "its certificate is not trusted (" in await said(world, f"https://127.0.0.1:{port}")


async def test_a_silent_source_is_told_of_with_its_limit(world: Open) -> None:
    """The key that says how long is waited."""
    async with listening(None) as port:
        error = await said(world, f"http://127.0.0.1:{port}", read_timeout="100ms")
    assert "silence for longer than connection.read_timeout" in error


def test_what_was_sent_is_not_repeated() -> None:
    """A library's own words may quote a header."""
    error = httpx.LocalProtocolError("Illegal header value b'Bearer s3cret'")
    assert silence(error) == "the connection broke off (LocalProtocolError)"
