"""Two small systems that behave as their vendors document: Dataverse (OData V4) and SAP (OData V2).

Both page, track changes by delta link, tell of deletions, throttle and forget old links. ``answers``
holds answers to give instead of the usual, in order: that is how a test makes trouble.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Row = dict[str, Any]
Answer = Response | Callable[[Request], Awaitable[Response]]


class Table:
    """Rows by key, each with the version of its last change; a deleted one is None."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.version = 0
        self.rows: dict[str, tuple[int, Row | None]] = {}

    def put(self, row: Row) -> None:
        """Write a row."""
        self.version += 1
        self.rows[row[self.key]] = (self.version, row)

    def delete(self, key: str) -> None:
        """Delete a row."""
        self.version += 1
        self.rows[key] = (self.version, None)

    def changed(self, since: int, upto: int, after: str) -> list[tuple[str, Row | None]]:
        """What changed in (since, upto], with keys over ``after``; deletions only when there was a before."""
        return sorted(
            (key, row)
            for key, (version, row) in self.rows.items()
            if since < version <= upto and key > after and (row is not None or since)
        )


class Peer:
    """What both systems share."""

    path = ""

    def __init__(self, key: str, page: int) -> None:
        self.table = Table(key)
        self.page = page
        self.oldest = 0  # delta tokens below it have expired
        self.answers: list[Answer | None] = []
        self.requests: list[Request] = []
        self.app = Starlette(routes=[Route(self.path, self._get)])

    async def _get(self, request: Request) -> Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            return answer if isinstance(answer, Response) else await answer(request)
        query = request.query_params
        since, upto, after = 0, self.table.version, ""
        if "$skiptoken" in query:
            numbers, _, after = query["$skiptoken"].partition("~")
            since, upto = (int(number) for number in numbers.split("-"))
        elif token := query.get("$deltatoken", query.get("!deltatoken")):
            since = int(token)
            if since < self.oldest:
                return self.expired()
        found = self.table.changed(since, upto, after)
        page, more = found[: self.page], len(found) > self.page
        link = f"$skiptoken={since}-{upto}~{page[-1][0]}" if more else ""
        return self.answer(request, page, link, str(upto))

    def expired(self) -> Response:
        """The answer to a delta link that is too old."""
        raise NotImplementedError

    def answer(self, request: Request, page: list[tuple[str, Row | None]], skip: str, delta: str) -> Response:
        """A page, with the link after it or the delta link."""
        raise NotImplementedError


class DataversePeer(Peer):
    """Dataverse's accounts."""

    path = "/api/data/v9.2/accounts"
    confirms = True

    def expired(self) -> Response:
        """As the Web API says it."""
        message = "Version stamp associated with the client has expired. Please perform a full sync."
        return JSONResponse({"error": {"code": "0x80044352", "message": message}}, 400)

    def answer(self, request: Request, page: list[tuple[str, Row | None]], skip: str, delta: str) -> Response:
        """JSON with ``value``."""
        here = f"{request.base_url}api/data/v9.2"
        select = "$select=name&" if "$select" in request.query_params else ""
        body: Row = {"@odata.context": f"{here}/$metadata#accounts/$delta"}
        body["value"] = [
            {"@odata.etag": f'W/"{key}"', **row}
            if row is not None
            else {"@odata.context": f"{here}/$metadata#accounts/$deletedEntity", "id": key, "reason": "deleted"}
            for key, row in page
        ]
        if skip:
            body["@odata.nextLink"] = f"{here}/accounts?{select}{skip}"
        else:
            body["@odata.deltaLink"] = f"{here}/accounts?{select}$deltatoken={delta}"
        applied = {"Preference-Applied": "odata.track-changes"} if self.confirms else {}
        return JSONResponse(body, headers=applied)


class GatewayPeer(Peer):
    """SAP's customers; an ODP-based service tells of deletions by ODQ_CHANGEMODE."""

    path = "/sap/opu/odata/sap/ZFLOCK_SRV/CustomerSet"

    def expired(self) -> Response:
        """As SAP Gateway says it."""
        message = {"lang": "en", "value": "The delta token is no longer valid"}
        return JSONResponse({"error": {"code": "/IWBEP/CM_V4_RUNTIME/021", "message": message}}, 410)

    def answer(self, request: Request, page: list[tuple[str, Row | None]], skip: str, delta: str) -> Response:
        """JSON with ``d``, links relative to the service as older releases write them."""
        assert request.query_params.get("$format", "json") == "json"
        results = [
            {"__metadata": {"uri": f"CustomerSet('{key}')"}, **(row or {"Customer": key, "ODQ_CHANGEMODE": "D"})}
            for key, row in page
        ]
        for result in results:
            result["ToOrders"] = {"__deferred": {"uri": "CustomerSet/ToOrders"}}
        link = {"__next": f"CustomerSet?{skip}"} if skip else {"__delta": f"CustomerSet?!deltatoken={delta}"}
        return JSONResponse({"d": {"results": results, **link}})


def raw(body: str | bytes, status: int = 200, **headers: str) -> Response:
    """An answer of exactly these bytes, from a Dataverse that tracks changes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(body, status, {"Preference-Applied": "odata.track-changes", **named}, "application/json")
