"""Who we are to a source: what each request carries to say so, made from secrets."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, NamedTuple

from flockiq.capture.http.tokens import Tokens
from flockiq.shared.config.auth import ApiKeyAuth, Auth, BasicAuth, BearerAuth, NoAuth
from flockiq.shared.errors import ConfigError, Problem
from flockiq.shared.ports import Secrets


class Proof(NamedTuple):
    """What a request carries. Never logged."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    token: str = ""  # the access token in it, if there is one

    def __repr__(self) -> str:
        return "Proof(…)"


NOTHING: Final = Proof({}, {})


class Credentials:
    """The credentials of one source."""

    def __init__(self, auth: Auth, secrets: Secrets, tokens: Tokens | None) -> None:
        self._auth = auth
        self._secrets = secrets
        self._tokens = tokens

    async def proof(self, rejected: Proof | None = None) -> Proof:
        """What the next request carries; after a 401, something newer than what was ``rejected``.

        NotFound if a secret is not set. SourceError, SourceUnavailable of a token's issuer.
        """
        fresh = rejected is not None
        match self._auth:
            case NoAuth():
                return NOTHING
            case BearerAuth() as auth:
                return _bearer(await self._secret(auth.token.secret, fresh=fresh))
            case BasicAuth() as auth:
                password = await self._secret(auth.password.secret, fresh=fresh)
                pair = base64.b64encode(f"{auth.username}:{password}".encode()).decode()
                return Proof({"authorization": f"Basic {pair}"}, {})
            case ApiKeyAuth() as auth:
                key = await self._secret(auth.key.secret, fresh=fresh)
                return Proof({auth.header.lower(): key}, {}) if auth.header else Proof({}, {auth.query: key})
        if self._tokens is None:
            raise AssertionError(f"auth {self._auth.kind} has no tokens")
        return _bearer(await self._tokens.get(rejected.token if rejected else ""))

    async def _secret(self, name: str, *, fresh: bool) -> str:
        value = (await self._secrets.get(name, fresh=fresh)).strip()
        if any(ord(character) < ord(" ") for character in value):
            raise ConfigError([Problem(f"secret {name}", 0, "", "holds control characters", "one line of text")])
        return value


def _bearer(token: str) -> Proof:
    return Proof({"authorization": f"Bearer {token}"}, {}, token)
