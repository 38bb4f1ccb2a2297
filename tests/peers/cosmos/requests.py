"""How the peer answers a request: who asks, what for, and what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from tests.peers.cosmos import sql
from tests.peers.cosmos.pages import Answer
from tests.peers.cosmos.signatures import authorise
from tests.peers.cosmos.store import MAX_BATCH_BYTES, MAX_OPERATIONS, Container, number
from tests.peers.faults import Faults

_WRITES: Final = ("create", "replace", "delete", "batch")


class Asked(NamedTuple):
    """A request for documents: when (by the monotonic clock), at which place, and with which SQL, if any."""

    at_s: float
    place: str
    text: str


class Requests:
    """Answers requests over containers; ``tokens`` are taken only where they come over TLS."""

    def __init__(
        self,
        containers: Mapping[str, Container],
        faults: Faults,
        *,
        database: str,
        tokens: Sequence[str],
        secure: bool,
        slow_s: float,
        retry_after_s: float,
    ) -> None:
        self.asked: list[Asked] = []
        self.endpoint = ""
        self.faults = faults
        self._containers = containers
        self._database = database
        self._tokens = frozenset(tokens)
        self._secure = secure
        self._slow_s = slow_s
        self._retry_after_ms = str(int(retry_after_s * 1000))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The answer to one request."""
        try:
            return await self._answer(request)
        except Answer as answer:
            return self._failed(answer)
        except sql.Refused as refused:
            return self._failed(Answer(400, "BadRequest", str(refused)))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/") if part]
        authorise(request, parts, self._tokens if self._secure else frozenset())
        match parts:
            case []:
                return web.json_response(self._account())
            case ["dbs", self._database]:
                return web.json_response({"id": self._database, "_rid": "ZGI=", "_self": "dbs/ZGI=/"})
            case ["dbs", self._database, "colls", str(name), *rest] if name in self._containers:
                container = self._containers[name]
                match request.method, rest:
                    case "GET", []:
                        given = {
                            **container.definition,
                            "_rid": container.rid,
                            "_self": f"dbs/ZGI=/colls/{container.rid}/",
                        }
                        return web.json_response(given, headers=_headers(1.0))
                    case "GET", ["pkranges"]:
                        return _ranges(request, container)
                    case _, ["docs", *document] if len(document) < 2:
                        return await self._documents(request, name, container, document[0] if document else "")
        raise Answer(404, "NotFound", f"Resource Not Found: {request.method} {request.path}", 1003 if parts else 0)

    async def _documents(
        self, request: web.Request, name: str, container: Container, document: str
    ) -> web.StreamResponse:
        """One request for documents, with what goes wrong before and after it."""
        body = json.loads(await request.text() or "null", parse_int=number)
        kind = _kind(request)
        where = f"{name}/{kind}"
        if kind == "plan":
            return web.json_response(
                sql.plan(sql.parse(body["query"], body.get("parameters", ()))), headers=_headers(0.0)
            )
        self.asked.append(Asked(time.monotonic(), where, body["query"] if kind == "query" else ""))
        self._fail_before(where, kind)
        if self.faults.strikes("dropped", where):
            return _cut(request)
        answer = self._do(request, kind, container, document, body, where)
        if self.faults.strikes("unanswered", where):
            return _cut(request)
        if self.faults.strikes("timed_out", where):
            raise Answer(408, "RequestTimeout", "the request timed out")
        if self.faults.strikes("slow", where):
            await asyncio.sleep(self._slow_s)
        return answer

    def _fail_before(self, where: str, kind: str) -> None:
        if self.faults.strikes("expired", where):
            raise Answer(401, "Unauthorized", "the access token has expired")
        if self.faults.strikes("throttled", where):
            raise Answer(429, "TooManyRequests", "Request rate is large", 3200)
        if self.faults.strikes("unavailable", where):
            raise Answer(503, "ServiceUnavailable", "Service is currently unavailable", 20003)
        if kind in _WRITES and self.faults.strikes("retry_with", where):
            raise Answer(
                449, "RetryWith", "Conflicting request to resource has been attempted. Retry to avoid conflicts"
            )

    def _do(
        self, request: web.Request, kind: str, container: Container, document: str, body: Any, where: str
    ) -> web.StreamResponse:
        key = tuple(json.loads(request.headers.get("x-ms-documentdb-partitionkey", "[]")))
        if kind == "query":
            return self._query(request, container, key, sql.parse(body["query"], body.get("parameters", ())), where)
        if len(key) != len(container.definition["partitionKey"]["paths"]):
            raise Answer(400, "BadRequest", "the partition key is missing or not whole", 1001)
        range_id = container.range_of(container.hashed(key))
        if kind == "batch":
            return self._batch(request, container, key, body, where)
        if kind == "read":
            if request.headers.get("x-ms-session-token") and self.faults.strikes("behind", where):
                raise Answer(404, "NotFound", "The read session is not available for the input session token", 1002)
            item, charge = container.read(key, document, stale=self.faults.strikes("stale", where))
            return web.json_response(
                item, headers=_headers(charge, container, container.session(range_id)) | {"etag": item["_etag"]}
            )
        operation = "Upsert" if request.headers.get("x-ms-documentdb-is-upsert", "").lower() == "true" else kind.title()
        item, charge = container.write(
            operation, key, document or str(body.get("id", "")), body or {}, request.headers.get("If-Match", "")
        )
        headers = _headers(charge, container, container.session(range_id))
        if kind == "delete":
            return web.Response(status=204, headers=headers)
        minimal = request.headers.get("Prefer") == "return=minimal"
        return web.json_response(
            None if minimal else item,
            status=201 if kind == "create" else 200,
            headers=headers | {"etag": item["_etag"]},
        )

    def _batch(
        self, request: web.Request, container: Container, key: tuple[str, ...], operations: Any, where: str
    ) -> web.StreamResponse:
        if not 0 < len(operations) <= MAX_OPERATIONS:
            raise Answer(400, "BadRequest", f"Batch request has {len(operations)} operations, of 1 to {MAX_OPERATIONS}")
        if (request.content_length or 0) > MAX_BATCH_BYTES:
            raise Answer(413, "RequestEntityTooLarge", "Request size is too large")
        range_id = container.range_of(container.hashed(key))
        if self.faults.strikes("batch_throttled", where):
            undone = {"statusCode": 424, "requestCharge": 0.0}
            throttled = {
                "statusCode": 429,
                "subStatusCode": 3200,
                "requestCharge": 0.4,
                "retryAfterMilliseconds": int(self._retry_after_ms),
            }
            return web.json_response(
                [undone] * (len(operations) - 1) + [throttled],
                status=207,
                headers=_headers(0.4, container, container.session(range_id)),
            )
        results, done = container.batch(key, operations)
        if request.headers.get("Prefer") == "return=minimal":
            results = [{name: value for name, value in result.items() if name != "resourceBody"} for result in results]
        charge = sum(result["requestCharge"] for result in results)
        return web.json_response(
            results, status=200 if done else 207, headers=_headers(charge, container, container.session(range_id))
        )

    def _query(
        self, request: web.Request, container: Container, key: tuple[str, ...], query: sql.Query, where: str
    ) -> web.StreamResponse:
        headers = request.headers
        range_id = headers.get("x-ms-documentdb-partitionkeyrangeid")
        low, high = headers.get("x-ms-start-epk", ""), headers.get("x-ms-end-epk", "FF")
        if key:
            range_id = container.range_of(container.hashed(key))
        elif range_id is None:
            if headers.get("x-ms-documentdb-query-enablecrosspartition", "").lower() != "true":
                raise Answer(400, "BadRequest", "Cross partition query is required but disabled")
            raise Answer(400, "BadRequest", "the query can't be served by the gateway: ask for its plan", 1004)
        else:
            if self.faults.strikes("moved", where):
                container.move()
            held = {found["id"]: found for found in container.ranges}.get(range_id)
            if held is None:
                raise Answer(410, "Gone", "the partition key range is gone", 1002)
            low, high = max(low, held["minInclusive"]), min(high, held["maxExclusive"])
        size = int(headers.get("x-ms-max-item-count", "100"))
        page = container.query(
            query,
            low,
            high,
            key,
            size if size > 0 else 1000,
            headers.get("x-ms-continuation", ""),
            short=self.faults.strikes("short", where),
        )
        answer = _headers(page.charge, container, container.session(range_id)) | {
            "x-ms-item-count": str(len(page.documents))
        }
        if page.continuation:
            answer["x-ms-continuation"] = page.continuation
        given = {"_rid": container.rid, "Documents": page.documents, "_count": len(page.documents)}
        return web.json_response(given, headers=answer)

    def _account(self) -> Mapping[str, Any]:
        here = [{"name": "Here", "databaseAccountEndpoint": self.endpoint}]
        return {
            "id": "peer",
            "_self": "",
            "_rid": "peer",
            "writableLocations": here,
            "readableLocations": here,
            "enableMultipleWriteLocations": False,
            "enablePerPartitionFailoverBehavior": False,
            "userReplicationPolicy": {"asyncReplication": False, "minReplicaSetSize": 3, "maxReplicasetSize": 4},
            "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
            "systemReplicationPolicy": {"minReplicaSetSize": 3, "maxReplicasetSize": 4},
            "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
            "queryEngineConfiguration": "{}",
        }

    def _failed(self, answer: Answer) -> web.Response:
        headers = _headers(1.0)
        if answer.sub_status:
            headers["x-ms-substatus"] = str(answer.sub_status)
        if answer.status == 429:
            headers["x-ms-retry-after-ms"] = self._retry_after_ms
        return web.json_response({"code": answer.code, "message": str(answer)}, status=answer.status, headers=headers)


