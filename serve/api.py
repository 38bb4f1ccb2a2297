"""The HTTP API under /api: what the page shows, for programs."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from flockiq.serve import backfills, erasures, overrides
from flockiq.serve.actions import Verb, act, operator
from flockiq.serve.backfills import BackfillShown
from flockiq.serve.deadletters import MOST as LETTERS_PER_PAGE_MOST
from flockiq.serve.deadletters import DeadLetterPage, DeadLetterRecord, Filter, Replayed, State, listed, one, replay
from flockiq.serve.entities import Entity, EntityFound, entity, search
from flockiq.serve.health import Health
from flockiq.serve.overrides import OverrideTold
from flockiq.serve.problems import ProblemDocument
from flockiq.serve.schema import Json, Moment, answers
from flockiq.serve.sources import Stream
from flockiq.serve.summary import Summary, summary
from flockiq.serve.view import View, now_us
from flockiq.shared.alerts import Alert, AlertPage, AlertQuery, HistoryEntry, Status
from flockiq.shared.config.load import config
from flockiq.shared.erasure import Erasure
from flockiq.shared.instants import instant_us

ALERTS_PER_PAGE = 100
ALERTS_PER_PAGE_MOST = 500
LETTERS_PER_PAGE = 100

Id = Annotated[str, Path(min_length=1, max_length=200)]
Text = Annotated[str, Query(max_length=200)]
Continuation = Annotated[str, Query(max_length=2000, description="From the page before.")]


class AlertWithHistory(msgspec.Struct, frozen=True):
    """An alert and everything that happened to it, oldest first."""

    alert: Alert
    history: list[HistoryEntry]


class EntitiesFound(msgspec.Struct, frozen=True):
    """What a search found, by name; at most 50."""

    entities: list[EntityFound]


class Streams(msgspec.Struct, frozen=True):
    """Every stream of every source."""

    sources: list[Stream]


class BackfillsShown(msgspec.Struct, frozen=True):
    """The last backfill of each stream that had one."""

    backfills: list[BackfillShown]


KINDS = (
    Alert,
    AlertPage,
    AlertWithHistory,
    BackfillsShown,
    EntitiesFound,
    Entity,
    Erasure,
    OverrideTold,
    Streams,
    DeadLetterPage,
    DeadLetterRecord,
    Replayed,
    Summary,
    Health,
    ProblemDocument,
)


def routes(view: View) -> APIRouter:  # noqa: C901 - one short route after another
    """The API's routes over ``view``."""
    api = APIRouter(prefix="/api", default_response_class=Json)

    @api.get("/alerts", responses=answers(AlertPage, 422, 503), tags=["alerts"], summary="List alerts, newest first")
    async def alerts(
        status: Annotated[list[Status] | None, Query(description="Only these; repeat it for several.")] = None,
        rule: Text = "",
        subject: Text = "",
        limit: Annotated[int, Query(ge=1, le=ALERTS_PER_PAGE_MOST)] = ALERTS_PER_PAGE,
        continuation: Continuation = "",
    ) -> Response:
        query = AlertQuery(
            statuses=tuple(status or ()), rule=rule, subject=subject, limit=limit, continuation=continuation
        )
        return Json(await view.services.alerts.query(view.tenant, query))

    @api.get("/alerts/{alert_id}", responses=answers(AlertWithHistory, 404, 503), tags=["alerts"], summary="One alert")
    async def one_alert(alert_id: Id) -> Response:
        alert = await view.services.alerts.get(view.tenant, alert_id)
        history = await view.services.alerts.history(view.tenant, alert_id)
        return Json(AlertWithHistory(alert, list(history)))

    @api.post(
        "/alerts/{alert_id}/{verb}",
        responses=answers(Alert, 403, 404, 503),
        tags=["alerts"],
        summary="Acknowledge or resolve an alert",
    )
    async def act_on_alert(request: Request, alert_id: Id, verb: Verb) -> Response:
        return Json(await act(view.services, alert_id, verb, operator(request), now_us()))

    @api.get("/entities", responses=answers(EntitiesFound, 422, 503), tags=["entities"], summary="Search entities")
    async def entities(
        kind: Annotated[str, Query(alias="type", max_length=200, description="An entity type; all without.")] = "",
        q: Annotated[str, Query(max_length=200, description="Part of a name or key.")] = "",
    ) -> Response:
        return Json(EntitiesFound(await search(view.services, kind, q.strip())))

    @api.get("/entities/{entity_id}", responses=answers(Entity, 404, 503), tags=["entities"], summary="One entity")
    async def one_entity(entity_id: Id) -> Response:
        return Json(await entity(view.services, entity_id))

    @api.get("/sources", responses=answers(Streams, 503), tags=["state"], summary="Each stream's freshness and errors")
    async def sources() -> Response:
        return Json(Streams(await view.streams.get()))

    api.include_router(overrides.routes(view))
    api.include_router(erasures.routes(view))
    _backfills(api, view)

    @api.get(
        "/dead-letters",
        responses=answers(DeadLetterPage, 400, 422, 503),
        tags=["dead letters"],
        summary="Records set aside, and why, newest first",
    )
    async def letters(
        stage: Text = "",
        source: Text = "",
        stream: Text = "",
        state: Annotated[State, Query(description="Open: not replayed since it last failed.")] = "open",
        limit: Annotated[int, Query(ge=1, le=LETTERS_PER_PAGE_MOST)] = LETTERS_PER_PAGE,
        continuation: Continuation = "",
    ) -> Response:
        which = Filter(stage=stage, source=source, stream=stream, state=state)
        return Json(await listed(view.services, which, limit, continuation))

    @api.get(
        "/dead-letters/{letter_id}",
        responses=answers(DeadLetterRecord, 404, 503),
        tags=["dead letters"],
        summary="One record set aside, with the record",
    )
    async def one_letter(letter_id: Id) -> Response:
        return Json(await one(view.services, config(), letter_id))

    @api.post(
        "/dead-letters/{letter_id}/replay",
        responses=answers(Replayed, 403, 404, 409, 503),
        tags=["dead letters"],
        summary="Send a record back to the stage that could not process it",
    )
    async def replay_letter(letter_id: Id) -> Response:
        return Json(await replay(view.services, config(), letter_id, now_us()))

    @api.get("/summary", responses=answers(Summary, 503), tags=["state"], summary="How much, and how fast")
    async def numbers(
        since: Annotated[
            Moment | None, Query(description="Latency of changes committed after this; 15 minutes without.")
        ] = None,
    ) -> Response:
        if since is None:
            return Json(await view.summary.get())
        return Json(await summary(view.services, since if since.tzinfo else since.replace(tzinfo=dt.UTC)))

    @api.get("/health", responses=answers(Health, 503), tags=["state"], summary="Every dependency, source and hub")
    async def healthy() -> Response:
        answer = await view.health.get()
        return Json(answer, status_code=503 if answer.status == "down" else 200)

    return api


