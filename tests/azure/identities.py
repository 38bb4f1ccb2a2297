"""An identity for tests, and how this process comes to find and trust a peer that serves TLS under another's name."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any, Self

import aiohttp.connector
import certifi
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from tests.peers.certificates import Authority


class Identity:
    """Gives tokens: these, one after another, the last again and again."""

    def __init__(self, *tokens: str, ends_in_s: float = 3_600.0) -> None:
        self.scopes: set[str] = set()
        self.given = 0
        self._tokens = tokens
        self._ends_in_s = ends_in_s

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """The next token; without one, as when nobody is logged in."""
        self.scopes |= set(scopes)
        if not self._tokens:
            raise ClientAuthenticationError("nobody is logged in")
        token = self._tokens[min(self.given, len(self._tokens) - 1)]
        self.given += 1
        return AccessToken(token, int(time.time() + self._ends_in_s))

    async def close(self) -> None:
        """Nothing is held."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def find_here(host: str, monkeypatch: pytest.MonkeyPatch, *, port: int | None = None) -> None:
    """Let ``host`` be 127.0.0.1 for this process; at whatever port it is asked, or always at this one."""
    resolve = socket.getaddrinfo

    def here(name: str, asked: Any, *more: Any, **named: Any) -> Any:
        if name != host:
            return resolve(name, asked, *more, **named)
        return resolve("127.0.0.1", asked if port is None else port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", here)


def trust(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust an authority as the system's are trusted; Cosmos DB's SDK checks no certificate of 127.0.0.1 at all."""
    context = ssl.create_default_context(cafile=str(authority.file))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", context)
    monkeypatch.setattr(certifi, "where", lambda: str(authority.file))  # what Event Hubs' SDK asks
