"""One Eventhouse database: queries, streaming ingestion and queued ingestion, through Microsoft's clients.

Queries and streaming are asynchronous; the client of queued ingestion blocks, and keeps to a thread. All are
the one identity.

https://learn.microsoft.com/kusto/api/rest/ and https://learn.microsoft.com/kusto/api/netfx/kusto-ingest-best-practices
"""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.kusto.data import ClientRequestProperties, DataFormat, KustoConnectionStringBuilder
from azure.kusto.data._cloud_settings import CloudSettings
from azure.kusto.data.aio import KustoClient
from azure.kusto.data.response import KustoResponseDataSet
from azure.kusto.ingest import IngestionProperties, QueuedIngestClient

from flockiq.shared.adapters.azure.identity import is_here
from flockiq.shared.adapters.azure.kusto.verdicts import INGEST, QUERY, Verdicts
from flockiq.shared.adapters.azure.retries import Verdict, persist
from flockiq.shared.errors import ConfigError, Problem, StoreUnavailable

DATABASE: Final = "Kusto__database"

STREAM_WITHIN_S: Final = 5.0  # then the rows are queued
WITHIN_S: Final = 15.0
QUERY_S: Final = 30
TRY_S: Final = 40.0
MAX_ROWS: Final = 500_000  # of an answer: the service's own limit

_READS: Final[Mapping[str, object]] = {
    # What a query may be: queries come from files that people write, and from the page.
    "request_readonly": True,
    "request_external_data_disabled": True,
    "request_external_table_disabled": True,
    "request_callout_disabled": True,
    "request_remote_entities_disabled": True,
    "truncationmaxrecords": MAX_ROWS,
}


