"""The web application: API and page under one roof."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from flockiq import __version__
from flockiq.serve import api, page
from flockiq.serve.guard import Guard
from flockiq.serve.problems import problem, sentence, status_of, wants_page
from flockiq.serve.schema import describe
from flockiq.serve.view import View
from flockiq.shared.errors import FlockIQError
from flockiq.shared.services import Services
from flockiq.shared.settings import Settings

STATIC = Path(__file__).resolve().parent / "static"


def application(open_services: Callable[[], Services], read_settings: Callable[[], Settings] | None = None) -> FastAPI:
    """The ASGI application. See ``View`` for what its arguments are asked, and when."""
    app = FastAPI(
        title="FlockIQ",
        version=__version__,
        description="Alerts, golden records and the state of every source.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    view = View(open_services, read_settings)
    app.include_router(api.routes(view))
    app.include_router(page.routes(view))
    app.mount("/static", StaticFiles(directory=STATIC))
    describe(app, api.KINDS)

    async def failed(request: Request, error: Exception) -> Response:
        status, detail = status_of(error), sentence(error)
        if wants_page(request):
            return page.problem_page(request, status, detail)
        return problem(request, status, detail)

    for kind in (FlockIQError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, failed)
    # Inside Starlette's own last catch, which answers and then raises again: the function would fail.
    app.add_middleware(Guard, view=view)
    return app
