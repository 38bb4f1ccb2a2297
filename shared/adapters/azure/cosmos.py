"""One Cosmos DB database: its client, the pace it asks for, and what it charges.

Everything the adapters do here may be done again: writes are conditional on an ETag (or on nothing being
there), so what is tried again after an answer was lost ends in a conflict, and whoever meets a conflict reads.
That is why retries are all in one place, and why the SDK's own are switched off.

https://learn.microsoft.com/azure/cosmos-db/nosql/conceptual-resilient-sdk-applications
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.documents import ConnectionPolicy
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError, CosmosResourceNotFoundError

from flockiq.shared import telemetry
from flockiq.shared.adapters.azure.identity import CLIENT_ID, emulator, is_here
from flockiq.shared.adapters.azure.retries import Verdict, persist
from flockiq.shared.errors import ConfigError, Problem, StoreUnavailable

CONTAINERS: Final[Mapping[str, Mapping[str, Any]]] = json.loads(
    (Path(__file__).parent / "cosmos.json").read_text(encoding="utf-8")
)
"""The containers as ARM's ``sqlContainers`` define them: what makes them reads the same file."""

DATABASE: Final = "flockiq"
WITHIN_S: Final = 30.0
CONNECT_S: Final = 5
ANSWER_S: Final = 15
_THROTTLED: Final = 429
_NOT_FOUND: Final = 404
_LATER: Final = frozenset({401, 408, 410, 429, 449, 500, 502, 503, 504})
_CHARGE: Final = "x-ms-request-charge"
_RETRY_AFTER: Final = "x-ms-retry-after-ms"

type Note = Callable[..., None]
"""What takes note of an answer's charge: the ``response_hook`` of the SDK's calls."""


class Charges:
    """Request units, requests and throttled requests, by operation (``alerts.apply``, ``registry.put``, …)."""

    def __init__(self) -> None:
        self.units: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()

    def note(self, operation: str, headers: Mapping[str, Any] | None) -> None:
        """Count an answer with its charge, refused ones as well: they cost too."""
        self.requests[operation] += 1
        try:
            # mypy knows Counter by int alone; units have fractions.
            units = float((headers or {}).get(_CHARGE, 0))
            self.units[operation] += units  # type: ignore[assignment]
            telemetry.add(telemetry.UNITS, units, operation=operation)
        except (TypeError, ValueError):
            return