class Cluster:
    """Reaches one database; nothing is opened before its first use. ConfigError if the settings name none."""

    def __init__(
        self,
        environment: Mapping[str, str],
        credential: Callable[[], AsyncTokenCredential],
        *,
        within_s: float = WITHIN_S,
        stream_within_s: float = STREAM_WITHIN_S,
        try_s: float = TRY_S,
    ) -> None:
        self._environment = environment
        self._credential = credential
        self._within_s, self._stream_within_s, self._try_s = within_s, stream_within_s, try_s
        self._database = environment.get(DATABASE, "").strip() or "flockiq"
        self._client: KustoClient | None = None
        self._queued: QueuedIngestClient | None = None
        self._thread = ThreadPoolExecutor(1, "kusto-queue")
        self._opening = asyncio.Lock()
        self._closed = False

    async def query(self, kql: str, parameters: Mapping[str, str]) -> KustoResponseDataSet:
        """A query's answer; parameters as the service reads them.

        QueryError if it is wrong or goes over a limit; StoreUnavailable if nobody answers.
        """
        properties = ClientRequestProperties()  # type: ignore[no-untyped-call]  # as the SDK has it
        for name, value in {**_READS, "servertimeout": timedelta(seconds=QUERY_S)}.items():
            properties.set_option(name, value)
        for name, given in parameters.items():
            properties.set_parameter(name, given)

        async def ask() -> KustoResponseDataSet:
            answer: KustoResponseDataSet = await (await self._open()).execute_query(self._database, kql, properties)
            return answer

        return await self._persist(ask, self._verdicts.of_query, self._within_s, "a query")

    async def command(self, text: str) -> None:
        """Run a control command. Refused if this identity may not; StoreUnavailable if nobody answers."""

        async def run() -> None:
            await (await self._open()).execute_mgmt(self._database, text)

        await self._persist(run, lambda error: self._verdicts.of_command(text, error), self._within_s, "a command")

    async def stream(self, table: str, rows: bytes) -> None:
        """Have NDJSON rows, of 4 MB at most, stored now.

        NotStreamed: they are not, and may be queued. Refused or another StoreUnavailable: they may yet be stored.
        """
        packed = await asyncio.to_thread(gzip.compress, rows, 1)

        async def send() -> None:
            await (await self._open()).execute_streaming_ingest(
                self._database, table, io.BytesIO(packed), None, DataFormat.JSON, mapping_name=table
            )

        await self._persist(send, self._verdicts.of_stream, self._stream_within_s, f"streaming to {table}")

    async def queue(self, table: str, rows: bytes) -> None:
        """Have NDJSON rows stored when their turn comes: they are in the service's storage, and queued."""
        properties = IngestionProperties(
            self._database, table, DataFormat.JSON, ingestion_mapping_kind=None, ingestion_mapping_reference=table
        )

        def send(client: QueuedIngestClient) -> None:
            client.ingest_from_stream(io.BytesIO(rows), properties)

        async def queue() -> None:
            await self._open()
            if self._queued is None:
                self._queued = QueuedIngestClient(self._connection(self._ingest_uri, _Blocking), False)  # noqa: FBT003 - the URI is whole
            await asyncio.wrap_future(self._thread.submit(send, self._queued))

        await self._persist(queue, self._verdicts.of, self._within_s, f"queueing for {table}")

    async def close(self) -> None:
        """Close the clients; whoever made the credential closes that."""
        self._closed = True
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()  # type: ignore[no-untyped-call]  # as the SDK has it
        if self._queued is not None:
            queued, self._queued = self._queued, None
            await asyncio.wrap_future(self._thread.submit(queued.close))
        self._thread.shutdown(wait=False)

    async def _persist[T](
        self, work: Callable[[], Awaitable[T]], judge: Callable[[Exception], Verdict], within_s: float, what: str
    ) -> T:
        return await persist(work, judge, within_s=within_s, what=what, try_s=self._try_s)

    async def _open(self) -> KustoClient:
        async with self._opening:
            if self._closed:
                raise StoreUnavailable(f"the Eventhouse {self._query_uri} has been closed; open it again")
            if self._client is None:
                connection = self._connection(self._query_uri, _Shared)
                # The SDK asks the cluster how to log in, and would block this process's loop meanwhile.
                if not self._here:
                    await asyncio.to_thread(CloudSettings.get_cloud_info_for_cluster, f"{self._query_uri}/")
                self._client = KustoClient(connection)
            return self._client

    def _connection(
        self, uri: str, sharing: Callable[[AsyncTokenCredential], _Shared | _Blocking]
    ) -> KustoConnectionStringBuilder:
        if self._here:
            return KustoConnectionStringBuilder.with_no_authentication(uri)
        return KustoConnectionStringBuilder.with_azure_token_credential(uri, sharing(self._credential()))

    @property
    def _here(self) -> bool:
        """Whether it is an emulator on this machine: that one asks for no identity."""
        parts = urlsplit(self._query_uri)
        return parts.scheme == "http" and is_here(parts.hostname or "")

    @property
    def _verdicts(self) -> Verdicts:
        return Verdicts(self._query_uri, self._database)

    @property
    def _query_uri(self) -> str:
        return self._uri(QUERY, "")

    @property
    def _ingest_uri(self) -> str:
        return self._uri(INGEST, self._query_uri if self._here else "")

    def _uri(self, setting: str, default: str) -> str:
        uri = self._environment.get(setting, "").strip().rstrip("/") or default
        parts = urlsplit(uri)
        if parts.scheme == "https" or (parts.scheme == "http" and is_here(parts.hostname or "")):
            return uri
        right = "https://NAME.REGION.kusto.windows.net, or of Fabric https://NAME.kusto.fabric.microsoft.com"
        raise ConfigError([Problem(setting, 0, "", "it names no Eventhouse", right)])


class _Shared:
    """The app's credential, which a client may not close."""

    def __init__(self, credential: AsyncTokenCredential) -> None:
        self._credential = credential

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return await self._credential.get_token(*scopes, **options)

    async def close(self) -> None:
        """Whoever made the credential closes it."""


class _Blocking:
    """The same for a client that blocks a thread: asked on the loop that this was made on."""

    def __init__(self, credential: AsyncTokenCredential) -> None:
        self._credential = credential
        self._loop = asyncio.get_running_loop()

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        async def ask() -> AccessToken:
            return await self._credential.get_token(*scopes, **options)

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(TRY_S)

    def close(self) -> None:
        """Whoever made the credential closes it."""
