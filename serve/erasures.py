"""Erasing a person or a company, for an admin. The key is in the body: addresses are kept in logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from flockiq.serve.schema import Json, answers
from flockiq.serve.view import View, now_us
from flockiq.shared.config.load import config
from flockiq.shared.erasure import Erasure, erase
from flockiq.shared.wire import MAX_KEY


class ErasureAsked(BaseModel):
    """Whom or what to erase: an entity's id or match key, or a record as source/stream/key."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[StrictStr, Field(min_length=1, max_length=MAX_KEY)]
    type: Annotated[StrictStr, Field(max_length=63, description="An entity type; all without.")] = ""


def routes(view: View) -> APIRouter:
    """The API's routes over ``view``, under /api."""
    router = APIRouter(default_response_class=Json)

    @router.post(
        "/erasures",
        responses=answers(Erasure, 400, 403, 409, 422, 503),
        tags=["erasures"],
        summary="Erase a person or company, or go on with it: ask again until it is done",
    )
    async def go_on_erasing(asked: ErasureAsked) -> Response:
        return Json(await erase(view.services, config(), asked.key, asked.type, now_us()))

    return router
