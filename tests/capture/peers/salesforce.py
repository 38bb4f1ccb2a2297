"""Salesforce's REST API as far as reading goes: queryAll over the SOQL that we send, limits, tokens.

It understands exactly the grammar of our queries and refuses everything else, as Salesforce would a
malformed one. Batches hold at most ``cap`` records.
"""

from __future__ import annotations

import re
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_TIME: Final = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z)"
_SINCE: Final = rf"SystemModstamp >= {_TIME}"
_AFTER: Final = rf"\(SystemModstamp = {_TIME} AND Id > '(\w+)'\) OR SystemModstamp > {_TIME}"
_BOUNDS: Final = re.compile(rf" WHERE {_SINCE} AND SystemModstamp < {_TIME}(?: AND \(({_AFTER})\))?(?= ORDER BY)")
_ORDER: Final = r" ORDER BY SystemModstamp, Id"
_SOQL: Final = re.compile(rf"SELECT ([\w,]+) FROM (\w+)(?: WHERE (?:{_SINCE}|{_AFTER}))?" + _ORDER)  # noqa: S608 - a pattern that reads, not a query
_KNOWN: Final = ("Id", "Name", "SystemModstamp", "IsDeleted")


async def described(_request: Request) -> Response:
    """What an account holds, as "sObject Describe" tells it (of each field, a few of its eighty properties)."""
    types = {
        "Id": "id",
        "Name": "string",
        "AnnualRevenue": "currency",
        "BillingAddress": "address",
        "SystemModstamp": "datetime",
        "IsDeleted": "boolean",
    }
    fields = [{"name": name, "type": kind, "label": name, "nillable": True} for name, kind in types.items()]
    return JSONResponse({"name": "Account", "queryable": True, "fields": fields, "childRelationships": []})


class Salesforce:
    """An org with accounts."""

    def __init__(self, cap: int = 3) -> None:
        self.cap = cap
        self.used, self.allowed = 100, 15_000
        self.rows: dict[str, dict[str, Any]] = {}
        self.queries: list[str] = []
        self.app = Starlette(
            routes=[
                Route("/services/data/v61.0/queryAll", self._query),
                Route("/services/data/v61.0/sobjects/Account/describe", described),
            ]
        )

    def put(self, number: int, minute: int, **fields: Any) -> None:
        """Write an account; its time has milliseconds and an offset as Salesforce writes it."""
        key = f"001{number:015}"
        at = f"2026-03-01T10:{minute:02}:00.123+0000"
        self.rows[key] = {"Id": key, "Name": f"C{number}", "SystemModstamp": at, "IsDeleted": False} | fields

    async def _query(self, request: Request) -> Response:
        said = request.query_params["q"]
        self.queries.append(said)
        self.used += 1
        limits = {"Sforce-Limit-Info": f"api-usage={self.used}/{self.allowed}"}
        if self.used > self.allowed:
            refused = {"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}
            return JSONResponse([refused], 403, limits)
        bounds = _BOUNDS.search(said)
        if bounds is not None:  # a slice: what is asked for within it is asked as ever
            said = said.replace(bounds[0], f" WHERE {bounds[3]}" if bounds[3] else "")
        understood = _SOQL.fullmatch(said)
        if understood is None or not set(understood[1].split(",")) <= set(_KNOWN) or understood[2] != "Account":
            return JSONResponse([{"message": f"unexpected token: {said}", "errorCode": "MALFORMED_QUERY"}], 400)
        fields, since, equal, key, after = understood[1].split(","), *understood.group(3, 4, 5, 6)
        rows = sorted(self.rows.values(), key=lambda row: (_moment(row), row["Id"]))
        if bounds is not None:
            rows = [row for row in rows if _written(bounds[1]) <= _moment(row) < _written(bounds[2])]
        if since:
            rows = [row for row in rows if _moment(row) >= _written(since)]
        if after:
            rows = [
                row
                for row in rows
                if (_moment(row) == _written(equal) and row["Id"] > key) or _moment(row) > _written(after)
            ]
        size = min(int(request.headers["sforce-query-options"].removeprefix("batchSize=")), self.cap)
        body: dict[str, Any] = {
            "totalSize": len(rows),
            "done": len(rows) <= size,
            "records": [
                {"attributes": {"type": "Account"}} | {name: row[name] for name in fields} for row in rows[:size]
            ],
        }
        if not body["done"]:
            body["nextRecordsUrl"] = f"/services/data/v61.0/queryAll/01g000000000000-{size}"
        return JSONResponse(body, headers=limits)


def _moment(row: dict[str, Any]) -> str:
    return str(row["SystemModstamp"]).removesuffix("+0000")


def _written(literal: str) -> str:
    whole = literal.removesuffix("Z")
    return whole if "." in whole else f"{whole}.000"
