"""Azure Cosmos DB for NoSQL on 127.0.0.1: what Microsoft's SDK needs of it, over REST.

Models, for ``azure-cosmos`` unmodified (plain HTTP as the Linux emulator serves it, or TLS with a given certificate):

- the account with itself as the one writable and readable region, its consistency Session;
- keys: every request's HMAC signature is verified; Entra tokens: one of ``tokens`` (over TLS, as the SDK insists);
- containers with partition keys, hierarchical ones (MultiHash) as well, hashed as the SDK hashes them; two physical
  partitions each, which a tenant may span (``within``); requests for a physical partition that has moved are
  answered 410/1002, and the ranges are read again by ETag;
- documents: create, read, replace, upsert, delete, with ETags (If-Match: 412), 404, 409, 413 over 2 MB, ids without
  ``/ \\ ? #`` of at most 1,023 bytes, integers kept as doubles, time to live in seconds;
- transactional batches: of one partition key, at most 100 operations and 2 MB, all or nothing; 207 with a status for
  each operation, 424 for those that were not to blame;
- queries: the SQL of sql.py with parameters, within a partition key, within a range of effective partition keys, or
  across partitions by the plan that is asked for first (400/1004); pages, continuation tokens that go on after the
  last document given; ORDER BY on a path without an index is refused, filters on one are noted in ``scans``;
- session tokens, request charges (of the right order of magnitude: 1 a kilobyte read, 5 a kilobyte made, 10 a
  kilobyte replaced, half a unit for each indexed property, 2.5 a page of a query and 0.03 a document in it).

From: the REST reference (https://learn.microsoft.com/rest/api/cosmos-db/), the pages on hierarchical partition keys,
transactional batches, indexing policies, time to live and status codes
(https://learn.microsoft.com/azure/cosmos-db/), and what the SDK's own code expects of a gateway.

Does not model: creating databases and containers (they are given); regions, failover and replicas, but for a
read that lags; throughput (throttling is a fault here, never load); change feeds, stored procedures, patches,
unique keys, composite indexes; plans of anything but SELECT * … ORDER BY across partitions, and the gateway's own
fan-out of simpler queries; aggregates other than COUNT; the rights of an identity.

Faults (``faults``; at ``CONTAINER/read``, ``…/create``, ``…/replace``, ``…/delete``, ``…/batch`` or ``…/query``):

========================= =====================================================================================
throttled                 429, with x-ms-retry-after-ms
batch_throttled           a batch of which one operation is throttled: 207 with 429 and 424, and nothing is done
retry_with                449: a write met another
unavailable               503, and nothing is done
timed_out                 408, though what was asked is done
dropped                   the connection is cut off, and nothing is done
unanswered                what was asked is done, and the connection cut off before the answer
slow                      the answer comes ``slow_s`` later
short                     a page of a query comes empty, with a continuation
stale                     a document is read as it was before its last write
moved                     a physical partition has moved: 410/1002 to whoever names the old one
expired                   401: the token has run out
========================= =====================================================================================
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, Self
from urllib.parse import unquote

from aiohttp import web

from tests.peers.cosmos import sql
from tests.peers.cosmos.store import MAX_BATCH_BYTES, MAX_OPERATIONS, Answer, Container, Item, number
from tests.peers.faults import Faults
from tests.peers.loop import Loop

KINDS = (
    "throttled", "batch_throttled", "retry_with", "unavailable", "timed_out", "dropped", "unanswered", "slow", "short",
    "stale", "moved", "expired",
)  # fmt: skip
KEY: Final = base64.b64encode(b"a key of the peer, of no use anywhere else").decode()
RETRY_AFTER_MS: Final = 20
_BODY_BYTES: Final = 4 * 1024 * 1024
_WRITES: Final = ("create", "replace", "delete", "batch")


class CosmosDB:
    """A database with these containers (as ARM defines them); serves from entering to leaving.

    ``within`` names, for a container, the first components of the partition key amid whose documents its two
    physical partitions meet. With ``certificate`` it serves TLS, and takes ``tokens`` besides its key.
    """

    def __init__(
        self,
        containers: Mapping[str, Mapping[str, Any]],
        *,
        database: str = "flockiq",
        within: Mapping[str, Sequence[str]] | None = None,
        tokens: Sequence[str] = (),
        certificate: ssl.SSLContext | None = None,
        slow_s: float = 0.5,
    ) -> None:
        self.faults = Faults(KINDS)
        self.asked: list[tuple[str, str]] = []
        """(place, SQL or "") of every request for documents."""
        self._database = database
        self._containers = {
            name: Container(definition, (within or {}).get(name, ())) for name, definition in containers.items()
        }
        self._tokens = set(tokens)
        self._certificate = certificate
        self._slow_s = slow_s
        self._port = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._loop = stack.enter_context(Loop())
            self._loop.run(self._listen())
            stack.callback(lambda: self._loop.run(self._runner.cleanup()))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self._port}/"

    @property
    def connection_string(self) -> str:
        """As an emulator's."""
        return f"AccountEndpoint={self.endpoint};AccountKey={KEY};"

    @property
    def environment(self) -> Mapping[str, str]:
        """The app settings that name it."""
        return {"CosmosDB": self.connection_string, "CosmosDB__database": self._database}

    def documents(self, container: str) -> list[Item]:
        """What a container holds now."""
        return self._loop.run(_now(self._containers[container].items))

    def partitions_of(self, container: str, *keys: Sequence[str]) -> list[int]:
        """Which of the two physical partitions each of these partition keys is in."""
        found = self._containers[container]
        return [int(found.hashed(key) >= found.boundary) for key in keys]

    @property
    def scans(self) -> set[str]:
        """``container/path`` of everything that a query filtered by without an index."""
        return {f"{name}{path}" for name, container in self._containers.items() for path in container.scans}

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for what expires."""
        for container in self._containers.values():
            container.pass_time(seconds)

    async def _listen(self) -> None:
        app = web.Application(client_max_size=_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._certificate)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except Answer as answer:
            return _failed(answer)
        except sql.Refused as refused:
            return _failed(Answer(400, "BadRequest", str(refused)))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/") if part]
        self._authorise(request, parts)
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
        self.asked.append((where, body["query"] if kind == "query" else ""))
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
        session = container.session(container.range_of(container.hashed(key)))
        if kind == "batch":
            return self._batch(request, container, key, body, where)
        if kind == "read":
            item, charge = container.read(key, document, stale=self.faults.strikes("stale", where))
            return web.json_response(item, headers=_headers(charge, container, session) | {"etag": item["_etag"]})
        operation = "Upsert" if request.headers.get("x-ms-documentdb-is-upsert", "").lower() == "true" else kind.title()
        item, charge = container.write(
            operation, key, document or str(body.get("id", "")), body or {}, request.headers.get("If-Match", "")
        )
        headers = _headers(charge, container, session)
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
        session = container.session(container.range_of(container.hashed(key)))
        if self.faults.strikes("batch_throttled", where):
            undone = {"statusCode": 424, "requestCharge": 0.0}
            throttled = {
                "statusCode": 429,
                "subStatusCode": 3200,
                "requestCharge": 0.4,
                "retryAfterMilliseconds": RETRY_AFTER_MS,
            }
            return web.json_response(
                [undone] * (len(operations) - 1) + [throttled], status=207, headers=_headers(0.4, container, session)
            )
        results, done = container.batch(key, operations)
        if request.headers.get("Prefer") == "return=minimal":
            results = [{name: value for name, value in result.items() if name != "resourceBody"} for result in results]
        charge = sum(result["requestCharge"] for result in results)
        return web.json_response(results, status=200 if done else 207, headers=_headers(charge, container, session))

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

    def _authorise(self, request: web.Request, parts: Sequence[str]) -> None:
        """401 unless the request is signed with the key, or bears a token (both as the REST reference has it)."""
        given = dict(
            pair.split("=", 1) for pair in unquote(request.headers.get("Authorization", "")).split("&") if "=" in pair
        )
        if given.get("type") == "aad":
            if self._certificate is not None and given.get("sig") in self._tokens:
                return
        elif given.get("type") == "master":
            kind = parts[-1] if len(parts) % 2 else (parts[-2] if parts else "")
            link = "/".join(parts[:-1] if len(parts) % 2 else parts)
            date = request.headers.get("x-ms-date", "")
            text = f"{request.method.lower()}\n{kind.lower()}\n{link}\n{date.lower()}\n\n"
            signed = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
            if hmac.compare_digest(base64.b64encode(signed).decode(), given.get("sig", "")):
                return
        raise Answer(401, "Unauthorized", "The input authorization token can't serve the request")


async def _now[T](work: Any) -> Any:
    return work()


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
            "x-ms-alt-content-path": f"dbs/flockiq/colls/{name}",
            "x-ms-content-path": container.rid,
        }
    return headers


def _failed(answer: Answer) -> web.Response:
    headers = _headers(1.0)
    if answer.sub_status:
        headers["x-ms-substatus"] = str(answer.sub_status)
    if answer.status == 429:
        headers["x-ms-retry-after-ms"] = str(RETRY_AFTER_MS)
    return web.json_response({"code": answer.code, "message": str(answer)}, status=answer.status, headers=headers)


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
