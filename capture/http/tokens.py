"""Access tokens: asked for once, kept until shortly before they expire, never shown.

OAuth 2 client credentials and refresh (RFC 6749, sections 4.4 and 6), JWT bearer (RFC 7523, RS256).
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import re
import time
import uuid
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx
import msgspec

from flockiq.capture.http import body, patience
from flockiq.capture.http.guard import Origins
from flockiq.capture.http.silence import silence
from flockiq.capture.lease import under_lease
from flockiq.shared.config.auth import ClientCredentialsAuth, JwtBearerAuth, RefreshTokenAuth
from flockiq.shared.errors import ConfigError, Problem, SourceError, SourceUnavailable, StoreUnavailable
from flockiq.shared.services import Services

type TokenKind = ClientCredentialsAuth | JwtBearerAuth | RefreshTokenAuth

_UNSAID_S: Final = 3600.0  # how long a token is kept whose issuer does not say; a 401 ends it sooner
_MARGIN: Final = 0.1  # of its life, at most _MARGIN_S, before its end a token is replaced
_MARGIN_S: Final = 60.0
_ANSWER_BYTES: Final = 100_000
_WAIT_S: Final = 15.0  # for another instance that is rotating the same secret
_READS: Final = 5  # of a secret just written, until it is what was written
_NOT_NOW: Final = frozenset({408, 425, 429, *range(500, 600)})
_CODE: Final = re.compile(r"[A-Za-z_]{1,60}")
_MICRO: Final = 1e6


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float | str = ""
    refresh_token: str = ""
    token_type: str = "bearer"  # noqa: S105 - RFC 6749, section 7.1


class _Refused(msgspec.Struct):
    error: str = ""


class _Held(NamedTuple):
    token: str
    until: float  # monotonic


class Tokens:
    """The access token of one source; shared by its streams."""

    def __init__(
        self, source: str, auth: TokenKind, services: Services, http: httpx.AsyncClient, endpoint: Origins
    ) -> None:
        self._source = source
        self._auth = auth
        self._services = services
        self._http = http
        self._endpoint = endpoint
        self._lock = asyncio.Lock()
        self._held: _Held | None = None

    async def get(self, rejected: str = "") -> str:
        """A token that is not ``rejected``. However many ask, one request is made.

        SourceUnavailable: the issuer does not answer. SourceError: it refuses. ConfigError, NotFound: a secret.
        """
        async with self._lock:
            held = self._held
            if held is None or held.token == rejected or time.monotonic() >= held.until:
                granted = await self._ask(fresh=bool(rejected))
                self._held = held = _Held(granted.access_token, time.monotonic() + _kept_s(granted))
            return held.token

    async def _ask(self, *, fresh: bool) -> _Granted:
        match self._auth:
            case ClientCredentialsAuth() as auth:
                secret = await self._secret(auth.client_secret.secret, fresh=fresh)
                return await self._request({"grant_type": "client_credentials"}, auth.client_id, secret, auth.send)
            case JwtBearerAuth() as auth:
                key = await self._services.secrets.get(auth.private_key.secret, fresh=fresh)
                grant = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": _signed(auth, key)}
                return await self._request(grant)
            case RefreshTokenAuth() as auth:
                name = f"auth/{self._services.settings.tenant}/{self._source}"

                async def rotate() -> _Granted:
                    return await self._rotate(auth)

                ttl_s = self._services.settings.lease_s
                granted = await under_lease(self._services.registry, name, rotate, ttl_s=ttl_s, wait_s=_WAIT_S)
                if granted is None:
                    raise StoreUnavailable(f"{self._source}: another instance is renewing its tokens; tried again soon")
                return granted

    async def _rotate(self, auth: RefreshTokenAuth) -> _Granted:
        """Exchange the refresh token. A new one replaces the secret, and is read back, before anything is used.

        A single-use token is worthless once sent: it is read afresh, for another may have rotated it,
        and what came for it is kept before all else.
        """
        name = auth.refresh_token.secret
        secrets = self._services.secrets
        sent = await self._secret(name, fresh=True)
        client_secret = await self._secret(auth.client_secret.secret, fresh=True) if auth.client_secret else ""
        grant = {"grant_type": "refresh_token", "refresh_token": sent}
        granted = await self._request(grant, auth.client_id, client_secret)
        if granted.refresh_token and granted.refresh_token != sent:
            await secrets.set(name, granted.refresh_token)
            for read in range(_READS):
                if await self._secret(name, fresh=True) == granted.refresh_token:
                    break
                await asyncio.sleep(0.1 * 2**read)
            else:
                raise StoreUnavailable(f"secret {name} was replaced and reads back as something else; tried again soon")
        return granted

    async def _secret(self, name: str, *, fresh: bool) -> str:
        return (await self._services.secrets.get(name, fresh=fresh)).strip()

    async def _request(
        self, grant: Mapping[str, str], client: str = "", secret: str = "", send: str = "body"
    ) -> _Granted:
        form = {**self._auth.parameters, **grant}
        headers = {"accept": "application/json", "accept-encoding": body.ACCEPT_ENCODING}
        if self._auth.scope:
            form["scope"] = self._auth.scope
        if client and send == "basic":
            pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"  # RFC 6749, section 2.3.1
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif client:
            form |= {"client_id": client} | ({"client_secret": secret} if secret else {})
        url = self._endpoint.resolve(str(self._endpoint.base).rstrip("/"))
        try:
            async with self._http.stream("POST", url, data=form, headers=headers) as response:
                text = await body.read(response, _ANSWER_BYTES)
                status, asked = response.status_code, response.headers.get("retry-after", "")
        except (httpx.TransportError, TimeoutError) as error:
            raise SourceUnavailable(f"the token issuer {url.host} does not answer: {silence(error)}") from None
        if status in _NOT_NOW:
            wait = patience.retry_after(asked, dt.datetime.now(dt.UTC))
            raise SourceUnavailable(f"the token issuer {url.host} answers {status}", retry_after_s=wait)
        return _granted(status, text, url.host)


def _granted(status: int, text: bytes, host: str) -> _Granted:
    """What was granted. SourceError says why not, in the issuer's error code only: its prose may hold secrets."""
    if status == 200:  # noqa: PLR2004 - HTTP
        try:
            granted = msgspec.json.decode(text, type=_Granted, strict=False)
        except msgspec.DecodeError:
            granted = _Granted("")
        if granted.access_token and granted.access_token.isascii() and granted.access_token.isprintable():
            return granted
        raise SourceError(f"the token issuer {host} grants no usable access_token; see auth.token_url")
    try:
        code = msgspec.json.decode(text, type=_Refused).error
    except msgspec.DecodeError:
        code = ""
    said = code if _CODE.fullmatch(code) else "no error code"
    raise SourceError(f"the token issuer {host} answers {status}: {said}; see auth and the secrets named there")


def _kept_s(granted: _Granted) -> float:
    """Seconds a token is used: until shortly before it expires."""
    try:
        lasts = float(granted.expires_in) if granted.expires_in != "" else _UNSAID_S
    except ValueError:
        lasts = _UNSAID_S
    return max(lasts - min(lasts * _MARGIN, _MARGIN_S), 0.0)


def _signed(auth: JwtBearerAuth, key: str) -> str:
    import jwt  # noqa: PLC0415 - brings a whole library of algorithms, and few sources sign

    now = int(time.time())
    claims = {
        "iss": auth.issuer,
        "sub": auth.subject,
        "aud": auth.audience,
        "iat": now,
        "exp": now + int(auth.lifetime / _MICRO),
        "jti": uuid.uuid4().hex,
    }
    try:
        return jwt.encode(claims, key, algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):  # not chained: what it quotes may be part of the key
        name = auth.private_key.secret
        raise ConfigError(
            [Problem(f"secret {name}", 0, "", "is no RSA private key", "PEM, without a password")]
        ) from None
