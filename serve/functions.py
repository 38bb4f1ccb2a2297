"""The HTTP functions: the page and API, and the state of every dependency.

Who may open them is said by FLOCKIQ_ACCESS (see ``serve.access``): with ``keys`` the Functions host asks for a
function key; else the host lets everybody in, and the app looks at who it is. Starting the worker does not load
FastAPI; the first request does.
"""

from __future__ import annotations

from functools import cache

import azure.functions as func

from flockiq.shared.settings import read

LEVEL = func.AuthLevel.FUNCTION if read().access == "keys" else func.AuthLevel.ANONYMOUS
blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the library has no annotation there


@cache
def _middleware() -> func.AsgiMiddleware:
    from flockiq.serve.app import application  # noqa: PLC0415 - a third of a second that only HTTP needs
    from flockiq.shared.services import services  # noqa: PLC0415 - likewise

    return func.AsgiMiddleware(application(services, read))  # type: ignore[no-untyped-call]  # likewise


@blueprint.function_name("serve")
@blueprint.route("{*path}", methods=["GET", "POST"], auth_level=LEVEL)
async def serve(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The page at /, the API under /api."""
    answer: func.HttpResponse = await _middleware().handle_async(req, context)
    return answer


@blueprint.function_name("health")
@blueprint.route("api/health", methods=["GET"], auth_level=LEVEL)
async def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Every dependency, source and hub; 503 when something essential is down."""
    answer: func.HttpResponse = await _middleware().handle_async(req, context)
    return answer
