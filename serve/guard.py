"""What stands between the app and the web: who may ask, how much, response headers, a last catch.

The page shows text that came from other people's systems. Templates escape it; these headers see
to it that a browser would not run it even if one slipped through.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flockiq.serve.access import SAFE_METHODS, Caller, Refused, admit
from flockiq.serve.audit import note
from flockiq.serve.limits import ANSWER_S, AT_ONCE, BODY_BYTES, URL_CHARACTERS, Rate, bounded
from flockiq.serve.problems import problem, sentence, status_of
from flockiq.serve.view import View

log = logging.getLogger("flockiq.serve")

_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        # data: images are the icons inside the style sheet's own rules.
        b"; ".join(
            (
                b"default-src 'self'",
                b"img-src 'self' data:",
                b"object-src 'none'",
                b"base-uri 'none'",
                b"form-action 'self'",
                b"frame-ancestors 'none'",
            )
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def same_origin(request: Request) -> bool:
    """Whether a request that changes something comes from our own page, or from no page at all.

    A browser says where a request was made: ``Sec-Fetch-Site``, or the older ``Origin``. A
    program sends neither, and holds no cookie that a stranger's page could ride on.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


def _with_headers(request: Request, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    headers = [*given, *_HEADERS]
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        # What the page is made of may be kept a while; what it shows may not.
        kept = b"max-age=300" if request.url.path.startswith("/static/") else b"no-store"
        headers.append((b"cache-control", kept))
    return headers


class Guard:
    """ASGI middleware around everything the app answers."""

    def __init__(self, app: ASGIApp, view: View) -> None:
        self.app = app
        self._view = view
        self._rate: Rate | None = None
        self._going = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        status = 0

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_headers(request, message["headers"])}
            await send(message)

        who: Caller | None = None
        self._going += 1
        try:
            who = self._let_in(request)
            async with asyncio.timeout(ANSWER_S):
                await self.app(scope, bounded(receive), guarded)
        except Refused as refused:
            await problem(request, refused.status, str(refused))(scope, receive, guarded)
        except TimeoutError:
            if status:
                raise
            late = f"No answer within {ANSWER_S:.0f} s. Trying again is safe."
            await problem(request, 503, late)(scope, receive, guarded)
        except Exception as error:
            # The function must not fail for one bad request: that would be the host's error, not ours.
            log.exception("%s %s failed", request.method, request.url.path)
            if status:
                raise
            await problem(request, status_of(error), sentence(error))(scope, receive, guarded)
        finally:
            self._going -= 1
            if who is not None and request.method not in SAFE_METHODS:
                await note(self._view.services, who, request.method, request.url.path, status)

    def _let_in(self, request: Request) -> Caller:
        """Who asks, if they may and not too much; Refused otherwise."""
        settings = self._view.settings
        if self._rate is None:
            self._rate = Rate(settings.requests_per_s)
        if self._going > AT_ONCE:
            raise Refused(503, "Too much is asked at once. Wait a moment.")
        if len(str(request.url)) > URL_CHARACTERS:
            raise Refused(414, f"The address has more than {URL_CHARACTERS:,} characters.")
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:12]) > BODY_BYTES:
            raise Refused(413, f"The body has more than {BODY_BYTES:,} bytes.")
        if request.method not in SAFE_METHODS and not same_origin(request):
            raise Refused(403, "Changes are taken from FlockIQ's own page only, not from another site's.")
        who = admit(request, settings.access)
        self._rate.take(who.name)
        return who
