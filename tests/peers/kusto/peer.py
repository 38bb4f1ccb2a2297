"""An Eventhouse database on 127.0.0.1: what Microsoft's Kusto clients need of it, over REST.

Models, for ``azure-kusto-data`` and ``azure-kusto-ingest`` unmodified (plain HTTP without login, as the Kusto emulator
serves it, or TLS with a given certificate and tokens):

- ``/v2/rest/query``: queries with parameters, answered in frames as v2 has them; errors as the one-API errors they are,
  with ``@permanent``; commands are refused there;
- ``/v1/rest/ingest/DATABASE/TABLE``: streaming ingestion of gzipped NDJSON through a mapping that must exist, of 4 MB
  at most; keys the mapping does not name are dropped in silence, as the service does;
- ``/v1/rest/mgmt``: ``.get ingestion resources`` and ``.get kusto identity token``, and behind them queued ingestion: a
  container and a queue in Azurite, from which rows are taken after ``batching_s``;
- ``.delete table T records`` there, of rows that equal given texts, for an admin alone (``admin``);
- ``.ingest inline`` of JSON through a mapping, ``.clear table T data``; ``.create-merge`` and ``.create-or-alter`` of
  tables are taken, and change nothing: what they would make is there;
- ``/v1/rest/auth/metadata``: how to log in.

From: the REST reference (https://learn.microsoft.com/kusto/api/rest/), streaming ingestion
(https://learn.microsoft.com/azure/data-explorer/ingest-data-streaming), ingestion without the library
(https://learn.microsoft.com/kusto/api/netfx/kusto-ingest-client-rest), and what the SDK's own code expects.

Tables and mappings are those of eventhouse/. What queries mean is the affair of the app's embedded adapter (KQL on
DuckDB), which answers them here: the one place where a peer leans on the app, so that the page's own queries run.
Does not model: policies, update policies, materialized views, caching, extents, roles, retention, failures of queued
ingestion reported through queues and tables; types of columns are told from the values of an answer.

Faults (``faults``; at ``query``, ``stream/TABLE``, ``mgmt`` or ``queued/TABLE``):

============ =====================================================================================================
throttled    429
unavailable  503 with an error that is not permanent, and nothing is done
dropped      the connection is cut off, and nothing is done
unanswered   what was asked is done, and the connection cut off before the answer
slow         the answer comes ``slow_s`` later
expired      401: the token has run out
refused      400 with an error that is permanent: a mapping that is gone
unstreamed   400 with an error that is permanent, to rows that are streamed: the table takes queued ones alone
too_large    413 to rows that are streamed
half         200, and in the rows an error: the query failed on its way
strange      200 with something that is no answer
============ =====================================================================================================
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import ssl
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

from aiohttp import web

from flockiq.shared.adapters.embedded.analytics import DuckdbAnalytics
from flockiq.shared.errors import BadRecord, FlockIQError
from tests.peers.faults import Faults
from tests.peers.kusto import frames
from tests.peers.kusto.queued import Queued
from tests.peers.kusto.texts import CLEAR, INLINE, MADE, deletion, typed
from tests.peers.loop import Loop
from tests.peers.storage.azurite import Missing

KINDS: Final = (
    "throttled", "unavailable", "dropped", "unanswered", "slow", "expired", "refused", "unstreamed", "too_large",
    "half", "strange",
)  # fmt: skip
EVENTHOUSE: Final = Path(__file__).resolve().parents[3] / "eventhouse"
HOST: Final = "flockiq.westeurope.kusto.windows.net"
STREAMED_BYTES: Final = 4 << 20
_MAPPING: Final = re.compile(r'table (\w+) ingestion json mapping "(\w+)"\s*```(.*?)```', re.DOTALL)


class Eventhouse:
    """A database with the tables of eventhouse/, empty; serves from entering to leaving.

    With ``certificate`` it serves TLS as HOST, and as its ``ingest-`` twin, to who brings one of ``tokens``.
    """

    def __init__(
        self,
        *,
        database: str = "flockiq",
        tokens: Collection[str] = (),
        certificate: ssl.SSLContext | None = None,
        slow_s: float = 0.5,
        batching_s: float = 0.0,
    ) -> None:
        self.faults = Faults(KINDS)
        self.asked: Counter[str] = Counter()
        """How many requests came, by the places of faults."""
        self.options: list[Mapping[str, Any]] = []
        """The options of every query."""
        self._database = database
        self._tokens, self._certificate = tokens, certificate
        self._slow_s, self._batching_s = slow_s, batching_s
        self._mappings: dict[str, dict[str, str]] = defaultdict(dict)
        for _, name, body in _MAPPING.findall((EVENTHOUSE / "mappings.kql").read_text(encoding="utf-8")):
            for column in json.loads(body):
                self._mappings[name][column["column"]] = column["Properties"]["Path"].removeprefix("$.")
        self._queued: Queued | None = None
        self._made, self._filled = 0, False
        self.admin = True
        """Whether who asks may delete."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(TemporaryDirectory()))
            self._engine = self._fresh()
            self._loop = stack.enter_context(Loop())
            self._loop.run(self._listen())
            stack.callback(lambda: self._loop.run(self._leave()))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    @property
    def environment(self) -> Mapping[str, str]:
        """The app settings that name it."""
        if self._certificate is None:
            return {"Kusto__queryUri": f"http://127.0.0.1:{self.port}", "Kusto__database": self._database}
        return {
            "Kusto__queryUri": f"https://{HOST}",
            "Kusto__ingestUri": f"https://ingest-{HOST}",
            "Kusto__database": self._database,
        }

    def rows(self, kql: str) -> list[list[Any]]:
        """What a query finds now, asked past the peer's door."""
        return [list(row) for row in self._loop.run(self._engine.query(kql)).rows]

    def forget_mapping(self, name: str) -> None:
        """As if a mapping had never been deployed."""
        del self._mappings[name]

    async def _listen(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v1/rest/auth/metadata", _metadata)
        app.router.add_post("/v2/rest/query", self._query)
        app.router.add_post("/v1/rest/mgmt", self._manage)
        app.router.add_post("/v1/rest/ingest/{database}/{table}", self._stream)
        # What comes gzipped is unpacked here, where its size can be held against the limit.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._certificate).start()
        self.port: int = self._runner.addresses[0][1]
        """Where on 127.0.0.1 it is."""

    async def _leave(self) -> None:
        await self._runner.cleanup()
        if self._queued is not None:
            await self._queued.close()
        await self._engine.close()

    async def _query(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._before(request, "query")) is not None:
            return refused
        asked = await request.json()
        given = json.loads(asked.get("properties", "{}"))
        self.options.append(given.get("Options", {}))
        kql = asked["csl"]
        if asked["db"] != self._database:
            return _error(f"Database '{asked['db']}' could not be found.", "BadRequest_EntityNotFound")
        if kql.lstrip().startswith("."):
            return _error("Syntax error: a control command is no query", "BadRequest_SyntaxError")
        if self.faults.strikes("half", "query"):
            return web.json_response(frames.half())
        if self.faults.strikes("strange", "query"):
            return web.json_response({"hello": "world"})
        try:
            found = await self._engine.query(kql, typed(kql, given.get("Parameters", {})))
        except FlockIQError as error:
            return _error(str(error), "BadRequest_SemanticError")
        return await self._after(request, "query", web.json_response(frames.answer(found.columns, found.rows)))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        table = request.match_info["table"]
        where = f"stream/{table}"
        body = await request.read()
        if (refused := self._before(request, where)) is not None:
            return refused
        if request.match_info["database"] != self._database:
            return _error("no such database", "BadRequest_DatabaseNotExist")
        if self.faults.strikes("unstreamed", where):
            return _error("as planned", "BadRequest_StreamingIngestionPolicyNotEnabled")
        if self.faults.strikes("too_large", where):
            return web.Response(status=413, text="Request Entity Too Large")
        rows = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        if len(rows) > STREAMED_BYTES:
            return _error("the request is over 4 MB", "Stream_InputStreamTooLarge")
        try:
            await self._take(table, rows, request.query.get("mappingName", ""), request.query.get("streamFormat", ""))
        except FlockIQError as error:
            return _error(str(error), "BadRequest_StreamingIngestionFailed")
        return await self._after(request, where, web.json_response(frames.table(["ConsumedRecordsCount"], [[1]])))

    async def _manage(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._before(request, "mgmt")) is not None:
            return refused
        text = (await request.json())["csl"]
        command = " ".join(text.split())
        if command == ".get kusto identity token":
            return web.json_response(frames.table(["AuthorizationContext"], [["peer"]]))
        if (deleted := deletion(text)) is not None:
            if not self.admin:
                return _error("Principal is not authorized to perform this operation", "Forbidden", status=403)
            table, like = deleted
            await self._engine.remove(table, like)
            done = web.json_response(frames.table(["TableName"], [[table]]))
            return await self._after(request, "mgmt", done)
        if (done_by_hand := await self._by_hand(text)) is not None:
            done = web.json_response(frames.table(["TableName"], [[done_by_hand]]))
            return await self._after(request, "mgmt", done)
        if command != ".get ingestion resources":
            return _error(f"Syntax error: {command}", "BadRequest_SyntaxError")
        if self._queued is None:
            try:
                self._queued = Queued(self._take_queued, self._batching_s)
                await self._queued.open()
            except Missing as missing:
                self._queued = None
                return _error(str(missing), "ServiceUnavailable", status=503)
        answer = frames.table(["ResourceTypeName", "StorageRoot"], self._queued.resources())
        return await self._after(request, "mgmt", web.json_response(answer))

    async def _by_hand(self, text: str) -> str | None:
        """The table of a command that somebody types, once it is done; None if it is none of those."""
        if (found := INLINE.match(text)) is not None:
            await self._take(found["table"], text[found.end() :].encode(), found["mapping"], "json")
            self._filled = True
            return found["table"]
        if (found := CLEAR.fullmatch(text)) is not None:
            if self._filled:  # of one table means of all here, which is how tests clear them
                await self._engine.close()
                self._engine, self._filled = self._fresh(), False
            return found["table"]
        made = MADE.match(text)
        return made["table"] if made is not None else None

    def _fresh(self) -> DuckdbAnalytics:
        self._made += 1
        return DuckdbAnalytics(self._folder / f"{self._made}.duckdb", EVENTHOUSE)

    async def _take_queued(self, message: Mapping[str, Any], rows: bytes) -> None:
        """Rows of a queued ingestion; a fault leaves them queued."""
        table, more = message["TableName"], message["AdditionalProperties"]
        self.asked[f"queued/{table}"] += 1
        if message["DatabaseName"] != self._database or more["authorizationContext"] != "peer":
            raise BadRecord("it is not for this database, or nobody's")
        if self.faults.strikes("unavailable", f"queued/{table}"):
            raise ConnectionError("as planned")
        await self._take(table, rows, more.get("ingestionMappingReference", ""), more["format"])

    async def _take(self, table: str, rows: bytes, mapping: str, form: str) -> None:
        if mapping not in self._mappings:
            raise BadRecord(f"Entity ID '{mapping}' of kind 'MappingPersistent' was not found.")
        if form != "json":
            raise BadRecord(f"format {form} is not what the mapping is for")
        paths = self._mappings[mapping]
        mapped = []
        for line in rows.splitlines():
            row = json.loads(line)
            mapped.append(json.dumps({column: row[path] for column, path in paths.items() if path in row}))
        await self._engine.ingest(table, "\n".join(mapped).encode())

    def _before(self, request: web.Request, where: str) -> web.Response | None:
        """What comes of a request that a fault, or who it is from, keeps from being done."""
        self.asked[where] += 1
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._certificate is not None and token not in self._tokens:
            return web.Response(status=401, text="no token that is known here")
        if self.faults.strikes("throttled", where):
            return _error("as planned", "TooManyRequests", status=429)
        if self.faults.strikes("unavailable", where):
            return _error("as planned", "ServiceUnavailable", status=503)
        if self.faults.strikes("expired", where):
            return web.Response(status=401, text="the token has run out")
        if self.faults.strikes("refused", where):
            return _error("as planned", "BadRequest_MappingReferenceWasNotFound")
        return _cut_off(request) if self.faults.strikes("dropped", where) else None

    async def _after(self, request: web.Request, where: str, answer: web.Response) -> web.Response:
        if self.faults.strikes("slow", where):
            await asyncio.sleep(self._slow_s)
        return _cut_off(request) if self.faults.strikes("unanswered", where) else answer


async def _metadata(_request: web.Request) -> web.Response:
    login = {
        "LoginEndpoint": "https://login.microsoftonline.com",
        "LoginMfaRequired": False,
        "KustoClientAppId": "db662dc1-0cfe-4e1c-a843-19a68e65be58",
        "KustoClientRedirectUri": "http://localhost",
        "KustoServiceResourceId": "https://kusto.kusto.windows.net",
        "FirstPartyAuthorityUrl": "https://login.microsoftonline.com/f8cdef31-a31e-4b4a-93e4-5f571e91255a",
    }
    return web.json_response({"AzureAD": login})


def _error(message: str, code: str, *, status: int = 400) -> web.Response:
    said: dict[str, Any] = {
        "code": code,
        "message": "Request is invalid and cannot be executed." if status == 400 else "Service is unavailable.",
        "@type": "Kusto.DataNode.Exceptions.KustoException",
        "@message": message,
        "@context": {},
        "@permanent": status == 400,
    }
    return web.json_response({"error": said}, status=status)


def _cut_off(request: web.Request) -> web.Response:
    """End the connection without a word more."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
