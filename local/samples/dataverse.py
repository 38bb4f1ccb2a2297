"""The Dataverse Web API, v9.2, as far as a reader of whole tables meets it.

Sources: Microsoft Learn, "Use change tracking to synchronize data with external systems",
"Query data using the Web API", "Service protection API limits", "Web service error codes".
One thing differs: ``modifiedon`` has milliseconds, where Dataverse cuts them off, so that the
time a change takes can be measured.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.local.samples import odata
from flockiq.local.samples.control import Control, disfigure, misbehave, same
from flockiq.local.samples.crm import Crm
from flockiq.local.samples.life import Life
from flockiq.local.samples.odata import BadQuery
from flockiq.local.samples.store import Body, Record
from flockiq.local.samples.universe import rng

ROOT = "/api/data/v9.2"
MOST_ROWS = 5_000
TOKEN_LIFETIME_S = 7 * 86_400.0
THROTTLE_ONE_IN = 60
NOT_WHILE_TRACKING = ("$filter", "$orderby", "$expand", "$top")

_BAD_REQUEST = "0x80060888"
_NO_SUCH_SEGMENT = "0x8006088a"
_NO_SUCH_RECORD = "0x80040217"
_EXPIRED_VERSION_STAMP = "0x80044352"
_TOO_MANY_REQUESTS = "0x80072322"
_TOO_MUCH_TIME = "0x80072321"
_NOT_AUTHENTICATED = "0x8005F101"

_ISSUED = "%m/%d/%Y %H:%M:%S"
_DELTA_TOKEN = re.compile(r"(\d{1,18})!(\d\d/\d\d/\d{4} \d\d:\d\d:\d\d)")
_SKIP_TOKEN = re.compile(
    r"(?P<page>\d{1,9})-(?P<rows>\d{1,4})-(?P<since>\d{1,18})-(?P<upto>\d{1,18})-(?P<last>\d{1,18})"
)


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        body = {"error": {"code": code, "message": message}}
        self.response = JSONResponse(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


class Reading(NamedTuple):
    """Where a reader that tracks changes stands: versions over ``since`` up to ``upto``, after ``last``."""

    page: int
    rows: int
    since: int
    upto: int
    last: int


class Dataverse:
    """Answers requests from the CRM's store."""

    def __init__(self, life: Life, crm: Crm, control: Control) -> None:
        self.life, self.crm, self.store, self.control = life, crm, life.store, control
        self._answered: deque[float] = deque()
        self._requests = 0

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("/_control", self._steer, methods=["GET", "POST"]),
            Route(ROOT + "/{segment}", self._get),
        ]

    async def _steer(self, request: Request) -> Response:
        try:
            self._authenticate(request)
        except Refusal as refusal:
            return refusal.response
        return await self.control.endpoint(request)

    async def _get(self, request: Request) -> Response:
        self.life.requested()
        try:
            self._authenticate(request)
            self._throttle()
            name, key = self._resource(request.path_params["segment"])
            fault = self.control.fault(name)
            if fault and fault != "wrong_types":
                return await misbehave(fault, request)
            return self._answer(request, name, key)
        except Refusal as refusal:
            return refusal.response
        except BadQuery as error:
            return Refusal(400, _BAD_REQUEST, str(error)).response

    def _resource(self, segment: str) -> tuple[str, str]:
        name, _, key = segment.partition("(")
        if name not in self.crm.streams:
            raise Refusal(404, _NO_SUCH_SEGMENT, f"Resource not found for the segment '{name[:80]}'.")
        return name, key.removesuffix(")")

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not same(token, self.life.options.secret):
            message = "The requested resource requires authentication."
            raise Refusal(401, _NOT_AUTHENTICATED, message, WWW_Authenticate="Bearer")

    def _throttle(self) -> None:
        now, budget = time.monotonic(), self.control.budget()
        while self._answered and self._answered[0] < now - budget.window_s:
            self._answered.popleft()
        if len(self._answered) >= budget.requests:
            wait_s = max(1, int(self._answered[0] + budget.window_s - now + 1))
            message = f"Number of requests exceeded the limit of {budget.requests} over {budget.window_s:g} seconds."
            raise Refusal(429, _TOO_MANY_REQUESTS, message, Retry_After=str(wait_s))
        self._requests += 1
        one_in = int(self.store.fact("throttle_one_in", default=THROTTLE_ONE_IN))
        if one_in and rng(self.life.options.seed, "throttle", self._requests).random() < 1 / one_in:
            message = "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds."
            raise Refusal(429, _TOO_MUCH_TIME, message, Retry_After="1")
        self._answered.append(now)

    def _answer(self, request: Request, stream: str, key: str) -> Response:
        query = request.query_params
        select = self._select(stream, query.get("$select"))
        if key:
            record = self.store.get(stream, key.strip("'").lower())
            if record is None:
                raise Refusal(404, _NO_SUCH_RECORD, f"Entity '{stream}' With Id = {key[:80]} Does Not Exist")
            context = f"{self._base(request)}/$metadata#{stream}{_selected(select)}/$entity"
            return _json({"@odata.context": context, **self._shown(record, select)})
        wishes = _preferences(request)
        # A next link of a tracked reading carries no other sign than its token's shape.
        tracking = "odata.track-changes" in wishes or "$deltatoken" in query or "-" in query.get("$skiptoken", "")
        return (self._track if tracking else self._list)(request, stream, select, wishes)

    # ── reading whole, then reading changes ──

    def _track(self, request: Request, stream: str, select: list[str] | None, wishes: Mapping[str, str]) -> Response:
        query = request.query_params
        if refused := [name for name in NOT_WHILE_TRACKING if name in query]:
            message = f"The query parameter {refused[0]} is not supported when tracking changes."
            raise Refusal(400, _BAD_REQUEST, message)
        rows = odata.count(wishes.get("odata.maxpagesize"), "odata.maxpagesize", MOST_ROWS) or None
        reading = self._reading(query, rows)
        found = self.store.between(stream, reading.last, reading.upto, reading.rows + 1, tombstones=reading.since > 0)
        page, more = found[: reading.rows], len(found) > reading.rows
        base = self._base(request)
        body: Body = {"@odata.context": f"{base}/$metadata#{stream}{_selected(select)}/$delta"}
        here = f"{base}/{stream}?" + (f"$select={','.join(select)}&" if select else "")
        if more:
            place = f"{reading.page + 1}-{reading.rows}-{reading.since}-{reading.upto}-{page[-1].version}"
            body["@odata.nextLink"] = f"{here}$skiptoken={place}"
        else:
            issued = datetime.now(UTC).strftime(_ISSUED)
            body["@odata.deltaLink"] = f"{here}$deltatoken={quote(f'{reading.upto}!{issued}', safe='')}"
            self.life.noticed(stream)
        gone = f"{base}/$metadata#{stream}/$deletedEntity"
        body["value"] = [
            {"@odata.context": gone, "id": record.key, "reason": "deleted"}
            if record.deleted
            else self._shown(record, select)
            for record in page
        ]
        applied = ["odata.track-changes"] + ([f"odata.maxpagesize={reading.rows}"] if rows else [])
        return _json(body, {"Preference-Applied": ",".join(applied)})

    def _reading(self, query: Mapping[str, str], rows: int | None) -> Reading:
        now = self.store.version
        if token := query.get("$skiptoken"):
            found = _SKIP_TOKEN.fullmatch(token)
            if found is None:
                raise BadQuery("The $skiptoken is malformed.")
            at = Reading(*map(int, found.groups()))
            return at._replace(rows=rows or max(1, at.rows))
        if token := query.get("$deltatoken"):
            found = _DELTA_TOKEN.fullmatch(token)
            if found is None or int(found[1]) > now:
                raise BadQuery("The $deltatoken is malformed.")
            since, issued_s = int(found[1]), odata.issued(found[2], _ISSUED)
            lifetime_s = float(self.store.fact("token_lifetime_s", default=TOKEN_LIFETIME_S))
            expired_upto = int(self.store.fact("expired_upto", default=-1))
            if since <= expired_upto or time.time() - issued_s > lifetime_s:
                message = "Version stamp associated with the client has expired. Please perform a full sync."
                raise Refusal(400, _EXPIRED_VERSION_STAMP, message)
            return Reading(1, rows or MOST_ROWS, since, now, since)
        return Reading(1, rows or MOST_ROWS, 0, now, 0)

    # ── plain queries ──

    def _list(self, request: Request, stream: str, select: list[str] | None, wishes: Mapping[str, str]) -> Response:
        query, properties = request.query_params, self._properties(stream)
        shown: list[odata.Row] = [self._shown(record, None) for record in self.store.all(stream)]
        if condition := query.get("$filter"):
            shown = list(filter(odata.predicate(condition, properties), shown))
        body: Body = {"@odata.context": f"{self._base(request)}/$metadata#{stream}{_selected(select)}"}
        if query.get("$count") == "true":
            body["@odata.count"] = min(len(shown), MOST_ROWS)
        if order := query.get("$orderby"):
            shown = odata.ordered(shown, order, properties)
        headers = {}
        top = odata.count(query.get("$top"), "$top", MOST_ROWS)
        rows = odata.count(wishes.get("odata.maxpagesize"), "odata.maxpagesize", MOST_ROWS) or MOST_ROWS
        start = odata.count(query.get("$skiptoken"), "$skiptoken", 10**9) or 0
        page = shown[start : start + rows] if top is None else shown[:top]
        if top is None and start + rows < len(shown):
            given = {**query, "$skiptoken": str(start + rows)}
            listed = "&".join(f"{name}={quote(value, safe=',')}" for name, value in given.items())
            body["@odata.nextLink"] = f"{self._base(request)}/{stream}?{listed}"
        if "odata.maxpagesize" in wishes:
            headers["Preference-Applied"] = f"odata.maxpagesize={rows}"
        body["value"] = [_only(row, select, self.crm.primary[stream]) for row in page]
        return _json(body, headers)

    # ── records ──

    def _base(self, request: Request) -> str:
        return str(request.base_url).rstrip("/") + ROOT

    def _properties(self, stream: str) -> frozenset[str]:
        record = self.store.near(stream, "")
        own = record.body if record else {}
        return frozenset((*own, self.crm.primary[stream], "modifiedon", "versionnumber"))

    def _select(self, stream: str, text: str | None) -> list[str] | None:
        if not text:
            return None
        select, properties = text.split(","), self._properties(stream)
        if unknown := [name for name in select if name not in properties]:
            raise BadQuery(
                f"Could not find a property named '{unknown[0][:80]}' on type 'Microsoft.Dynamics.CRM.{stream}'."
            )
        return select

    def _shown(self, record: Record, select: list[str] | None) -> Body:
        primary = self.crm.primary[record.stream]
        fields = {primary: record.key, **fields_of(record), "versionnumber": record.version}
        if self.control.fault(record.stream) == "wrong_types":
            fields = disfigure(fields, frozenset((primary, "modifiedon")))
        return _only({"@odata.etag": f'W/"{record.version}"', **fields}, select, primary)


def fields_of(record: Record) -> Body:
    """A record's own fields as the Web API shows them, its key aside."""
    moment = datetime.fromtimestamp(record.modified_us // 1_000_000, UTC)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{record.modified_us % 1_000_000 // 1_000:03d}Z"
    return {**record.body, "modifiedon": text}


def _only(row: odata.Row, select: list[str] | None, primary: str) -> Body:
    if select is None:
        return dict(row)
    return {name: row[name] for name in dict.fromkeys(("@odata.etag", primary, *select))}


def _selected(select: list[str] | None) -> str:
    return f"({','.join(select)})" if select else ""


def _preferences(request: Request) -> Mapping[str, str]:
    wishes = (wish.strip().partition("=") for wish in ",".join(request.headers.getlist("prefer")).split(","))
    return {name.strip().lower(): value.strip('" ') for name, _, value in wishes if name}


def _json(body: Any, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(
        body, 200, {"OData-Version": "4.0", **(headers or {})}, media_type="application/json; odata.metadata=minimal"
    )
