"""The API's description, made from the same types that are sent: msgspec's, declared once.

It tells of everything under /api, also of what is answered before a route is found, and of webhooks, which
are a function of their own.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BeforeValidator

from flockiq.serve.access import role_for

_NUMBER = re.compile(r"[+-]?[\d_]+(\.[\d_]*)?")


def _no_number(given: object) -> object:
    if isinstance(given, str) and _NUMBER.fullmatch(given.strip()):
        raise ValueError("must be a date, or a date and time, such as 2026-01-31T08:00:00Z")
    return given


type Moment = Annotated[dt.datetime, BeforeValidator(_no_number)]
"""A date and time. Numbers are none: pydantic would take them for seconds, or milliseconds, since 1970."""

_REF = "#/components/schemas/{name}"


class Json(Response):
    """A response whose content is any msgspec type."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The content's bytes."""
        return msgspec.json.encode(content)


def answers(kind: type, *problems: int) -> dict[int | str, dict[str, Any]]:
    """A route's ``responses=``: 200 with ``kind``, and problem documents for these statuses."""
    described: dict[int | str, dict[str, Any]] = {
        200: {"description": (kind.__doc__ or "").strip(), "content": {"application/json": {"schema": _ref(kind)}}}
    }
    for status in problems:
        content = {"application/problem+json": {"schema": {"$ref": _REF.format(name="ProblemDocument")}}}
        described[status] = {"description": "What went wrong, and the way out.", "content": content}
    return described


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


_COMMON = {
    "400": "Something in the request is of no use; the detail says what.",
    "401": "Nobody is signed in; with Entra ID only.",
    "403": "The caller's role, or the site that asks, may not do this.",
    "413": "The body is too large.",
    "414": "The address is too long.",
    "429": "The caller asks too often; Retry-After says when to come back.",
    "500": "Something unexpected happened; the log has the details.",
    "503": "Something this leans on does not answer; Retry-After says when to come back.",
}

_SIGN_IN = {
    "entra": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of Entra ID for this app, with the app role reader, operator or admin.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "x-functions-key", "description": "A function key."},
}

_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_WEBHOOK = {
    "post": {
        "tags": ["webhooks"],
        "summary": "Take a delivery of a source",
        "description": "The signature says who sends it, as the source's config declares: no token and no key.",
        "operationId": "take_delivery",
        "security": [],
        "parameters": [{"name": "source", "in": "path", "required": True, "schema": {"type": "string"}}],
        "requestBody": {"content": {"application/json": {"schema": {}}}},
        "responses": {
            "200": {"description": "The answer to a validation handshake.", "content": _TEXT},
            "204": {"description": "Taken."},
            "400": {"description": "No delivery of this source.", "content": _TEXT},
            "401": {"description": "The signature does not match, or is too old.", "content": _TEXT},
            "404": {"description": "No source of this name takes webhooks.", "content": _TEXT},
            "413": {"description": "The delivery is too large.", "content": _TEXT},
            "503": {"description": "Not now; send it again.", "content": _TEXT},
        },
    }
}


def describe(app: FastAPI, kinds: Sequence[type]) -> None:
    """Let ``app.openapi()`` tell the schemas of ``kinds``, which ``answers`` refers to."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(schemas)
            components["securitySchemes"] = _SIGN_IN
            components["responses"] = {status: _problem(said) for status, said in _COMMON.items()}
            document["security"] = [{name: []} for name in _SIGN_IN]
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    operation["description"] = f"Takes the role {role_for(method.upper(), path)}."
                    _complete(operation["responses"])
            document["paths"]["/api/webhooks/{source}"] = _WEBHOOK
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _complete(responses: dict[str, Any]) -> None:
    """With what any request may be answered; without FastAPI's guess that a response of ours is a text."""
    for answer in responses.values():
        for content in answer.get("content", {}).values():
            if "$ref" in content["schema"]:
                content["schema"].pop("type", None)
    for status in _COMMON:
        responses.setdefault(status, {"$ref": f"#/components/responses/{status}"})
    _no_validation_errors(responses)


def _no_validation_errors(responses: dict[str, Any]) -> None:
    """FastAPI's own 422 is never sent: errors of ours are problem documents."""
    if "application/json" in responses.get("422", {}).get("content", {}):
        responses["422"] = _problem("The request is not as described; the detail says where.")


def _problem(said: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name="ProblemDocument")}
    return {"description": said, "content": {"application/problem+json": {"schema": schema}}}
