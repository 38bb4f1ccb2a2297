"""Business Central as it behaves towards a subscriber: customers, subscriptions, notifications.

learn.microsoft.com, "Working with webhooks in Dynamics 365 Business Central": a subscription is made
only if its address echoes the validation token, expires after three days, and is deleted when a
notification is answered with anything but 2xx, 408, 429 or 5xx.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PREFIX = "/v2.0/tenant/production/api/v2.0"
COMPANY = f"{PREFIX}/companies(f64eba74-dacd-4854-a584-1834f68cfc3a)"
KEPT = (408, 429)
LIFE = dt.timedelta(days=3)


class BusinessCentral:
    """One company's customers by id, and who wants to be told of them."""

    def __init__(self) -> None:
        self.customers: dict[str, dict[str, Any]] = {}
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.filters: list[str] = []  # times after which customers were asked for
        self.page = 1_000
        self.hang = asyncio.Event()
        self.hang.set()
        self.now = dt.datetime.now(dt.UTC)
        self.app = Starlette(
            routes=[
                Route(f"{COMPANY}/customers", self._list),
                Route(f"{COMPANY}/customers({{key}})", self._get),
                Route(f"{PREFIX}/subscriptions", self._subscribe, methods=["POST"]),
                Route(f"{PREFIX}/subscriptions", self._subscribed),
                Route(f"{PREFIX}/subscriptions('{{key}}')", self._renew, methods=["PATCH"]),
            ]
        )

    def put(self, key: str, name: str, at: str) -> None:
        """Write a customer."""
        self.customers[key] = {"id": key, "displayName": name, "lastModifiedDateTime": at}

    def notification(self, key: str, change: str = "updated", state: str = "correct horse", **more: Any) -> Any:
        """One notification, as it is sent."""
        return {
            "subscriptionId": "sub",
            "clientState": state,
            "expirationDateTime": "2026-03-04T10:00:00Z",
            "resource": f"{COMPANY}/customers({key})",
            "changeType": change,
            "lastModifiedDateTime": "2026-03-01T10:00:00Z",
        } | more

    async def notify(self, url: str, *notifications: Any) -> int:
        """Tell a subscriber; the answer's status."""
        async with httpx.AsyncClient() as client:
            answer = await client.post(url, json={"value": list(notifications)})
        if not answer.is_success and answer.status_code not in KEPT and answer.status_code < 500:
            self.subscriptions.clear()
        return answer.status_code

    async def _list(self, request: Request) -> Response:
        """All, or those after a time, by the page where they are more than one holds."""
        self.requests.append(("GET", str(request.url.path)))
        asked = request.query_params
        _, _, after = asked.get("$filter", "").partition("lastModifiedDateTime gt ")
        if after:
            self.filters.append(after)
        found = [each for each in self.customers.values() if each["lastModifiedDateTime"] > after]
        skipped = int(asked.get("$skip", "0"))
        page = [{"@odata.etag": "1", **each} for each in found[skipped : skipped + self.page]]
        more = skipped + self.page < len(found)
        link = str(request.url.include_query_params(**{"$skip": skipped + self.page}))
        return JSONResponse({"value": page} | ({"@odata.nextLink": link} if more else {}))

    async def _get(self, request: Request) -> Response:
        self.requests.append(("GET", request.path_params["key"]))
        await self.hang.wait()
        found = self.customers.get(request.path_params["key"])
        if found is None:
            return JSONResponse({"error": {"code": "BadRequest_NotFound", "message": "not found"}}, 404)
        return JSONResponse({"@odata.context": "x", "@odata.etag": "1", **found})

    async def _subscribe(self, request: Request) -> Response:
        self.requests.append(("POST", "subscriptions"))
        wanted = await request.json()
        if any(each["resource"] == wanted["resource"] for each in self.subscriptions.values()):
            return JSONResponse({"error": {"code": "Internal_EntityWithSameKeyExists", "message": "exists"}}, 400)
        if not await self._shakes(wanted["notificationUrl"]):
            return JSONResponse({"error": {"code": "BadRequest", "message": "no handshake"}}, 400)
        key = f"sub{len(self.subscriptions) + 1}"
        return self._kept(key, wanted, 201)

    async def _subscribed(self, _: Request) -> Response:
        return JSONResponse({"value": list(self.subscriptions.values())})

    async def _renew(self, request: Request) -> Response:
        self.requests.append(("PATCH", request.path_params["key"]))
        held = self.subscriptions.get(request.path_params["key"])
        if held is None or "if-match" not in request.headers:
            return JSONResponse({"error": {"code": "BadRequest_NotFound", "message": "no such"}}, 404)
        wanted = held | await request.json()
        if not await self._shakes(wanted["notificationUrl"]):
            return JSONResponse({"error": {"code": "BadRequest", "message": "no handshake"}}, 400)
        return self._kept(request.path_params["key"], wanted, 200)

    async def _shakes(self, url: str) -> bool:
        async with httpx.AsyncClient(timeout=5) as client:
            try:
                answer = await client.post(url, params={"validationToken": "a token/+&="})
            except httpx.TransportError:
                return False
        return answer.status_code == 200 and answer.text == "a token/+&="

    def _kept(self, key: str, wanted: dict[str, Any], status: int) -> Response:
        expires = (self.now + LIFE).isoformat().replace("+00:00", "Z")
        self.subscriptions[key] = wanted | {"subscriptionId": key, "expirationDateTime": expires}
        return JSONResponse(self.subscriptions[key] | {"@odata.etag": 'W/"1"'}, status)
