"""Where a source's requests may go: declared origins, and addresses that are nobody's inner network.

A name is resolved here and the connection made to the very address that was checked, so that a
name which resolves differently a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

import httpcore
import httpx

from flockiq.shared.errors import SourceError

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ADDRESSES_TRIED: Final = 4

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Origin(NamedTuple):
    """Scheme, host and port: what credentials may be sent to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> Origin:
        """The origin of a URL, its scheme's port filled in."""
        return cls(url.scheme, url.host.lower().rstrip("."), url.port or (443 if url.scheme == "https" else 80))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class Origins:
    """The origins a source declares. Anything else is not called, whoever asks for it."""

    def __init__(self, base_url: str, allowed: Iterable[str], *, allow_private: bool) -> None:
        self.base = httpx.URL(base_url.rstrip("/") + "/")
        self._allow_private = allow_private
        self.secret_parameter = ""  # the query parameter of a key; a link that echoes it is stripped of it
        self._origins = frozenset(Origin.of(httpx.URL(url)) for url in (base_url, *allowed))

    def resolve(self, link: str, current: httpx.URL | None = None) -> httpx.URL:
        """The URL ``link`` stands for, seen from ``current``. SourceError if it may not be called."""
        try:
            url = (current or self.base).join(link)
        except (httpx.InvalidURL, ValueError, UnicodeError) as error:
            raise SourceError(f"the source names a link that is not a URL: {error}"[:200]) from error
        origin = Origin.of(url)
        if origin not in self._origins:
            raise SourceError(
                f"the source names a link on {origin}, which is not declared; if it belongs to the source, "
                "add it to connection.allowed_origins"
            )
        if url.userinfo:
            raise SourceError(f"the source names a link on {origin} that carries credentials; it is not called")
        if url.scheme != "https" and not (url.scheme == "http" and self._allow_private):
            raise SourceError(f"{origin} is not https; connection.allow_private admits http on your own network")
        if self.secret_parameter and self.secret_parameter in url.params:
            url = url.copy_remove_param(self.secret_parameter)
        return url


def is_public(address: Address) -> bool:
    """Whether an address is on the open internet, seen through the ways IPv6 wraps IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if wrapped is not None:
            return is_public(wrapped)
    return address.is_global and not address.is_multicast


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, connect. SourceError if every address of ``host`` is refused."""
        addresses = await _resolve(host, port, timeout)
        allowed = [address for address in addresses if self._allow_private or is_public(address)]
        if not allowed:
            raise SourceError(
                f"{host} resolves to a private, loopback or link-local address, which is not called; "
                "connection.allow_private admits systems on your own network"
            )
        failure: Exception | None = None
        for address in allowed[:_ADDRESSES_TRIED]:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        """As httpcore asks."""
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int, timeout_s: float | None) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(f"{host} does not resolve in time") from error
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} does not resolve") from error
    return list(dict.fromkeys(ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found))


@cache
def tls() -> ssl.SSLContext:
    """The verifying TLS context all sources share (building one takes milliseconds)."""
    return httpx.create_ssl_context()


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx over connections to checked addresses, without proxies."""

    def __init__(self, *, allow_private: bool, connections: int) -> None:
        super().__init__(verify=tls(), trust_env=False)
        # httpx has no parameter for the network backend; its pool is httpcore's, which does.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=GuardedBackend(allow_private=allow_private),
        )
