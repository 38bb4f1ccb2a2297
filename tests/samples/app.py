"""A stand-in for the app: takes webhooks as told to, and tells the alerts it is given."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class App:
    """Listens on 127.0.0.1 in a thread of its own."""

    def __init__(self) -> None:
        self.data = Path()  # of the sample systems, which keep the secret there
        self.answers: list[int] = []  # statuses to give before taking anything
        self.posts: list[tuple[float, int, list[dict[str, Any]]]] = []  # when, our answer, the events
        self.forged = 0
        self.alerts: list[dict[str, Any]] = []
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    @property
    def secret(self) -> bytes:
        """What deliveries are signed with."""
        kept: dict[str, str] = json.loads((self.data / "samples" / "secrets.json").read_bytes())
        return kept["marketing"].encode()

    @property
    def taken(self) -> list[dict[str, Any]]:
        """Every event of the deliveries we accepted, in order."""
        return [event for _, status, events in list(self.posts) if status == 204 for event in events]

    async def webhook(self, request: Request) -> Response:
        """Verify as HubSpot's documentation says, then answer what comes next in ``answers``, or 204."""
        body = await request.body()
        timestamp = request.headers["x-hubspot-request-timestamp"]
        signed = b"POST" + f"{self.url}/api/webhooks/marketing".encode() + body + timestamp.encode()
        expected = base64.b64encode(hmac.new(self.secret, signed, hashlib.sha256).digest())
        fresh = abs(time.time() - int(timestamp) / 1e3) < 300
        if not fresh or not hmac.compare_digest(expected, request.headers["x-hubspot-signature-v3"].encode()):
            self.forged += 1
            return Response(status_code=401)
        status = self.answers.pop(0) if self.answers else 204
        self.posts.append((time.time(), status, json.loads(body)))
        return Response(status_code=status)

    async def listed(self, request: Request) -> Response:
        """Alerts, two a page."""
        start = int(request.query_params.get("continuation") or 0)
        more = str(start + 2) if start + 2 < len(self.alerts) else ""
        return JSONResponse({"alerts": self.alerts[start : start + 2], "continuation": more})

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Answer requests for as long as this lasts."""
        routes = [
            Route("/api/webhooks/marketing", self.webhook, methods=["POST"]),
            Route("/api/alerts", self.listed),
        ]
        config = uvicorn.Config(Starlette(routes=routes), lifespan="off", ws="none", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [self.socket]})
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()
            self.socket.close()
