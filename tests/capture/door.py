"""The door that senders knock at: the webhook function behind a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import azure.functions as func
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flockiq.capture import functions
from tests.capture.peers.server import serve


async def _knock(request: Request) -> Response:
    given = func.HttpRequest(
        request.method,
        str(request.url),
        headers=dict(request.headers),
        route_params={"source": request.path_params["source"]},
        body=await request.body(),
    )
    answer = await functions.capture_webhook(given)
    return Response(answer.get_body(), answer.status_code, dict(answer.headers), answer.mimetype)


@asynccontextmanager
async def open_door() -> AsyncIterator[str]:
    """Serve the function; the address that comes before the source's name."""
    app = Starlette(routes=[Route("/api/webhooks/{source}", _knock, methods=["POST"])])
    async with serve(app) as url:
        yield f"{url}/api/webhooks"
