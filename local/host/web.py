"""HTTP triggers: an ASGI application in front of the app's functions.

It listens on the loopback interface and answers only requests addressed to it by that name, so
that no page a browser has open elsewhere can reach the app through a name of its own (DNS
rebinding) or by posting across origins.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from flockiq.local.host.functions import Function, HttpTrigger
from flockiq.local.host.invoker import Input, Invoker
from flockiq.local.host.keys import Keys
from flockiq.local.host.messages import RpcHttp, RpcHttpCookie, TypedData
from flockiq.local.host.routes import MethodNotAllowed, Router

log = logging.getLogger("flockiq.host")

type Scope = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]
type Send = Callable[[Mapping[str, Any]], Awaitable[None]]
type Headers = Sequence[tuple[str, str]]

_BODY_S = 60.0  # a request that takes longer than this to arrive on loopback never will
_MOST_PARAMETERS = 1000
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# The server frames the response; a function does not.
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})


class Refusal(Exception):
    """A request the host answers itself."""

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        self.status = status
        self.message = message
        self.headers = headers
        super().__init__(message)


class Response(NamedTuple):
    """What goes back."""

    status: int
    headers: Headers
    body: bytes


class WebApp:
    """The ASGI application; ``port`` is the one it is reached by."""

    def __init__(
        self,
        router: Router,
        invoker: Invoker,
        keys: Keys,
        *,
        port: int,
        open_on_loopback: bool,
        body_limit: int,
        most: int,
    ) -> None:
        self._router = router
        self._invoker = invoker
        self._keys = keys
        self._open = open_on_loopback
        self._body_limit = body_limit
        self._most = most
        self._held = 0
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        if port == 80:  # noqa: PLR2004 - browsers leave HTTP's own port out
            self._hosts |= {"127.0.0.1", "localhost"}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # a websocket; closing before accepting answers 403
            await send({"type": "websocket.close"})
            return
        try:
            response = await self._answer(scope, receive)
        except Refusal as refusal:
            text = ("content-type", "text/plain; charset=utf-8")
            response = Response(refusal.status, [text, *refusal.headers], f"{refusal.message}\n".encode())
        await _send(send, response, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        headers = _joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        self._check_address(headers)
        raw_path = scope["raw_path"].decode("latin-1")
        try:
            match = self._router.match(scope["method"], raw_path)
        except MethodNotAllowed as error:
            raise Refusal(405, f"This path answers {error} only.", [("allow", str(error))]) from error
        if match is None:
            raise Refusal(404, "No function answers this path.")
        query_string = scope["query_string"].decode("latin-1")
        try:
            query = _joined(parse_qsl(query_string, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS))
        except ValueError as error:
            raise Refusal(400, f"The query has more than {_MOST_PARAMETERS} parameters.") from error
        self._check_key(match.function, headers, query)
        if self._held >= self._most:
            raise Refusal(429, "Too many requests at once; try again.", [("retry-after", "1")])
        self._held += 1
        try:
            body = await self._body(headers, receive)
            request = RpcHttp(
                method=scope["method"],
                url=f"http://{headers['host']}{raw_path}" + (f"?{query_string}" if query_string else ""),
                headers=headers,
                body=TypedData(bytes=body),
                params=match.parameters,
                query=query,
            )
            return await self._invoke(match.function, request)
        finally:
            self._held -= 1

    def _check_address(self, headers: Mapping[str, str]) -> None:
        if headers.get("host", "").lower() not in self._hosts:
            raise Refusal(421, f"This host answers to {' and '.join(sorted(self._hosts))} only.")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self._origins:
            raise Refusal(403, "Pages of other origins may not call this host.")

    def _check_key(self, function: Function, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        level = function.trigger.auth_level if isinstance(function.trigger, HttpTrigger) else "admin"
        given = [key for key in (headers.get("x-functions-key"), query.get("code")) if key]
        if not self._open and not self._keys.open(level, given):
            raise Refusal(401, "Send a key that opens this function as x-functions-key; keys.json has them.")

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        too_large = Refusal(413, f"The body is over {self._body_limit} bytes.")
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._body_limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "The request ended early.")
                    body += message.get("body", b"")
                    if len(body) > self._body_limit:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise Refusal(408, f"The body did not arrive within {_BODY_S:g} s.") from error

    async def _invoke(self, function: Function, request: RpcHttp) -> Response:
        trace = request.headers.get("traceparent", "")
        given = Input(TypedData(http=request), {}, trace if _TRACEPARENT.fullmatch(trace) else "")
        outcome = await self._invoker.once(function, given)
        if outcome.error is not None:
            # As in Azure, the caller learns that it failed, and the log why.
            raise Refusal(500, f"{function.name} failed; the host's log has the reason.")
        try:
            return _response(outcome.value)
        except (ValueError, TypeError) as error:
            log.exception("%s gave a response that can't be sent", function.name)
            raise Refusal(500, f"{function.name} gave a response that can't be sent.") from error


async def _send(send: Send, response: Response, *, head: bool) -> None:
    headers = [*response.headers, ("content-length", str(len(response.body)))]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if head else response.body})


def _joined(pairs: Any) -> dict[str, str]:
    """Repeated names become one, their values joined by commas, as ASP.NET Core hands them on."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _response(value: TypedData | None) -> Response:
    """The response a function's return value stands for. ValueError if it can't be sent."""
    if value is None:
        return Response(204, [], b"")
    held = value.held
    if not isinstance(held, RpcHttp):
        return Response(200, [("content-type", "text/plain; charset=utf-8")], _bytes(value))
    headers = [(name.lower(), text) for name, text in held.headers.items() if name.lower() not in _FRAMING]
    headers += [("set-cookie", _cookie(cookie)) for cookie in held.cookies or ()]
    for name, text in headers:
        if "\n" in text or "\r" in text or not text.isprintable():
            raise ValueError(f"the header {name} holds characters that a header can't")
        text.encode("latin-1")
    status = int(held.status_code)
    if not 200 <= status <= 599:  # noqa: PLR2004 - RFC 9110, 15: the final responses
        raise ValueError(f"{status} is no status of a final response")
    return Response(status, headers, b"" if held.body is None else _bytes(held.body))


def _bytes(value: TypedData) -> bytes:
    held = value.held
    return held if isinstance(held, bytes) else str(held).encode()


def _cookie(cookie: RpcHttpCookie) -> str:
    jar: SimpleCookie = SimpleCookie()
    jar[cookie.name] = cookie.value
    morsel = jar[cookie.name]
    for attribute, given in (("domain", cookie.domain), ("path", cookie.path), ("max-age", cookie.max_age)):
        if given is not None and given.value not in {"", None}:
            morsel[attribute] = f"{given.value:g}" if isinstance(given.value, float) else given.value
    if cookie.expires is not None:
        morsel["expires"] = formatdate(cookie.expires.value.seconds, usegmt=True)
    morsel["secure"] = bool(cookie.secure and cookie.secure.value)
    morsel["httponly"] = bool(cookie.http_only and cookie.http_only.value)
    if cookie.same_site is not None and cookie.same_site.name != "None":
        morsel["samesite"] = cookie.same_site.name.removeprefix("Explicit")
    return morsel.OutputString()
