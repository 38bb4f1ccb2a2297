"""What hosts remember of the hubs: removed by an import, so that every trigger begins where the hub does.

State logs say how far each partition is folded, and what comes again changes nothing; a checkpoint that is further
would keep from them what the state that was brought in has not folded.

The local host keeps its checkpoints in the registry (local/host/checkpoints.py). Azure's keeps them in a storage
account of its own, as the SDK's blob checkpoint store has them: container azure-webjobs-eventhub, blobs
NAMESPACE/HUB/GROUP/checkpoint/PARTITION, in small letters.
https://learn.microsoft.com/azure/azure-functions/functions-bindings-event-hubs-trigger
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from flockiq.shared.adapters.azure.events.namespace import NAMESPACE
from flockiq.shared.adapters.azure.identity import credential, emulator
from flockiq.shared.errors import StoreUnavailable
from flockiq.shared.services import Services
from flockiq.shared.transfer import HUBS

HOST: Final = "AzureWebJobsStorage"
"""The host's own storage, in its own words: ``AzureWebJobsStorage__blobServiceUri`` names it; ``AzureWebJobsStorage``
itself may hold an emulator's connection string."""
HOST_BLOBS: Final = f"{HOST}__blobServiceUri"
CONTAINER: Final = "azure-webjobs-eventhub"
PATIENCE: Final = 3  # tries again of a request that is not answered
_EXAMPLE: Final = "UseDevelopmentStorage=true"  # what local.settings.json says where no host of Azure's has run


async def forget(services: Services, environment: Mapping[str, str]) -> int:
    """Remove the checkpoints of every hub that is folded; how many there were.

    StoreUnavailable if the host's storage can't be reached, or does not let us in; the same again goes on.
    """
    removed = 0
    for hub in HUBS:
        for key in await services.registry.list(f"host/checkpoints/{hub}/"):
            await services.registry.delete(key)
            removed += 1
    return removed + await _of_azure(environment)


async def _of_azure(environment: Mapping[str, str]) -> int:
    uri, text = environment.get(HOST_BLOBS, "").strip(), environment.get(HOST, "").strip()
    if not uri and text in ("", _EXAMPLE):
        return 0
    if not uri:
        async with BlobServiceClient.from_connection_string(emulator(HOST, text), retry_total=PATIENCE) as client:
            return await _removed(client.get_container_client(CONTAINER), environment, "of the emulator")
    async with credential(environment) as who, BlobServiceClient(uri, who, retry_total=PATIENCE) as client:
        return await _removed(client.get_container_client(CONTAINER), environment, uri)


async def _removed(container: ContainerClient, environment: Mapping[str, str], where: str) -> int:
    namespace, removed = environment.get(NAMESPACE, "").lower(), 0
    try:
        async for name in container.list_blob_names(name_starts_with=f"{namespace}/" if namespace else None):
            if _is_checkpoint(name):
                await container.delete_blob(name)
                removed += 1
    except ResourceNotFoundError:  # no host has made it yet
        return removed
    except AzureError as error:
        refused = isinstance(error, HttpResponseError) and error.status_code == 403  # noqa: PLR2004 - HTTP's own
        role = "Storage Blob Data Contributor on it is needed, and a network it lets in"
        why = role if refused else f"it did not answer ({type(error).__name__})"
        raise StoreUnavailable(
            f"the checkpoints in the host's storage {where} can't be removed: {why}. The same command goes on from here"
        ) from error
    return removed


def _is_checkpoint(name: str) -> bool:
    """Whether a blob is one, of a hub that is folded."""
    _, hub, _, what, *_ = [*name.split("/"), "", "", "", ""]
    return hub in HUBS and what == "checkpoint"