def _kind(request: web.Request) -> str:
    def told(header: str) -> bool:
        return request.headers.get(header, "").lower() == "true"

    if request.method == "POST":
        if told("x-ms-cosmos-is-query-plan-request"):
            return "plan"
        if told("x-ms-documentdb-isquery"):
            return "query"
        return "batch" if told("x-ms-cosmos-is-batch-request") else "create"
    return {"GET": "read", "PUT": "replace", "DELETE": "delete"}[request.method]


def _ranges(request: web.Request, container: Container) -> web.StreamResponse:
    headers = _headers(1.0) | {"etag": container.generation}
    if request.headers.get("If-None-Match") == container.generation:
        return web.Response(status=304, headers=headers)
    ranges = container.ranges
    return web.json_response(
        {"_rid": container.rid, "PartitionKeyRanges": ranges, "_count": len(ranges)}, headers=headers
    )


def _headers(charge: float, container: Container | None = None, session: str = "") -> dict[str, str]:
    headers = {"x-ms-request-charge": f"{charge:.2f}", "x-ms-activity-id": str(uuid.uuid4())}
    if container is not None:
        name = container.definition["id"]
        headers |= {
            "x-ms-session-token": session,
            "x-ms-documentdb-partitionkeyrangeid": session.partition(":")[0],
            "x-ms-alt-content-path": f"dbs/flockiq/colls/{name}",
            "x-ms-content-path": container.rid,
        }
    return headers


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