class Cosmos:
    """Reaches one database, shared by the adapters over it; nothing is opened before its first use.

    ``credential`` is a key only for an emulator on this machine. What is tried again is tried for ``within_s``
    in all; then StoreUnavailable.
    """

    def __init__(
        self,
        endpoint: str,
        credential: AsyncTokenCredential | str,
        database: str = DATABASE,
        *,
        within_s: float = WITHIN_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        if isinstance(credential, str) and not is_here(urlsplit(endpoint).hostname or ""):
            wrong = f"a key is taken for an emulator on this machine only, not for {endpoint}"
            raise ConfigError([Problem("CosmosDB", 0, "", wrong, "CosmosDB__accountEndpoint, and an identity")])
        self.charges = Charges()
        self._endpoint, self._credential, self._database = endpoint, credential, database
        self._within_s, self._answer_s = within_s, answer_s
        self._client: CosmosClient | None = None
        self._opening = asyncio.Lock()
        self._containers: dict[str, ContainerProxy] = {}
        self._not_before = 0.0  # by the monotonic clock: the service asked everyone to wait until then

    async def do[T](self, operation: str, container: str, work: Callable[[ContainerProxy, Note], Awaitable[T]]) -> T:
        """What ``work`` gives, tried again while the service says "not now".

        ``work`` passes the note to the SDK as ``response_hook``. It may have been done although it is tried
        again. Other answers (404, 409, 412, 413) raise the SDK's own errors.
        """

        def note(headers: Mapping[str, Any], *_: object) -> None:
            self.charges.note(operation, headers)

        async def attempt() -> T:
            await self._turn()
            return await work(await self._container(container), note)

        return await persist(
            attempt, lambda error: self._judge(operation, error), within_s=self._within_s, what=operation
        )

    async def read(
        self, operation: str, container: str, name: str, key: Sequence[str] | str
    ) -> Mapping[str, Any] | None:
        """One document, or None if there is none."""

        async def read(proxy: ContainerProxy, note: Note) -> Mapping[str, Any] | None:
            try:
                return await proxy.read_item(name, key, response_hook=note)
            except CosmosResourceNotFoundError as error:
                if error.sub_status:  # it says that a replica lags or the container is gone, nothing of the document
                    raise
                note(error.headers)
                return None

        return await self.do(operation, container, read)

    async def ask(
        self,
        operation: str,
        container: str,
        text: str,
        parameters: Mapping[str, object],
        key: Sequence[str] | str | None = None,
    ) -> list[Any]:
        """Everything a query finds, within a partition key, the beginning of one, or (None) everywhere.

        Of a hierarchical key's beginning the SDK asks one physical partition after another and appends what
        each gives: ORDER BY, TOP and DISTINCT hold within each alone.
        """
        given = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]
        where: dict[str, Any] = {} if key is None else {"partition_key": key}

        async def read(proxy: ContainerProxy, note: Note) -> list[Any]:
            return [found async for found in proxy.query_items(text, parameters=given, response_hook=note, **where)]

        return await self.do(operation, container, read)

    async def close(self) -> None:
        """Close the client; whoever made the credential closes that."""
        if self._client is not None:
            client, self._client = self._client, None
            self._containers.clear()
            await client.close()

    async def _container(self, name: str) -> ContainerProxy:
        if name not in self._containers:
            async with self._opening:
                if self._client is None:
                    self._client = await self._open()
                proxy = self._client.get_database_client(self._database).get_container_client(name)
                try:
                    await proxy.read()
                except CosmosResourceNotFoundError as error:
                    raise StoreUnavailable(
                        f"Cosmos DB at {self._endpoint}: there is no container {name!r} in database {self._database!r}:"
                        " deploy infra/, which makes it"
                    ) from error
                self._containers[name] = proxy
        return self._containers[name]

    async def _open(self) -> CosmosClient:
        policy = ConnectionPolicy()
        # Of throttled requests; an argument of 0 would mean the SDK's own nine.
        policy.RetryOptions = type(policy.RetryOptions)(max_retry_attempt_count=0)
        client = CosmosClient(
            self._endpoint,
            self._credential,
            connection_policy=policy,
            retry_connect=0,
            retry_read=0,
            connection_timeout=CONNECT_S,
            read_timeout=self._answer_s,
        )
        try:
            return await client.__aenter__()
        except BaseException:
            await client.close()
            raise

    async def _turn(self) -> None:
        """Wait while the service has asked everyone to."""
        wait_s = min(self._not_before - time.monotonic(), self._within_s)
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _judge(self, operation: str, error: Exception) -> Verdict:
        """What an error means: raised as it is, if it is the answer to what was asked, or nobody's fault but ours."""
        at = f"Cosmos DB at {self._endpoint}"
        match error:
            case ClientAuthenticationError():
                login = f"{at}: no token for it: {error.message}: check {CLIENT_ID}, or log in with az login"
                return Verdict(StoreUnavailable(login), again=False)
            case CosmosHttpResponseError(status_code=403):
                refused = f"{at} refuses this identity: give it the role Cosmos DB Built-in Data Contributor there"
                return Verdict(StoreUnavailable(f"{refused}, and let the app's network in"), again=False)
            case CosmosHttpResponseError() | CosmosBatchOperationError():
                self.charges.note(operation, error.headers)
                elsewhere = error.status_code == _NOT_FOUND and error.sub_status
                if error.status_code not in _LATER and not elsewhere:
                    raise error
                status = f"{error.status_code}/{error.sub_status or 0}"
                busy = f"{at} answered {status} to {operation}: see the account's health and throughput"
                return Verdict(StoreUnavailable(busy), again=True, least_s=self._asked_pause(operation, error))
            case AzureError() | TimeoutError() | ConnectionError():
                silent = f"{at} did not answer {operation} ({type(error).__name__}): check that it can be reached"
                return Verdict(StoreUnavailable(silent), again=True)
            case KeyError():
                # Of two reads that met a replica that lags, the SDK lets both forget the session, and the second fails.
                return Verdict(StoreUnavailable(f"{at} lags behind, for {operation}: it catches up"), again=True)
        raise error

    def _asked_pause(self, operation: str, error: CosmosHttpResponseError | CosmosBatchOperationError) -> float:
        """How many seconds a throttling service asks to wait, which holds for every operation."""
        if error.status_code != _THROTTLED:
            return 0.0
        self.charges.throttled[operation] += 1
        try:
            pause_s = float((error.headers or {}).get(_RETRY_AFTER, "")) / 1000
        except ValueError:
            pause_s = 0.0
        self._not_before = max(self._not_before, time.monotonic() + pause_s)
        return pause_s


def connect(environment: Mapping[str, str], credential: Callable[[], AsyncTokenCredential]) -> Cosmos:
    """The database that the settings name; ConfigError if they name none.

    ``CosmosDB__accountEndpoint`` is an account that lets the identity in; ``CosmosDB`` is an emulator's connection
    string, as the Functions host has them. ``CosmosDB__database`` is the database, if it is not called ``flockiq``.
    """
    database = environment.get("CosmosDB__database", DATABASE)
    given = environment.get("CosmosDB", "").strip()
    if given:
        parts = dict(part.split("=", 1) for part in emulator("CosmosDB", given).split(";") if "=" in part)
        named = {name.strip().lower(): value.strip() for name, value in parts.items()}
        return Cosmos(named.get("accountendpoint", ""), named.get("accountkey", ""), database)
    endpoint = environment.get("CosmosDB__accountEndpoint", "").strip()
    if not endpoint.startswith("https://"):
        wrong = "it names no Cosmos DB account"
        raise ConfigError([Problem("CosmosDB__accountEndpoint", 0, "", wrong, "https://NAME.documents.azure.com:443/")])
    return Cosmos(endpoint, credential(), database)


def name_id(name: str) -> str:
    """A document id for any name, in letters, digits, ``-._~`` alone: ids may not hold slashes, ``?`` or ``#``.

    No two names have one id; none is empty, or only dots, which URLs take for folders.
    """
    escaped = quote(name, safe="").replace("~", "%7E").replace("%", "~")
    return f"~2E{escaped[1:]}" if escaped.startswith(".") else escaped or "~"
