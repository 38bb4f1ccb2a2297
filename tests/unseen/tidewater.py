"""Tidewater, a made-up billing service: a REST API written from this page, its reference, and nothing else.

**Shape.** JSON:API (jsonapi.org, 1.1): ``{"data": [{"type": "clients", "id": "c_7", "attributes": {…}}], "meta": …}``.
**Pages.** ``page[size]`` (at most 4 here), ``page[after]``; ``meta.page.cursor`` is the next one, null at the end, and
``meta.page.complete`` says whether there is none. Cursors live a while, then 400 ``cursor_expired``. Order: by id.
**Changes.** ``filter[changed_from]``: attributes.changed_at from then on, inclusive. Times are New York's, -05:00.
**Deletions.** Archived clients are shown only with ``filter[archived]=include``; ``archived_at`` is null in others.
**Access.** OAuth 2 refresh tokens that serve once: every exchange gives the next one. Access tokens live 15 minutes;
an old one is 401 with ``token_expired``.
**Limits.** ``RateLimit-Limit``, ``RateLimit-Remaining``, ``RateLimit-Reset`` (seconds) on every answer; beyond them 429
with Retry-After as a date.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ZONE: Final = dt.timezone(-dt.timedelta(hours=5))
_KNOWN: Final = re.compile(r"page\[(size|after)\]|filter\[(changed_from|archived)\]")

type Row = dict[str, Any]


@dataclass
class Tidewater:
    """The service."""

    cap: int = 4
    clients: dict[str, Row] = field(default_factory=dict)
    refresh_token: str = "rt-0"
    access_token: str = ""
    exchanges: int = 0
    left: int = 1_000
    oldest_cursor: int = 0  # cursors given before it have expired
    given: int = 0
    circle: bool = False  # every page says that it is followed by the second one
    answers: list[Response | None] = field(default_factory=list)  # instead of the usual, in order
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/identity/exchange", self._exchange, methods=["POST"]),
                Route("/api/2026-02/clients", self._list, methods=["GET"]),
            ]
        )

    def put(self, number: int, minute: int, *, archived: bool = False, **attributes: Any) -> None:
        """Write a client; its time is so many minutes after ten, UTC."""
        moment = dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC) + dt.timedelta(minutes=minute)
        at = moment.astimezone(ZONE).isoformat(timespec="milliseconds")
        self.clients[f"c_{number}"] = {
            "legal": {"title": f"Client {number}", "vat": f"US{number}"},
            "terms": {"credit": {"amount": f"{number}00.50", "unit": "USD"}},
            "changed_at": at,
            "archived_at": at if archived else None,
        } | attributes

    async def _exchange(self, request: Request) -> Response:
        form = await request.form()
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != self.refresh_token:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.exchanges += 1
        self.refresh_token, self.access_token = f"rt-{self.exchanges}", f"at-{self.exchanges}"
        granted = {"access_token": self.access_token, "token_type": "Bearer", "expires_in": 900}
        return JSONResponse(granted | {"refresh_token": self.refresh_token})

    async def _list(self, request: Request) -> Response:
        self.requests.append(request)
        limits = {"RateLimit-Limit": "1000", "RateLimit-Remaining": str(self.left), "RateLimit-Reset": "30"}
        if not self.access_token or request.headers.get("authorization") != f"Bearer {self.access_token}":
            return _fault(401, "token_expired", limits)
        if self.answers and (instead := self.answers.pop(0)) is not None:
            return instead
        if self.left <= 0:
            again = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30), usegmt=True)
            return _fault(429, "slow_down", limits | {"Retry-After": again})
        self.left -= 1
        asked = request.query_params
        if unknown := [name for name in asked if not _KNOWN.fullmatch(name)]:
            return _fault(400, f"unknown parameter {unknown[0]}", limits)
        rows = self._rows(asked.get("filter[changed_from]", ""), archived=asked.get("filter[archived]") == "include")
        issued, _, after = asked.get("page[after]", "").partition("~")
        if issued and int(issued) < self.oldest_cursor:
            return _fault(400, "cursor_expired", limits)
        left = [key for key in rows if not after or key > after]
        page = left[: min(int(asked.get("page[size]", "2")), self.cap)]
        more = len(left) > len(page)
        self.given += 1
        cursor = f"{self.given}~{page[-1]}" if more else None
        if self.circle:
            cursor, more = f"1~{min(rows)}", True
        body = {
            "data": [{"type": "clients", "id": key, "attributes": rows[key]} for key in page],
            "meta": {"page": {"cursor": cursor, "complete": not more}},
            "jsonapi": {"version": "1.1"},
        }
        return JSONResponse(body, headers=limits, media_type="application/vnd.api+json")

    def _rows(self, since: str, *, archived: bool) -> dict[str, Row]:
        least = dt.datetime.fromisoformat(since) if since else None
        return {
            key: row
            for key, row in sorted(self.clients.items())
            if (archived or row["archived_at"] is None)
            and (least is None or dt.datetime.fromisoformat(row["changed_at"]) >= least)
        }


def _fault(status: int, code: str, headers: dict[str, str]) -> Response:
    return JSONResponse({"errors": [{"status": str(status), "code": code}]}, status, headers)
