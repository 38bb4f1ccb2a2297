"""What stands between the app and the web: response headers, same-origin writes, a last catch.

The page shows text that came from other people's systems. Templates escape it; these headers see
to it that a browser would not run it even if one slipped through.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flockiq.serve.problems import problem, sentence, status_of

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

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


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


class Guard:
    """ASGI middleware around everything the app answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message["headers"])
                headers += _HEADERS
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    # What the page is made of may be kept a while; what it shows may not.
                    kept = b"max-age=300" if request.url.path.startswith("/static/") else b"no-store"
                    headers.append((b"cache-control", kept))
                message = {**message, "headers": headers}
            await send(message)

        if request.method not in _SAFE_METHODS and not same_origin(request):
            refusal = problem(request, 403, "Changes are taken from FlockIQ's own page only, not from another site's.")
            await refusal(scope, receive, guarded)
            return
        try:
            await self.app(scope, receive, guarded)
        except Exception as error:
            # The function must not fail for one bad request: that would be the host's error, not ours.
            log.exception("%s %s failed", request.method, request.url.path)
            if started:
                raise
            await problem(request, status_of(error), sentence(error))(scope, receive, guarded)
