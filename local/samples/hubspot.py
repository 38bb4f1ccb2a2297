"""Sends marketing's events as HubSpot does: signed (v3), in order, again and again until taken.

Source: developers.hubspot.com, "Validating requests": base64 of HMAC-SHA256, keyed with the
app's client secret, over method + URI + body + timestamp; the timestamp in milliseconds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from urllib.parse import urlsplit

import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.local.samples.control import Control, same
from flockiq.local.samples.life import Life
from flockiq.local.samples.marketing import Marketing
from flockiq.local.samples.universe import rng

PATH = "/api/webhooks/marketing"
EVENTS_A_REQUEST = 20
POLL_S = 0.1
BACKOFF_S = (0.2, 1.0)
"""First and longest wait after a refusal: a feed must be back well before its rule calls it silent."""

MURMUR_S = 4.0
"""Between two events while people do not edit yet: less than the rule allows."""

REPEAT_ONE_IN = 33
TIMEOUT_S = 10.0

log = logging.getLogger("flockiq.samples")


def signature(secret: str, method: str, uri: str, body: bytes, timestamp: str) -> str:
    """The value of ``X-HubSpot-Signature-v3``."""
    signed = method.encode() + uri.encode() + body + timestamp.encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


class Sender:
    """Delivers the outbox. One delivery at a time, so that an object's events stay in order."""

    def __init__(self, life: Life, marketing: Marketing, control: Control) -> None:
        self.life, self.marketing, self.control, self.store = life, marketing, control, life.store
        self._murmur_at = 0.0

    @property
    def app_url(self) -> str:
        """Where the app is."""
        return str(self.store.fact("app_url", default="") or self.life.options.app_url).rstrip("/")

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route("/_control", self._steer, methods=["GET", "POST"])]

    async def _steer(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not same(token, self.life.options.secret):
            return JSONResponse({"error": "not authenticated"}, 401, {"WWW-Authenticate": "Bearer"})
        return await self.control.endpoint(request)

    async def run(self) -> None:
        """Deliver until the system stops."""
        first_s, longest_s = BACKOFF_S
        backoff_s = first_s
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            while not self.life.stopping.is_set():
                batch = self.marketing.head(EVENTS_A_REQUEST)
                if not batch:
                    await self._wait()
                    continue
                last = batch[-1][0]
                body = msgspec.json.encode([event for _, event in batch])
                if await self._post(client, body):
                    backoff_s = first_s
                    self.marketing.taken(last)
                    self.life.requested()
                    self.life.noticed("contacts")
                    if self._is_repeated(last):
                        await self._post(client, body)
                else:
                    self.marketing.refused(last)
                    await asyncio.sleep(backoff_s)
                    backoff_s = min(backoff_s * 2, longest_s)

    async def _wait(self) -> None:
        """Nothing to send: until people edit, one of them is spoken of now and then, once the app is there."""
        if not self.life.asked and await self._reachable():
            self.life.requested()
        quiet = self.life.frozen or self.life.begun or not self.life.asked
        now = time.monotonic()
        if not quiet and now >= self._murmur_at and (self.life.options.rate or self.life.read_us is None):
            self._murmur_at = now + MURMUR_S
            self.marketing.murmur()
        else:
            await asyncio.sleep(POLL_S)

    def _is_repeated(self, last: int) -> bool:
        one_in = int(self.store.fact("repeat_one_in", default=REPEAT_ONE_IN))
        return one_in > 0 and rng(self.life.options.seed, "repeat", last).random() < 1 / one_in

    async def _reachable(self) -> bool:
        address = urlsplit(self.app_url)
        if not address.hostname:
            return False
        try:
            _, writer = await asyncio.open_connection(address.hostname, address.port or 80)
        except OSError:
            return False
        writer.close()
        return True

    async def _post(self, client: httpx.AsyncClient, body: bytes) -> bool:
        uri, timestamp = self.app_url + PATH, str(time.time_ns() // 1_000_000)
        headers = {
            "Content-Type": "application/json",
            "X-HubSpot-Request-Timestamp": timestamp,
            "X-HubSpot-Signature-v3": signature(self.life.options.secret, "POST", uri, body, timestamp),
        }
        try:
            async with client.stream("POST", uri, content=body, headers=headers) as response:
                if not response.is_success:
                    log.info("a delivery was answered %d; it will be tried again", response.status_code)
                return response.is_success
        except httpx.HTTPError as error:
            log.debug("a delivery failed: %s", type(error).__name__)
            return False
