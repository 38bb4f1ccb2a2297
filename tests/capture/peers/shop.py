"""A shop whose API pages in every way that public APIs do, one path a way, over the same orders.

Orders come by (updated_at, id). ``cap`` is the most a page holds, whatever is asked for; ``answers``
holds answers to give instead of the usual, in order; None gives the usual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Row = dict[str, Any]

WAYS: Final[Mapping[str, dict[str, Any]]] = {
    "next-url": {"records": "data.items", "paginate": {"kind": "next_url", "next": "/links/next"}},
    "link-header": {"records": "", "paginate": {"kind": "link_header"}},
    "cursor": {
        "records": "data.items",
        "paginate": {"kind": "cursor", "next": "meta.cursor", "parameter": "after", "more": "meta.more"},
    },
    "offset": {
        "records": "items",
        "paginate": {"kind": "offset", "size_parameter": "limit", "total": "total"},
    },
    "offset-blind": {"records": "items", "paginate": {"kind": "offset", "size_parameter": "limit"}},
    "page": {"records": "items", "paginate": {"kind": "page", "size_parameter": "per_page", "done": "last"}},
    "keyset": {
        "records": "",
        "paginate": {"kind": "keyset", "query": {"time": "{time}", "id": "{key}"}, "size_parameter": "limit"},
    },
    "header": {
        "records": "items",
        "paginate": {"kind": "header", "header": "X-Locator", "parameter": "locator", "size_parameter": "limit"},
    },
}
"""How config describes each path."""


class Shop:
    """The shop."""

    def __init__(self, cap: int = 3) -> None:
        self.cap = cap
        self.rows: dict[int, Row] = {}
        self.answers: list[Response | None] = []
        self.requests: list[Request] = []
        self.headers: dict[str, str] = {}
        ways: dict[str, Callable[[Request, list[Row]], Response]] = {
            "next-url": self._next_url,
            "link-header": self._link_header,
            "cursor": self._cursor,
            "offset": self._offset,
            "offset-blind": self._offset_blind,
            "page": self._page,
            "keyset": self._keyset,
            "header": self._header,
        }
        self.app = Starlette(routes=[Route(f"/api/{name}", self._handler(way)) for name, way in ways.items()])

    def put(self, number: int, minute: int = 0, **fields: Any) -> None:
        """Write an order."""
        self.rows[number] = {"id": number, "name": f"Order {number}", "updated_at": at(minute)} | fields

    def _handler(self, way: Callable[[Request, list[Row]], Response]) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            self.requests.append(request)
            answer = self.answers.pop(0) if self.answers else None
            response = answer or way(request, self._asked_for(request))
            response.headers.update(self.headers)
            return response

        return handle

    def _asked_for(self, request: Request) -> list[Row]:
        since = request.query_params.get("since", "")
        until = request.query_params.get("until", "9999")
        rows = [row for row in self.rows.values() if since <= str(row["updated_at"]) <= until]
        return sorted(rows, key=lambda row: (str(row["updated_at"]), row["id"]))

    def _span(self, request: Request, rows: list[Row], start: int, size: str = "limit") -> tuple[list[Row], bool]:
        """A page from ``start`` on, and whether there is more."""
        most = min(int(request.query_params.get(size, "1000")), self.cap)
        return rows[start : start + most], start + most < len(rows)

    def _next_url(self, request: Request, rows: list[Row]) -> Response:
        start = int(request.query_params.get("from", "0"))
        page, more = self._span(request, rows, start)
        following = str(request.url.include_query_params(**{"from": start + len(page)})) if more else None
        return JSONResponse({"data": {"items": page}, "links": {"self": str(request.url), "next": following}})

    def _link_header(self, request: Request, rows: list[Row]) -> Response:
        start = int(request.query_params.get("from", "0"))
        page, more = self._span(request, rows, start)
        first = f'<{request.url}>; rel="first"'
        following = f'<{request.url.include_query_params(**{"from": start + len(page)})}>; rel="next", ' if more else ""
        return JSONResponse(page, headers={"Link": following + first})

    def _cursor(self, request: Request, rows: list[Row]) -> Response:
        start = int(request.query_params.get("after", "c0")[1:])
        page, more = self._span(request, rows, start)
        return JSONResponse({"data": {"items": page}, "meta": {"cursor": f"c{start + len(page)}", "more": more}})

    def _offset(self, request: Request, rows: list[Row]) -> Response:
        page, _ = self._span(request, rows, int(request.query_params["offset"]))
        return JSONResponse({"items": page, "total": len(rows)})

    def _offset_blind(self, request: Request, rows: list[Row]) -> Response:
        page, _ = self._span(request, rows, int(request.query_params["offset"]))
        return JSONResponse({"items": page})

    def _page(self, request: Request, rows: list[Row]) -> Response:
        page, more = self._span(request, rows, (int(request.query_params["page"]) - 1) * self.cap, "per_page")
        return JSONResponse({"items": page, "last": not more})

    def _keyset(self, request: Request, rows: list[Row]) -> Response:
        time, key = request.query_params.get("time", ""), int(request.query_params.get("id", "0"))
        page, _ = self._span(request, [row for row in rows if (str(row["updated_at"]), row["id"]) > (time, key)], 0)
        return JSONResponse(page)

    def _header(self, request: Request, rows: list[Row]) -> Response:
        start = int(request.query_params.get("locator", "L0")[1:])
        page, more = self._span(request, rows, start)
        return JSONResponse({"items": page}, headers={"X-Locator": f"L{start + len(page)}" if more else "null"})


def at(minute: int) -> str:
    """A time of the shop's."""
    return f"2026-03-01T{10 + minute // 60:02}:{minute % 60:02}:00Z"


def orders(url: str, way: str, *, limits: dict[str, Any] | None = None, **stream: Any) -> dict[str, Any]:
    """The shop as a source whose orders are read in one way, as YAML would give it."""
    return {
        "source": "shop",
        "connector": "rest",
        "connection": {"base_url": f"{url}/api", "allow_private": True, "read_timeout": "1s", "request_timeout": "2s"},
        "limits": {"attempts": 2, "longest_wait": "300ms"} | (limits or {}),
        "every": "2s",
        "streams": {
            "orders": {
                "path": way,
                "primary_key": ["id"],
                "modified": "updated_at",
                "entity": "order",
                "fields": {"name": "name"},
            }
            | WAYS[way]
            | stream
        },
    }
