"""The API's description, made from the same types that are sent: msgspec's, declared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

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


def describe(app: FastAPI, kinds: Sequence[type]) -> None:
    """Let ``app.openapi()`` tell the schemas of ``kinds``, which ``answers`` refers to."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
