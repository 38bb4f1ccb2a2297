"""Errors as people and programs read them: RFC 9457 problem documents, or a page for a browser."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from flockiq.shared.errors import BadRecord, Conflict, FlockIQError, NotFound, TransientError
from flockiq.shared.replay import NotReplayable

_STATUS: tuple[tuple[type[FlockIQError], int], ...] = (
    (NotFound, 404),
    (NotReplayable, 409),
    (BadRecord, 400),
    (Conflict, 409),
    (TransientError, 503),
)


_LATER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


class ProblemDocument(msgspec.Struct, frozen=True):
    """RFC 9457: what went wrong, and the way out."""

    title: str
    status: int
    detail: str
    instance: str
    type: str = "about:blank"


def status_of(error: Exception) -> int:
    """The HTTP status that says what happened."""
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError):
        return 422
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def sentence(error: Exception) -> str:
    """What to tell whoever asked; the inside of an unexpected error stays inside."""
    match error:
        case RequestValidationError():
            wrong = "; ".join(f"{'.'.join(str(part) for part in e['loc'][1:])}: {e['msg']}" for e in error.errors())
            return f"The request is not valid: {wrong}"
        case HTTPException(status_code=404):
            return "There is nothing at this address. /api/openapi.json lists what there is."
        case HTTPException():
            return str(error.detail)
        case FlockIQError():
            return str(error)
    return "Something unexpected happened. The log has the details; trying again is safe."


def problem(request: Request, status: int, detail: str) -> Response:
    """A problem document as a response."""
    title = HTTPStatus(status).phrase
    document = ProblemDocument(title=title, status=status, detail=detail, instance=request.url.path)
    headers = {"Retry-After": "2"} if status in _LATER else None
    return Response(
        msgspec.json.encode(document), status_code=status, media_type="application/problem+json", headers=headers
    )


def wants_page(request: Request) -> bool:
    """Whether a person's browser asked, rather than a program."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")
