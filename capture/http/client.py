"""Asks one source over HTTP, within everything its config allows."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

import httpx

from flockiq.capture.http import body, patience, quota
from flockiq.capture.http.answer import FORBIDDEN, NOT_NOW, TOO_MANY, UNAUTHORIZED, Answer, Tally, shown, usable
from flockiq.capture.http.circuit import Breaker, clock_us
from flockiq.capture.http.credentials import Credentials, Proof
from flockiq.capture.http.guard import GuardedTransport, Origins
from flockiq.capture.http.pace import Pace
from flockiq.capture.http.quota import Allowance
from flockiq.capture.http.silence import silence
from flockiq.capture.http.tokens import Tokens
from flockiq.shared.config.auth import ApiKeyAuth, Auth, TokenAuth
from flockiq.shared.config.connection import Connection, with_settings
from flockiq.shared.config.sources import Source
from flockiq.shared.errors import ConfigError, Problem, SourceError, SourceUnavailable
from flockiq.shared.services import Services

__all__ = ["Answer", "SourceClient", "Tally"]

_MICRO: Final = 1e6
_CSRF: Final = "x-csrf-token"
_READS: Final = frozenset({"GET", "HEAD"})

for _library in ("httpx", "httpcore"):  # they log whole URLs, and a key may be in the query
    logging.getLogger(_library).setLevel(logging.WARNING)


class _Silent(SourceUnavailable):
    """The source, or who issues its tokens, does not answer at all, or only that it is broken."""


class SourceClient:
    """The connections to one source; shared by its streams."""

    def __init__(
        self,
        source: Source,
        services: Services,
        environment: Mapping[str, str],
        now_us: Callable[[], int] = clock_us,
    ) -> None:
        """ConfigError if the source has no connection, or names a setting that does not exist."""
        connection = source.connection
        place = f"sources/{source.source}.yaml"
        if connection is None:
            raise ConfigError([Problem(place, 0, "connection", "is missing", "how the source is reached")])
        limits = source.limits
        tenant = services.settings.tenant
        self.origins = _origins(connection, source.auth, environment, place)
        self.name = source.source
        self.allowance: Allowance | None = None  # as last told
        self._limits = limits
        self._headers = {**connection.headers, "accept": "application/json", "accept-encoding": body.ACCEPT_ENCODING}
        self._request_s = connection.request_timeout / _MICRO
        self._room = asyncio.Semaphore(limits.concurrency)
        self._pace = Pace(limits.rate, services.registry, tenant, source.source) if limits.rate else None
        self._circuit = Breaker(limits, services.registry, tenant, source.source, now_us)
        self._resume_at = 0.0  # monotonic; until then the source is left alone
        self._resting = ""  # why
        self._http = httpx.AsyncClient(
            transport=GuardedTransport(allow_private=connection.allow_private, connections=limits.concurrency),
            timeout=httpx.Timeout(connection.read_timeout / _MICRO, connect=connection.connect_timeout / _MICRO),
            follow_redirects=False,
            trust_env=False,
        )
        tokens = None
        if isinstance(source.auth, TokenAuth):
            issuer = with_settings(source.auth.token_url, environment, file=place, field="auth.token_url")
            endpoint = _checked(issuer, (), connection, place)
            tokens = Tokens(source.source, source.auth, services, self._http, endpoint)
        self._credentials = Credentials(source.auth, services.secrets, tokens)
        self._csrf = "" if connection.csrf else None  # the token, where the source wants one

    async def get(self, link: str, headers: Mapping[str, str], tally: Tally) -> Answer:
        """Ask for ``link`` (relative ones seen from base_url), patiently within ``limits``.

        SourceUnavailable: it does not answer or asks for more patience than a run has.
        SourceError: it may not be called, or answers with something unusable.
        """
        return await self.send("GET", link, b"", headers, tally)

    async def send(self, method: str, link: str, content: bytes, headers: Mapping[str, str], tally: Tally) -> Answer:
        """Ask with another method than GET, and a body; as patiently, so what is sent may arrive twice."""
        if self._csrf is None or method in _READS:
            return usable(await self._ask(method, link, content, headers, tally))
        if not self._csrf:
            await self._fetch_csrf(tally)
        answer = await self._ask(method, link, content, {**headers, _CSRF: self._csrf}, tally)
        if answer.status == FORBIDDEN and answer.headers.get(_CSRF, "").lower() == "required":
            await self._fetch_csrf(tally)  # it expires with the session
            answer = await self._ask(method, link, content, {**headers, _CSRF: self._csrf}, tally)
        return usable(answer)

    async def _fetch_csrf(self, tally: Tally) -> None:
        """SAP's token against forged requests; the session cookie that belongs to it is kept by httpx."""
        answer = usable(await self._ask("GET", "", b"", {_CSRF: "Fetch"}, tally))
        self._csrf = answer.headers.get(_CSRF, "")
        if not self._csrf:
            raise SourceError(f"{shown(answer.url)} gives no {_CSRF}; set connection.csrf: false if it wants none")

    async def _ask(self, method: str, link: str, content: bytes, headers: Mapping[str, str], tally: Tally) -> Answer:
        """Ask while the source's circuit lets, and tell it what became of that."""
        url = self.origins.resolve(link)
        await self._circuit.admit()
        try:
            answer = await self._patiently(method, url, content, headers, tally)
        except _Silent as error:
            await self._circuit.failed(str(error))
            raise
        except SourceError:
            await self._circuit.answered()  # it is there, whatever is wrong with what it says
            raise
        except SourceUnavailable:
            await self._circuit.not_asked()  # it asked for patience, or its rate is used up
            raise
        await self._circuit.answered()
        return answer

    async def _patiently(
        self, method: str, url: httpx.URL, content: bytes, headers: Mapping[str, str], tally: Tally
    ) -> Answer:
        failures = 0
        rejected: Proof | None = None
        while True:
            await self._wait_my_turn(url)
            proof = await self._proof(rejected)
            asked: float | None = None
            try:
                answer = await self._once(method, url, content, {**self._headers, **headers}, proof, tally)
            except (httpx.TransportError, TimeoutError) as error:
                problem = f"{shown(url)} does not answer: {silence(error)}"
                kind: type[SourceUnavailable] = _Silent
            else:
                self._heed(answer)
                if answer.status == UNAUTHORIZED and rejected is None:
                    rejected = proof  # a token may have been withdrawn, a secret rotated since it was cached
                    continue
                if answer.status not in NOT_NOW:
                    return answer
                problem = f"{shown(url)} answers {answer.status}"
                asked = patience.retry_after(answer.headers.get("retry-after", ""), dt.datetime.now(dt.UTC))
                kind = SourceUnavailable if asked is not None or answer.status == TOO_MANY else _Silent
            failures += 1
            await self._pause(problem, failures, asked, kind)

    async def _proof(self, rejected: Proof | None) -> Proof:
        """Who we are to the source. _Silent if who issues its tokens does not answer."""
        try:
            return await self._credentials.proof(rejected)
        except SourceUnavailable as error:
            raise _Silent(str(error), retry_after_s=error.retry_after_s) from error

    def _heed(self, answer: Answer) -> None:
        """What an answer tells of the allowance. SourceUnavailable if it was refused because that is used up."""
        if self._limits.quota is not None:
            told = quota.allowance(self._limits.quota, answer.headers)
            if told is not None:
                self.allowance = told
                rest = quota.pause_s(self._limits.quota, told, answer.headers, dt.datetime.now(dt.UTC))
                if rest:
                    self._rest(rest, f"has {told.left:,} of {told.of:,} requests left, and limits.quota leaves them")
        if word := answer.says(self._limits.exhausted):
            asked = patience.retry_after(answer.headers.get("retry-after", ""), dt.datetime.now(dt.UTC))
            rest = asked or (self._limits.quota.pause if self._limits.quota else self._limits.back_off) / _MICRO
            self._rest(rest, f"says {word}")
            raise SourceUnavailable(f"{shown(answer.url)} answers {answer.status}: {word}", retry_after_s=rest)

    def _rest(self, seconds: float, why: str) -> None:
        until = time.monotonic() + seconds
        if until > self._resume_at:
            self._resume_at, self._resting = until, why

    async def _pause(self, problem: str, failures: int, asked: float | None, kind: type[SourceUnavailable]) -> None:
        """Wait before the next try, or raise ``kind`` where waiting is not for this run."""
        longest = self._limits.longest_wait / _MICRO
        wait = max(asked or 0.0, patience.backoff(failures, longest))
        if asked is not None:
            self._rest(asked, "asked to be left alone")
        if failures >= self._limits.attempts or wait > longest:
            again = f"; it asks for {asked:,.0f} s of patience" if asked else ""
            raise kind(f"{problem} ({failures} tries){again}", retry_after_s=asked)
        await asyncio.sleep(wait)

    async def _wait_my_turn(self, url: httpx.URL) -> None:
        """Hold back while the source is left alone, whichever stream it told, and keep to its rate."""
        longest = self._limits.longest_wait / _MICRO
        rest = self._resume_at - time.monotonic()
        if rest > longest:
            raise SourceUnavailable(f"{shown(url)} {self._resting} for {rest:,.0f} s more", retry_after_s=rest)
        if rest > 0:
            await asyncio.sleep(rest)
        if self._pace is not None:
            await self._pace.wait(longest)

    async def _once(
        self, method: str, url: httpx.URL, content: bytes, headers: Mapping[str, str], proof: Proof, tally: Tally
    ) -> Answer:
        called = url.copy_merge_params(dict(proof.query)) if proof.query else url
        async with self._room, asyncio.timeout(self._request_s):
            tally.requests += 1
            sent = {**headers, **proof.headers}
            async with self._http.stream(method, called, content=content or None, headers=sent) as response:
                text = await body.read(response, self._limits.page_bytes)
                tally.received += response.num_bytes_downloaded
                return Answer(response.status_code, response.headers, text, url)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _origins(connection: Connection, auth: Auth, environment: Mapping[str, str], place: str) -> Origins:
    """Where the source may be called."""
    base_url = with_settings(connection.base_url, environment, file=place, field="connection.base_url")
    allowed = tuple(
        with_settings(origin, environment, file=place, field="connection.allowed_origins")
        for origin in connection.allowed_origins
    )
    origins = _checked(base_url, allowed, connection, place)
    if isinstance(auth, ApiKeyAuth) and auth.query:
        origins.secret_parameter = auth.query
    return origins


def _checked(base_url: str, allowed: tuple[str, ...], connection: Connection, place: str) -> Origins:
    try:
        return Origins(base_url, allowed, allow_private=connection.allow_private)
    except httpx.InvalidURL as error:
        raise ConfigError([Problem(place, 0, "connection", f"holds an address that is none: {error}", "")]) from error
