"""How a test steers a sample system: ``/_control``, with the system's own credentials.

GET tells how it stands; POST gives orders. Faults are per stream and last until taken back.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from flockiq.local.samples.life import Life
from flockiq.local.samples.store import Body

Fault = Literal["error", "hang", "invalid_json", "huge", "wrong_types"]

HUGE_BYTES = 50_000_000
_CHUNK = b'{"padding":"' + b"x" * 999_985 + b'"},'
MOST_ORDER_BYTES = 64_000


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many requests are answered in a sliding window of so many seconds."""

    requests: int = 6_000
    window_s: float = 300.0


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a test may ask for; what it leaves out stays as it is."""

    freeze: bool | None = None  # nothing changes by itself any more | goes on
    edit: int = 0  # so many ordinary edits, now
    expire_tokens: bool = False  # every delta token given so far is too old
    token_lifetime_s: float | None = None
    budget: Budget | None = None
    throttle_one_in: int | None = None  # a request in so many is refused at random; 0: none
    repeat_one_in: int | None = None  # a delivery in so many is made twice; 0: none
    faults: dict[str, Fault | None] = {}
    app_url: str | None = None  # where webhooks go
    stop: bool = False


class Control:
    """The orders in force. All but the faults of a stream outlive the process."""

    def __init__(self, life: Life) -> None:
        self.life, self.store = life, life.store

    def fault(self, stream: str) -> Fault | None:
        """What is wrong with ``stream``, by order."""
        fault: Fault | None = msgspec.convert(self.store.fact(f"fault/{stream}"), Fault | None)
        return fault

    def budget(self) -> Budget:
        """How many requests are answered."""
        return msgspec.convert(self.store.fact("budget", default={}), Budget)

    def obey(self, orders: Orders) -> None:
        """Carry out ``orders``."""
        remember = self.store.remember
        if orders.freeze is not None:
            remember("frozen", orders.freeze)
        if orders.expire_tokens:
            remember("expired_upto", self.store.version)
        for name in ("token_lifetime_s", "budget", "throttle_one_in", "repeat_one_in", "app_url"):
            if (value := getattr(orders, name)) is not None:
                remember(name, value)
        for stream, fault in orders.faults.items():
            remember(f"fault/{stream}", fault)
        self.life.edit(orders.edit)
        if orders.stop:
            self.life.stopping.set()

    def state(self) -> dict[str, Any]:
        """How the system stands."""
        facts = self.store.facts
        return {
            "system": self.life.business.name,
            "pid": os.getpid(),
            "seed": self.life.options.seed,
            "frozen": self.life.frozen,
            "read_us": self.life.read_us,
            "edits": self.store.fact("edits", default=0),
            "version": self.store.version,
            "steps": {name.removeprefix("step/"): at_us for name, at_us in facts("step/").items()},
            "faults": {name.removeprefix("fault/"): fault for name, fault in facts("fault/").items() if fault},
            "waiting": self.life.business.waiting(),
            "app_url": self.store.fact("app_url", default=""),
        }

    async def endpoint(self, request: Request) -> Response:
        """GET or POST ``/_control``; the caller has checked the credentials."""
        if request.method == "POST":
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_ORDER_BYTES:
                    return JSONResponse({"error": "too many orders"}, 413)
            try:
                self.obey(msgspec.json.decode(body, type=Orders))
            except msgspec.ValidationError as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(self.state())


def same(given: str, secret: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), secret.encode())


async def misbehave(fault: Fault, request: Request) -> Response:
    """An answer that is wrong as ordered. ``wrong_types`` is not one: see ``disfigure``."""
    match fault:
        case "error":
            return Response("<html><body><h1>Internal Server Error</h1></body></html>", 500, media_type="text/html")
        case "hang":
            while not await request.is_disconnected():  # noqa: ASYNC110 - it tells only when asked
                await asyncio.sleep(0.1)
            return Response(status_code=500)
        case "invalid_json":
            return Response(b'{"value": [{"name": "cut off in the mid', media_type="application/json")
        case _:
            return StreamingResponse(_huge(), media_type="application/json")


async def _huge() -> AsyncIterator[bytes]:
    yield b'{"value": ['
    for _ in range(HUGE_BYTES // len(_CHUNK) + 1):
        yield _CHUNK
    yield b"{}]}"


def disfigure(fields: Body, keep: frozenset[str]) -> Body:
    """The record with values of the wrong types, its key and time of change left alone."""

    def wrong(value: Any) -> Any:
        return {"unexpected": [value]} if isinstance(value, str) else "not a number"

    return {name: value if name in keep else wrong(value) for name, value in fields.items()}
