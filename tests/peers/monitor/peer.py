"""Azure Monitor's ingestion on 127.0.0.1 over TLS: what Application Insights takes from Microsoft's exporter.

Models, for ``azure-monitor-opentelemetry-exporter`` unmodified:

- ``POST /v2.1/track``: a batch of envelopes as JSON, of spans and of metrics; from an identity alone, as where local
  auth is off: a token of ``issuer`` for ``https://monitor.azure.com``;
- 206 for a batch of which some were taken, with the index and status of each of the others.

From: the exporter's own code and its client's description of the endpoint
(https://learn.microsoft.com/azure/azure-monitor/app/azure-ad-authentication).

Does not model: instrumentation keys and what belongs to which, sampling, quotas, redirects to other stamps, live
metrics, the exporter's own statistics (which go elsewhere).

Faults (``faults``; at ``track``):

============ =====================================================================================================
throttled    429, with Retry-After
unavailable  503, and nothing is done
dropped      the connection is cut off, and nothing is done
partial      206: all but the first envelope is taken, the first may be sent again
expired      401: the token has run out
============ =====================================================================================================
"""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final, Self

from aiohttp import web

from tests.peers.faults import Faults
from tests.peers.loop import Loop
from tests.peers.tokens import Issuer

KINDS: Final = ("throttled", "unavailable", "dropped", "partial", "expired")
RESOURCE: Final = "https://monitor.azure.com"
_KEY: Final = "00000000-0000-0000-0000-000000000001"


class Monitor:
    """Application Insights with nothing in it, for one identity; serves from entering to leaving.

    ``certificate`` is what it serves TLS with; ``issuer`` gives the identity its tokens.
    """

    def __init__(self, certificate: ssl.SSLContext, issuer: Issuer) -> None:
        self.faults = Faults(KINDS)
        self.taken: list[Mapping[str, Any]] = []
        """Every envelope that was taken, in the order they came."""
        self._certificate, self._issuer = certificate, issuer

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._loop = stack.enter_context(Loop())
            self._loop.run(self._listen())
            stack.callback(lambda: self._loop.run(self._runner.cleanup()))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    @property
    def environment(self) -> Mapping[str, str]:
        """The app setting that names it."""
        said = f"InstrumentationKey={_KEY};IngestionEndpoint=https://localhost:{self._port}/"
        return {"APPLICATIONINSIGHTS_CONNECTION_STRING": said}

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_post("/{slash:/?}v2.1/track", self._track)  # the endpoint's name ends with one already
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._certificate).start()
        self._port: int = self._runner.addresses[0][1]

    async def _track(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            self._issuer.ends(request.headers.get("Authorization", "").removeprefix("Bearer "), RESOURCE)
        except PermissionError:
            return web.Response(status=401)
        if self.faults.strikes("throttled", "track"):
            return web.Response(status=429, headers={"Retry-After": "1"})
        if self.faults.strikes("unavailable", "track"):
            return web.Response(status=503)
        if self.faults.strikes("expired", "track"):
            return web.Response(status=401)
        if self.faults.strikes("dropped", "track"):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        given = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        errors = []
        if self.faults.strikes("partial", "track"):
            errors = [{"index": 0, "statusCode": 503, "message": "as planned"}]
        self.taken += given[len(errors) :]
        answer = {"itemsReceived": len(given), "itemsAccepted": len(given) - len(errors), "errors": errors}
        return web.json_response(answer, status=206 if errors else 200)
