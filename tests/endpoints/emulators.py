"""Microsoft's emulators: where compose.yaml has them listen, and what has to be in them first.

``python -m tests.endpoints.emulators`` writes event-hubs.json, the hubs that the Event Hubs emulator is to have.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceExistsError
from azure.cosmos import PartitionKey

from flockiq.shared.adapters.azure.identity import credential
from flockiq.shared.settings import HUBS, READ_GROUP
from tests.endpoints.emptying import CONTAINERS, ROOT, blob_client, cosmos_client, kusto_client
from tests.endpoints.place import Place
from tests.peers.cosmos.signatures import KEY as COSMOS_KEY
from tests.peers.storage.azurite import ACCOUNT
from tests.peers.storage.azurite import KEY as STORAGE_KEY

FOLDER: Final = Path(__file__).parent
MAX_HUBS, MAX_PARTITIONS, MAX_GROUPS = 10, 32, 20
"""What the Event Hubs emulator takes; https://learn.microsoft.com/azure/event-hubs/overview-emulator#usage-quotas."""

# The keys and names that the emulators' documentation gives everyone.
PLACE: Final = Place(
    ports=("events", "state", "blobs", "alerts", "registry", "analytics"),
    inline=True,
    settings={
        "EventHub": "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true",
        "Storage": f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={STORAGE_KEY};"
        f"BlobEndpoint=http://127.0.0.1:10000/{ACCOUNT}",
        "CosmosDB": f"AccountEndpoint=http://127.0.0.1:8081/;AccountKey={COSMOS_KEY}",
        "Kusto__queryUri": "http://127.0.0.1:8080",
        "Kusto__database": "NetDefaultDB",
    },
)


def hubs() -> Mapping[str, Any]:
    """What the Event Hubs emulator is to have: the app's hubs, each with the group that is read beside ``$Default``."""
    entities = [
        {"Name": hub, "PartitionCount": str(count), "ConsumerGroups": [{"Name": READ_GROUP}]}
        for hub, count in HUBS.items()
    ]
    namespace = {"Type": "EventHub", "Name": "emulatorNs1", "Entities": entities}
    return {"UserConfig": {"NamespaceConfig": [namespace], "LoggingConfig": {"Type": "Console"}}}


def silent(settings: Mapping[str, str]) -> list[str]:
    """The settings whose endpoint nobody listens at; each emulator has one."""
    return [name for name, host, port in _endpoints(settings) if not _listens(host, port)]


async def prepare(settings: Mapping[str, str]) -> None:
    """Make what the app needs: the containers of Cosmos DB and of storage, the tables and mappings of eventhouse/."""
    async with AsyncExitStack() as stack:
        login = await stack.enter_async_context(credential(settings))
        cosmos = await stack.enter_async_context(cosmos_client(settings, login))
        database = await cosmos.create_database_if_not_exists(settings.get("CosmosDB__database", "flockiq"))
        for name, defined in json.loads(CONTAINERS.read_text(encoding="utf-8")).items():
            key = defined["partitionKey"]
            paths = key["paths"] if len(key["paths"]) > 1 else key["paths"][0]
            more = {"default_ttl": defined["defaultTtl"]} if "defaultTtl" in defined else {}
            await database.create_container_if_not_exists(
                name, PartitionKey(paths, kind=key["kind"]), indexing_policy=defined["indexingPolicy"], **more
            )
        storage = await stack.enter_async_context(blob_client(settings, login))
        for name in ("state", "blobs"):
            with contextlib.suppress(ResourceExistsError):
                await storage.create_container(f"{settings.get('Storage__containers', 'flockiq')}-{name}")
        if "Kusto__queryUri" in settings:
            kusto = await stack.enter_async_context(kusto_client(settings, login))
            for script in ("tables.kql", "mappings.kql"):
                for command in commands((ROOT / "eventhouse" / script).read_text(encoding="utf-8")):
                    await kusto.execute_mgmt(settings["Kusto__database"], command)


def commands(script: str) -> list[str]:
    """A script's commands: each begins with a dot at the beginning of a line."""
    return [part.strip() for part in re.split(r"^(?=\.)", script, flags=re.MULTILINE) if part.startswith(".")]


def _endpoints(settings: Mapping[str, str]) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    for name, value in settings.items():
        for part in value.split(";"):
            uri = part.rpartition("=")[2] if "Endpoint=" in part else part if part.startswith("http://") else ""
            parts = urlsplit(uri)
            if parts.hostname:
                found.append((name, parts.hostname, parts.port or 5672))
    return found


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 2.0).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    (FOLDER / "event-hubs.json").write_text(json.dumps(hubs(), indent=2) + "\n", "utf-8")
