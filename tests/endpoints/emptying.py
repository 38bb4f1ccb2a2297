"""Empties what belongs to the tests at shared endpoints, port by port; nothing else is looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from azure.core.credentials_async import AsyncTokenCredential
from azure.cosmos.aio import CosmosClient
from azure.kusto.data import KustoConnectionStringBuilder
from azure.kusto.data.aio import KustoClient
from azure.storage.blob.aio import BlobServiceClient

from flockiq.shared.adapters.azure import cosmos
from flockiq.shared.adapters.azure.identity import credential
from flockiq.shared.tables import read_tables

ROOT: Final = Path(__file__).resolve().parents[2]
CONTAINERS: Final = ROOT / "shared" / "adapters" / "azure" / "cosmos.json"
OF: Final[Mapping[str, tuple[str, ...]]] = {"alerts": ("alerts",), "registry": ("documents", "leases")}
"""The containers of Cosmos DB that a port keeps its documents in."""


async def emptied(port: str, settings: Mapping[str, str]) -> None:
    """Empty what ``port`` keeps at the endpoints that ``settings`` name."""
    async with AsyncExitStack() as stack:
        login = await stack.enter_async_context(credential(settings))
        if port in OF:
            await _documents(await stack.enter_async_context(cosmos_client(settings, login)), port, settings)
        elif port in ("state", "blobs"):
            await _blobs(await stack.enter_async_context(blob_client(settings, login)), port, settings)
        elif port == "analytics":
            await _rows(await stack.enter_async_context(kusto_client(settings, login)), settings)


def cosmos_client(settings: Mapping[str, str], login: AsyncTokenCredential) -> CosmosClient:
    """A client of the account; an emulator's connection string has its key."""
    text = settings.get("CosmosDB", "")
    if text:
        return CosmosClient.from_connection_string(text)
    return CosmosClient(settings["CosmosDB__accountEndpoint"], login)


def blob_client(settings: Mapping[str, str], login: AsyncTokenCredential) -> BlobServiceClient:
    """A client of the storage account."""
    text = settings.get("Storage", "")
    if text:
        return BlobServiceClient.from_connection_string(text)
    return BlobServiceClient(settings["Storage__blobServiceUri"], login)


def kusto_client(settings: Mapping[str, str], login: AsyncTokenCredential) -> KustoClient:
    """A client of the cluster; an emulator asks for no login."""
    uri = settings["Kusto__queryUri"]
    if uri.startswith("http://"):
        return KustoClient(KustoConnectionStringBuilder.with_no_authentication(uri))
    return KustoClient(KustoConnectionStringBuilder.with_azure_token_credential(uri, login))


async def _documents(client: CosmosClient, port: str, settings: Mapping[str, str]) -> None:
    database = client.get_database_client(settings.get("CosmosDB__database", cosmos.DATABASE))
    defined = json.loads(CONTAINERS.read_text(encoding="utf-8"))
    for name in OF[port]:
        container = database.get_container_client(name)
        paths = [path.removeprefix("/") for path in defined[name]["partitionKey"]["paths"]]
        async for item in container.query_items("SELECT * FROM c"):
            key: Any = [item[path] for path in paths]
            await container.delete_item(item["id"], key if len(key) > 1 else key[0])


async def _blobs(client: BlobServiceClient, port: str, settings: Mapping[str, str]) -> None:
    container = client.get_container_client(f"{settings.get('Storage__containers', 'flockiq')}-{port}")
    async for name in container.list_blob_names():
        await container.delete_blob(name)


async def _rows(client: KustoClient, settings: Mapping[str, str]) -> None:
    for table in read_tables(ROOT / "eventhouse" / "tables.kql"):
        await client.execute_mgmt(settings.get("Kusto__database", "flockiq"), f".clear table {table} data")
