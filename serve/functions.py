"""The HTTP functions: the page and API, and the state of every dependency.

Both are anonymous to the Functions host: who may open them is decided in front of it (App Service
sign-in, API Management), and on one machine by the loopback address. Starting the
worker does not load FastAPI; the first request does.
"""

from __future__ import annotations

from functools import cache

import azure.functions as func

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the library has no annotation there


@cache
def _middleware() -> func.AsgiMiddleware:
    from flockiq.serve.app import application  # noqa: PLC0415 - a third of a second that only HTTP needs
    from flockiq.shared.services import services  # noqa: PLC0415 - likewise

    return func.AsgiMiddleware(application(services))  # type: ignore[no-untyped-call]  # likewise


@blueprint.function_name("serve")
@blueprint.route("{*path}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def serve(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The page at /, the API under /api."""
    answer: func.HttpResponse = await _middleware().handle_async(req, context)
    return answer


@blueprint.function_name("health")
@blueprint.route("api/health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Every dependency, source and hub; 503 when something essential is down."""
    answer: func.HttpResponse = await _middleware().handle_async(req, context)
    return answer
