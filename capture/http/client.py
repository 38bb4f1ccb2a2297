"""Asks one source over HTTP, within everything its config allows."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import httpx
import msgspec

from flockiq.capture.http import body, credentials, patience
from flockiq.capture.http.guard import GuardedTransport, Origins
from flockiq.shared.config.connection import with_settings
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import ConfigError, Problem, SourceError, SourceUnavailable
from flockiq.shared.ports import Secrets

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_REDIRECT: Final = range(300, 400)
_NOT_NOW: Final = frozenset({408, 425, 429, *range(500, 600)})
_MICRO: Final = 1e6


class Answer(NamedTuple):
    """What a source said: 2xx, or a 4xx that is the protocol's to understand."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: httpx.URL

    @property
    def ok(self) -> bool:
        """Whether the source did as asked."""
        return self.status < 300  # noqa: PLR2004 - HTTP


class Tally(msgspec.Struct):
    """What asking cost."""

    requests: int = 0
    received: int = 0  # bytes of answers, as they came over the wire


class SourceClient:
    """The connections to one source; shared by its streams."""

    def __init__(self, source: Source, secrets: Secrets, environment: Mapping[str, str]) -> None:
        """ConfigError if the source has no connection, or names a setting that does not exist."""
        connection = source.connection
        place = f"sources/{source.source}.yaml"
        if connection is None:
            raise ConfigError([Problem(place, 0, "connection", "is missing", "how the source is reached")])
        base_url = with_settings(connection.base_url, environment, file=place, field="connection.base_url")
        allowed = [
            with_settings(origin, environment, file=place, field="connection.allowed_origins")
            for origin in connection.allowed_origins
        ]
        try:
            self.origins = Origins(base_url, allowed, allow_private=connection.allow_private)
        except httpx.InvalidURL as error:
            raise ConfigError(
                [Problem(place, 0, "connection", f"holds an address that is none: {error}", "")]
            ) from error
        self.name = source.source
        self._auth = source.auth
        self._secrets = secrets
        self._limits = source.limits
        self._headers = {**connection.headers, "accept": "application/json", "accept-encoding": body.ACCEPT_ENCODING}
        self._request_s = connection.request_timeout / _MICRO
        self._room = asyncio.Semaphore(source.limits.concurrency)
        self._resume_at = 0.0  # monotonic; until then the source asked to be left alone
        self._http = httpx.AsyncClient(
            transport=GuardedTransport(allow_private=connection.allow_private, connections=source.limits.concurrency),
            timeout=httpx.Timeout(connection.read_timeout / _MICRO, connect=connection.connect_timeout / _MICRO),
            follow_redirects=False,
            trust_env=False,
        )

    async def get(self, link: str, headers: Mapping[str, str], tally: Tally) -> Answer:
        """Ask for ``link`` (relative ones seen from base_url), patiently within ``limits``.

        SourceUnavailable: it does not answer or asks for more patience than a run has.
        SourceError: it may not be called, or answers with something unusable.
        """
        return await self.send("GET", link, b"", headers, tally)

    async def send(self, method: str, link: str, content: bytes, headers: Mapping[str, str], tally: Tally) -> Answer:
        """Ask with another method than GET, and a body; as patiently, so what is sent may arrive twice."""
        url = self.origins.resolve(link)
        failures = 0
        refreshed = False
        while True:
            await self._wait_my_turn(url)
            asked: float | None = None
            try:
                answer = await self._once(method, url, content, headers, tally, fresh=refreshed)
            except (httpx.TransportError, TimeoutError) as error:
                problem = f"{_shown(url)} does not answer: {type(error).__name__}"
            else:
                if answer.status == _UNAUTHORIZED and not refreshed:
                    refreshed = True  # the secret may have been rotated since it was cached
                    continue
                if answer.status not in _NOT_NOW:
                    return _usable(answer)
                problem = f"{_shown(url)} answers {answer.status}"
                asked = patience.retry_after(answer.headers.get("retry-after", ""), dt.datetime.now(dt.UTC))
            failures += 1
            await self._pause(problem, failures, asked)

    async def _pause(self, problem: str, failures: int, asked: float | None) -> None:
        """Wait before the next try, or raise SourceUnavailable where waiting is not for this run."""
        longest = self._limits.longest_wait / _MICRO
        wait = max(asked or 0.0, patience.backoff(failures, longest))
        if asked is not None:
            self._resume_at = max(self._resume_at, time.monotonic() + asked)
        if failures >= self._limits.attempts or wait > longest:
            again = f"; it asks for {asked:,.0f} s of patience" if asked else ""
            raise SourceUnavailable(f"{problem} ({failures} tries){again}", retry_after_s=asked)
        await asyncio.sleep(wait)

    async def _wait_my_turn(self, url: httpx.URL) -> None:
        """Hold back while the source wants to be left alone, whichever stream it told."""
        rest = self._resume_at - time.monotonic()
        if rest > self._limits.longest_wait / _MICRO:
            raise SourceUnavailable(f"{_shown(url)} asked to be left alone for {rest:,.0f} s more", retry_after_s=rest)
        if rest > 0:
            await asyncio.sleep(rest)

    async def _once(
        self, method: str, url: httpx.URL, content: bytes, headers: Mapping[str, str], tally: Tally, *, fresh: bool
    ) -> Answer:
        proof = await credentials.headers(self._auth, self._secrets, fresh=fresh)
        async with self._room, asyncio.timeout(self._request_s):
            tally.requests += 1
            sent = {**self._headers, **headers, **proof}
            async with self._http.stream(method, url, content=content or None, headers=sent) as response:
                text = await body.read(response, self._limits.page_bytes)
                tally.received += response.num_bytes_downloaded
                return Answer(response.status_code, response.headers, text, url)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _usable(answer: Answer) -> Answer:
    if answer.status in _REDIRECT:
        raise SourceError(
            f"{_shown(answer.url)} answers {answer.status}: redirects are not followed; correct the address"
        )
    if answer.status == _UNAUTHORIZED:
        raise SourceError(
            f"{_shown(answer.url)} answers 401: the credentials are refused; see the secrets named under auth"
        )
    if answer.status == _FORBIDDEN:
        raise SourceError(f"{_shown(answer.url)} answers 403: the user may not read this; give it the right to")
    return answer


def _shown(url: httpx.URL) -> str:
    """A URL as errors show it: without the query, which may hold tokens."""
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}{url.path}"
