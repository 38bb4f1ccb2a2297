"""Streams that can only be read whole: generic OData V4, as the public Northwind service speaks it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flockiq.shared.services import Services
from tests.capture.conftest import World
from tests.capture.peers.server import serve


class Northwind:
    """Order details (a composite key), two a page, next links relative to the service root, numbers as numbers."""

    def __init__(self) -> None:
        self.rows = [{"OrderID": order, "ProductID": product, "Quantity": 1} for order in (1, 2) for product in (7, 8)]
        self.queries: list[dict[str, str]] = []
        self.app = Starlette(routes=[Route("/V4/Northwind.svc/Order_Details", self._get)])

    async def _get(self, request: Request) -> Response:
        self.queries.append(dict(request.query_params))
        start = int(request.query_params.get("$skiptoken", "0"))
        body: dict[str, Any] = {"@odata.context": "$metadata#Order_Details", "value": self.rows[start : start + 2]}
        if start + 2 < len(self.rows):
            body["@odata.nextLink"] = f"Order_Details?$skiptoken={start + 2}"
        return JSONResponse(body, headers={"OData-Version": "4.0"})


def northwind(url: str) -> dict[str, Any]:
    """The source, as YAML would give it."""
    return {
        "source": "northwind",
        "connector": "odata_v4",
        "connection": {"base_url": f"{url}/V4/Northwind.svc", "allow_private": True, "query": {"tenant": "a b"}},
        "every": "1h",
        "streams": {
            "details": {
                "path": "Order_Details",
                "primary_key": ["OrderID", "ProductID"],
                "select": ["OrderID", "ProductID", "Quantity"],
                "entity": "order",
                "fields": {"amount": "Quantity"},
            }
        },
    }


async def test_every_read_is_whole_and_tells_what_is_missing_since_the_last(services: Services) -> None:
    """Composite keys are joined; a row that is gone is a deletion; one that returns is there again."""
    peer = Northwind()
    async with serve(peer.app) as url:
        it = World(services, northwind(url))
        await it.poll(3600)
        gone = peer.rows.pop(1)
        await it.poll(3600)
        without = await it.final()
        peer.rows.append(gone | {"Quantity": 2})
        await it.poll(3600)
        final = await it.final()
        changes = await it.changes()
        kept = await services.blobs.list("capture/keys/")
        await it.capture.close()
    assert sorted(without) == ["1/7", "2/7", "2/8"]
    assert sorted(final) == ["1/7", "1/8", "2/7", "2/8"]
    assert final["1/8"] == {"OrderID": 1, "ProductID": 8, "Quantity": 2}
    assert [change.data.key for change in changes if change.data.op == "d"] == ["1/8"]
    assert len(kept) == 1  # one key set is kept: the last read's
    assert peer.queries[0] == {"tenant": "a b", "$select": "OrderID,ProductID,Quantity"}


async def test_a_v4_01_tombstone_names_its_key(services: Services) -> None:
    """``@removed`` with an id or with the key's own fields."""
    values = [
        {"@removed": {"reason": "deleted"}, "@id": "Order_Details(OrderID=1,ProductID=7)"},
        {"@removed": {"reason": "deleted"}, "OrderID": 1, "ProductID": 8},
        {"@removed": {"reason": "deleted"}},
    ]
    body = msgspec.json.encode({"value": values})

    async def answer(_: Request) -> Response:
        return Response(body, media_type="application/json")

    app = Starlette(routes=[Route("/V4/Northwind.svc/Order_Details", answer)])
    async with serve(app) as url:
        it = World(services, northwind(url))
        await it.poll(3600)
        assert [(change.data.op, change.data.key) for change in await it.changes()] == [("d", "1/7"), ("d", "1/8")]
        assert len(await it.letters()) == 1
        await it.capture.close()
