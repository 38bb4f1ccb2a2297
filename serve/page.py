"""The operator page: alerts, entities, sources. Plain HTML that works without scripts; htmx keeps it live."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from flockiq.serve.actions import Verb, act, operator
from flockiq.serve.api import Id
from flockiq.serve.board import board
from flockiq.serve.deadletters import one, replay
from flockiq.serve.entities import Entity, entity, search, types
from flockiq.serve.live import Region, polled, render
from flockiq.serve.overrides import PERIODS, page_routes
from flockiq.serve.view import View, now_us
from flockiq.shared.alerts import OPEN, Alert, AlertQuery, Status
from flockiq.shared.config.load import config
from flockiq.shared.errors import NotFound

Show = Literal["open", "resolved"]

_STATUSES: dict[Show, tuple[Status, ...]] = {"open": OPEN, "resolved": ("resolved",)}
_ALERTS_SHOWN = 200
_HEADLINE = Region("headline", "/headline", "regions/headline.html")


def routes(view: View) -> APIRouter:  # noqa: C901 - one short route after another
    """The page's routes over ``view``."""
    page = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    page.include_router(page_routes(view))

    async def shown(request: Request, region: Region, template: str, title: str, **context: object) -> Response:
        if polled(request):
            return region.answer(request, **context)
        headline = _HEADLINE.html(**await _headline(view))
        live = region.html(**context)
        return HTMLResponse(render(template, title=title, headline=headline, live=live, **context))

    @page.get("/")
    async def alerts(request: Request, show: Show = "open") -> Response:
        query = AlertQuery(statuses=_STATUSES[show], limit=_ALERTS_SHOWN)
        found, counts = await asyncio.gather(
            view.services.alerts.query(view.tenant, query), view.services.alerts.counts(view.tenant)
        )
        region = Region("alerts", "/", "regions/alerts.html", {"show": show})
        return await shown(request, region, "alerts.html", "Alerts", show=show, board=board(found, counts))

    @page.get("/alerts/{alert_id}")
    async def alert(request: Request, alert_id: Id) -> Response:
        store = view.services.alerts
        found, history = await asyncio.gather(store.get(view.tenant, alert_id), store.history(view.tenant, alert_id))
        region = Region("alert", f"/alerts/{found.id}", "regions/alert.html")
        behind = await _behind(view, found)
        return await shown(
            request, region, "alert.html", found.title, alert=found, history=list(reversed(history)), entity=behind
        )

    @page.post("/alerts/{alert_id}/{verb}")
    async def act_on_alert(request: Request, alert_id: Id, verb: Verb, then: Literal["list", "alert"]) -> Response:
        done = await act(view.services, alert_id, verb, operator(request), now_us())
        return RedirectResponse("/" if then == "list" else f"/alerts/{done.id}", status_code=303)

    @page.get("/entities")
    async def entities(
        request: Request,
        kind: Annotated[str, Query(alias="type", max_length=200)] = "",
        q: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        text = q.strip()
        known, found = await asyncio.gather(types(view.services), search(view.services, kind, text))
        region = Region("found", "/entities", "regions/found.html", {"type": kind, "q": text}, every="5s")
        return await shown(request, region, "entities.html", "Entities", kind=kind, q=text, types=known, found=found)

    @page.get("/entities/{entity_id}")
    async def one_entity(request: Request, entity_id: Id) -> Response:
        found = await entity(view.services, entity_id)
        region = Region("entity", f"/entities/{found.id}", "regions/entity.html")
        return await shown(request, region, "entity.html", found.name, entity=found, periods=list(PERIODS))

    @page.get("/sources")
    async def sources(request: Request) -> Response:
        streams, letters, health = await asyncio.gather(view.streams.get(), view.dead_letters.get(), view.health.get())
        region = Region("sources", "/sources", "regions/sources.html")
        return await shown(request, region, "sources.html", "Sources", streams=streams, letters=letters, health=health)

    @page.get("/dead-letters/{letter_id}")
    async def dead_letter(request: Request, letter_id: Id) -> Response:
        found = await one(view.services, config(), letter_id)
        region = Region("letter", f"/dead-letters/{found.letter.id}", "regions/dead_letter.html")
        return await shown(request, region, "dead_letter.html", "Record set aside", found=found, letter=found.letter)

    @page.post("/dead-letters/{letter_id}/replay")
    async def replay_letter(letter_id: Id) -> Response:
        done = await replay(view.services, config(), letter_id, now_us())
        return RedirectResponse(f"/dead-letters/{done.id}", status_code=303)

    @page.get("/headline")
    async def headline(request: Request) -> Response:
        return _HEADLINE.answer(request, **await _headline(view))

    return page


async def _headline(view: View) -> dict[str, object]:
    summary, health = await asyncio.gather(view.summary.get(), view.health.get())
    return {"summary": summary, "health": health}


async def _behind(view: View, alert: Alert) -> Entity | None:
    """The entity that an alert is about; None for a feed's, or when it is gone."""
    if alert.subject_type == "feed":
        return None
    subject = alert.values.get("entity_id") if alert.subject_type == "query" else alert.subject
    if not isinstance(subject, str):
        return None
    try:
        return await entity(view.services, subject)
    except NotFound:
        return None


def problem_page(request: Request, status: int, detail: str) -> Response:
    """What went wrong, on a page that needs nothing but its templates."""
    if polled(request):  # the region stays as it is; the page says that it could not be brought up to date
        return Response(detail, status_code=status, media_type="text/plain")
    title = "Not found" if status == 404 else "That did not work"  # noqa: PLR2004 - HTTP's not found
    return HTMLResponse(render("problem.html", title=title, status=status, detail=detail), status_code=status)
