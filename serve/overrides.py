"""A person sets a golden field for a while, or takes that back: told to whoever keeps the entity.

Nothing is stored here: what a person says travels as a line of hub ``resolved`` and is folded like
anything else that is known of the entity, so the page shows it a moment later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import parse_qs

import msgspec
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from flockiq.serve.actions import operator
from flockiq.serve.entities import Entity, entity
from flockiq.serve.schema import Json, answers
from flockiq.serve.view import View, now_us
from flockiq.shared import rawhistory, wire
from flockiq.shared.config.durations import LONGEST_US, UNITS, format_duration
from flockiq.shared.config.load import config
from flockiq.shared.config.model import Entity as EntityType
from flockiq.shared.errors import BadRecord, NotFound
from flockiq.shared.fields import MAX_TEXT, canonical
from flockiq.shared.instants import instant_us, rfc3339
from flockiq.shared.positions import bucket, group_of, hash_id
from flockiq.shared.services import Services

Value = str | int | float | bool | None

PERIODS: Mapping[str, int] = {
    "an hour": UNITS["h"],
    "a day": UNITS["d"],
    "a week": UNITS["w"],
    "30 days": 30 * UNITS["d"],
    "a year": 365 * UNITS["d"],
}
"""For how long the page offers to set a field, µs."""

_FORM_BYTES = 4 * MAX_TEXT

Type = Annotated[str, Path(min_length=1, max_length=63)]
Id = Annotated[str, Path(min_length=1, max_length=200)]
OverrideId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class OverrideAsked(BaseModel):
    """A golden field to be set until a time, whatever the sources say; null: to no value."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    field: str = Field(min_length=1, max_length=63, description="A field of the entity type.")
    value: StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, Field(max_length=MAX_TEXT)] | None
    until: AwareDatetime = Field(description="When the rules decide again; at most ten years ahead.")


class OverrideTold(msgspec.Struct, frozen=True):
    """What was told to the engine: ``id`` names the override to whoever takes it back."""

    id: str
    entity_id: str
    field: str
    value: Value
    until: str  # RFC 3339
    by: str


def routes(view: View) -> APIRouter:
    """The API's routes over ``view``, under /api."""
    router = APIRouter(default_response_class=Json)

    @router.post(
        "/entities/{kind}/{entity_id}/overrides",
        responses=answers(OverrideTold, 400, 403, 404, 422, 503),
        tags=["entities"],
        summary="Set a golden field until a time",
    )
    async def override(request: Request, kind: Type, entity_id: Id, asked: OverrideAsked) -> Response:
        until_us = instant_us(asked.until.isoformat())
        by, now = operator(request), now_us()
        return Json(await tell(view.services, kind, entity_id, asked.field, asked.value, until_us, by=by, now_us=now))

    @router.post(
        "/entities/{kind}/{entity_id}/overrides/{override_id}/end",
        responses=answers(OverrideTold, 400, 403, 404, 422, 503),
        tags=["entities"],
        summary="Take back what a person set",
    )
    async def end_override(request: Request, kind: Type, entity_id: Id, override_id: OverrideId) -> Response:
        return Json(await take_back(view.services, kind, entity_id, override_id, operator(request), now_us()))

    return router


def page_routes(view: View) -> APIRouter:
    """The page's routes over ``view``."""
    router = APIRouter(include_in_schema=False)

    @router.post("/entities/{kind}/{entity_id}/overrides")
    async def override_on_page(request: Request, kind: Type, entity_id: Id) -> Response:
        field, value, period = await _form(request, "field", "value", "period")
        if period not in PERIODS:
            raise BadRecord(f"say for how long: {', '.join(PERIODS)}")
        now, by = now_us(), operator(request)
        until_us = now + PERIODS[period]
        await tell(view.services, kind, entity_id, field, value or None, until_us, by=by, now_us=now)
        return RedirectResponse(f"/entities/{entity_id}", status_code=303)

    @router.post("/entities/{kind}/{entity_id}/overrides/{override_id}/end")
    async def end_on_page(request: Request, kind: Type, entity_id: Id, override_id: OverrideId) -> Response:
        await take_back(view.services, kind, entity_id, override_id, operator(request), now_us())
        return RedirectResponse(f"/entities/{entity_id}", status_code=303)

    return router


