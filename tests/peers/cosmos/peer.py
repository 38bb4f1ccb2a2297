"""Azure Cosmos DB for NoSQL on 127.0.0.1: what Microsoft's SDK needs of it, over REST.

Models, for ``azure-cosmos`` unmodified (plain HTTP as the Linux emulator serves it, or TLS with a given certificate):

- the account with itself as the one writable and readable region, its consistency Session;
- keys: every request's HMAC signature is verified; Entra tokens: one of ``tokens`` (over TLS, as the SDK insists);
- containers with partition keys, hierarchical ones (MultiHash) as well, hashed as the SDK hashes them; two physical
  partitions each, which a tenant may span (``within``); requests for a physical partition that has moved are
  answered 410/1002, and the ranges are read again by ETag;
- documents: create, read, replace, upsert, delete, with ETags (If-Match: 412), 404, 409, 413 over 2 MB, ids without
  slashes, ``?`` and ``#``, of at most 1,023 bytes, integers kept as doubles, time to live in seconds;
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
unique keys, composite indexes; plans of anything but SELECT * across partitions, and the gateway's own
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
behind                    404/1002 to a read within a session: no replica has yet what it has seen
moved                     a physical partition has moved: 410/1002 to whoever names the old one
expired                   401: the token has run out
========================= =====================================================================================
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, Self

from aiohttp import web

from tests.peers.cosmos.pages import Item
from tests.peers.cosmos.requests import Asked, Requests
from tests.peers.cosmos.signatures import KEY
from tests.peers.cosmos.store import Container
from tests.peers.faults import Faults
from tests.peers.loop import Loop

KINDS = (
    "throttled", "batch_throttled", "retry_with", "unavailable", "timed_out", "dropped", "unanswered", "slow", "short",
    "stale", "behind", "moved", "expired",
)  # fmt: skip
_BODY_BYTES: Final = 4 * 1024 * 1024


class CosmosDB:
    """A database with these containers (as ARM defines them); serves from entering to leaving.

    ``within`` names, for a container, the first components of the partition key amid whose documents its two
    physical partitions meet. With ``certificate`` it serves TLS, and takes ``tokens`` besides its key. ``host`` is
    what it calls itself; it listens on 127.0.0.1.
    """

    def __init__(
        self,
        containers: Mapping[str, Mapping[str, Any]],
        *,
        database: str = "flockiq",
        within: Mapping[str, Sequence[str]] | None = None,
        tokens: Sequence[str] = (),
        certificate: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        slow_s: float = 0.5,
        retry_after_s: float = 0.02,
    ) -> None:
        self.faults = Faults(KINDS)
        self._database = database
        self._containers = {
            name: Container(definition, (within or {}).get(name, ())) for name, definition in containers.items()
        }
        self._certificate = certificate
        self._host = host
        self._requests = Requests(
            self._containers,
            self.faults,
            database=database,
            tokens=tokens,
            secure=certificate is not None,
            slow_s=slow_s,
            retry_after_s=retry_after_s,
        )
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
        return f"{'https' if self._certificate else 'http'}://{self._host}:{self._port}/"

    @property
    def connection_string(self) -> str:
        """As an emulator's."""
        return f"AccountEndpoint={self.endpoint};AccountKey={KEY};"

    @property
    def environment(self) -> Mapping[str, str]:
        """The app settings that name it."""
        return {"CosmosDB": self.connection_string, "CosmosDB__database": self._database}

    @property
    def asked(self) -> Sequence[Asked]:
        """Every request for documents, as they came."""
        return self._requests.asked

    def documents(self, container: str) -> list[Item]:
        """What a container holds now."""
        return self._loop.run(_now(self._containers[container].items))

    def definition(self, container: str) -> Mapping[str, Any]:
        """A container as it was given."""
        return self._containers[container].definition

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
        app.router.add_route("*", "/{path:.*}", self._requests.serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._certificate)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._requests.endpoint = self.endpoint


async def _now[T](work: Callable[[], T]) -> T:
    return work()