def _backfills(api: APIRouter, view: View) -> None:
    """The routes of backfills."""

    @api.get(
        "/backfills",
        responses=answers(BackfillsShown, 422, 503),
        tags=["backfills"],
        summary="Each stream's last backfill, and how far it is",
    )
    async def all_backfills(source: Text = "", stream: Text = "") -> Response:
        return Json(BackfillsShown(await backfills.listed(view.services, source, stream)))

    @api.post(
        "/sources/{source}/backfill",
        responses=answers(BackfillsShown, 400, 403, 404, 422, 503),
        tags=["backfills"],
        summary="Read a source's past, or find the reading that goes on",
    )
    async def begin_backfill(
        source: Id,
        stream: Annotated[str, Query(max_length=200, description="A stream; all of the source's without.")] = "",
        since: Annotated[Moment | None, Query(description="Leave alone what changed before this.")] = None,
    ) -> Response:
        since_us = instant_us(since.isoformat(), dt.UTC) if since else 0
        return Json(BackfillsShown(await backfills.begin(view.services, config(), source, stream, since_us, now_us())))

    @api.post(
        "/sources/{source}/backfill/cancel",
        responses=answers(BackfillsShown, 403, 404, 503),
        tags=["backfills"],
        summary="End a backfill; what it read stays",
    )
    async def cancel_backfill(request: Request, source: Id, stream: Text = "") -> Response:
        by = operator(request)
        return Json(BackfillsShown(await backfills.cancel(view.services, source, stream, by, now_us())))