async def tell(
    services: Services, kind: str, entity_id: str, field: str, value: Value, until_us: int, *, by: str, now_us: int
) -> OverrideTold:
    """Tell the engine to set a field. NotFound: no such entity; BadRecord: the field, value or time is not to be."""
    found, known = await _overridable(services, kind, entity_id)
    if field not in found.overridable:
        raise BadRecord(f"{field!r} is not to be set: {', '.join(found.overridable)} are")
    if until_us <= now_us:
        raise BadRecord(f"until {rfc3339(until_us)} is over: say a time that is to come", field="until")
    if until_us > now_us + LONGEST_US:
        raise BadRecord(f"until lies more than {format_duration(LONGEST_US)} ahead", field="until")
    said = canonical(known.fields[field], value)
    data = _about(found, known, field, by, now_us)
    override_id = hash_id(services.settings.tenant, entity_id, field, by, str(now_us), repr(said), str(until_us))
    await _publish(services, override_id, msgspec.structs.replace(data, value=said, until_us=until_us))
    return OverrideTold(override_id, entity_id, field, said, rfc3339(until_us), by)


async def take_back(
    services: Services, kind: str, entity_id: str, override_id: str, by: str, now_us: int
) -> OverrideTold:
    """Tell the engine that an override is over. NotFound if it is not what the golden record shows."""
    found, known = await _overridable(services, kind, entity_id)
    shown = next((one for one in found.fields if one.override == override_id), None)
    if shown is None:
        raise NotFound(f"override {override_id} is not in force on entity {entity_id!r}: it has ended or been replaced")
    data = _about(found, known, shown.field, by, now_us)
    ends = hash_id(override_id, by, str(now_us))
    await _publish(services, ends, msgspec.structs.replace(data, ends=override_id))
    return OverrideTold(override_id, entity_id, shown.field, shown.value, rfc3339(now_us), by)


async def _overridable(services: Services, kind: str, entity_id: str) -> tuple[Entity, EntityType]:
    found, known = await entity(services, entity_id), config().entities.get(kind)
    if found.type != kind or known is None:
        raise NotFound(f"there is no {kind} {entity_id!r}; search by name or key at /entities")
    if not known.overrides:
        raise BadRecord(f"nobody sets fields of a {kind}: overrides: true in {known.file} lets them")
    return found, known


def _about(found: Entity, known: EntityType, field: str, by: str, now_us: int) -> wire.OverrideData:
    """What a line says of the entity and of who says it."""
    by_field = known.partition_by
    placed = next((one.value for one in found.fields if one.field == by_field), None)
    if by_field is not None and placed is None and found.deleted:
        raise BadRecord(f"it is deleted in every system, so nothing says its {by_field}, which it is kept by")
    return wire.OverrideData(
        entity=found.type,
        entity_id=found.id,
        match_key=found.match_key,
        group=group_of(found.type, found.id, placed if by_field is not None else None),
        field=field,
        by=by[: wire.MAX_BY],
        at_us=now_us,
    )


async def _publish(services: Services, line_id: str, data: wire.OverrideData) -> None:
    line = wire.Override(
        id=line_id,
        source="flockiq",
        type=wire.OVERRIDE,
        time=rfc3339(data.at_us),
        tenant=services.settings.tenant,
        subject=f"{data.entity}/{data.entity_id}",
        data=data,
    )
    await rawhistory.keep_line(services.blobs, services.settings.tenant, data.at_us, wire.encode(line))
    partition = bucket(data.group, await services.events.partition_count("resolved"))
    await services.events.publish("resolved", list(wire.pack(partition, wire.OVERRIDE, [wire.encode(line)])))


Name = Literal["field", "value", "period"]


async def _form(request: Request, *names: Name) -> list[str]:
    """The named fields of a form that a page has sent; "" for one that is missing. BadRecord: it is no form."""
    body = await request.body()
    if len(body) > _FORM_BYTES:
        raise BadRecord(f"a form has at most {_FORM_BYTES:,} bytes")
    try:
        given = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError as error:
        raise BadRecord("the form can't be read") from error
    return [given.get(name, [""])[0].strip() for name in names]
