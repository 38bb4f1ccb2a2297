"""Who the app is to Azure, and which connection strings it takes."""

from __future__ import annotations

import pytest
from azure import identity as blocking
from azure.identity.aio import AzureCliCredential, ManagedIdentityCredential

from flockiq.shared.adapters.azure.identity import blocking_credential, credential, emulator
from flockiq.shared.errors import ConfigError


async def test_a_client_id_names_the_managed_identity() -> None:
    """User-assigned; without one it is whoever az login says, and nothing else is tried."""
    managed = credential({"AZURE_CLIENT_ID": "2f1c7a4e-0000-4000-8000-000000000000"})
    assert isinstance(managed, ManagedIdentityCredential)
    for environment in ({}, {"AZURE_CLIENT_ID": " "}):
        login = credential(environment)
        assert isinstance(login, AzureCliCredential)
        await login.close()
    await managed.close()


def test_a_client_without_a_loop_is_the_same_identity() -> None:
    """Chosen by the same setting."""
    named = {"AZURE_CLIENT_ID": "2f1c7a4e-0000-4000-8000-000000000000"}
    assert isinstance(blocking_credential(named), blocking.ManagedIdentityCredential)
    assert isinstance(blocking_credential({}), blocking.AzureCliCredential)


@pytest.mark.parametrize(
    "text",
    [
        "Endpoint=sb://127.0.0.1:5673;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true",
        "Endpoint=sb://localhost;SharedAccessKeyName=n;SharedAccessKey=k=",
        "Endpoint=sb://eventhubs-emulator;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;",
        "UseDevelopmentStorage=true",
        "AccountName=a;AccountKey=k;BlobEndpoint=http://127.0.0.1:10000/a;QueueEndpoint=http://[::1]:10001/a",
        "AccountEndpoint=https://localhost:8081/;AccountKey=k",
    ],
)
def test_an_emulators_connection_string_is_taken(text: str) -> None:
    """It names this machine, or says that it is one and names a container."""
    assert emulator("SETTING", text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Endpoint=sb://prod.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=hush",
        "Endpoint=sb://prod.servicebus.windows.net/;SharedAccessKey=hush;UseDevelopmentEmulator=true",
        "Endpoint=sb://eventhubs-emulator;SharedAccessKey=hush",
        "Endpoint=sb://127.0.0.1.example.org;SharedAccessKey=hush",
        "Endpoint=sb://10.0.0.5;SharedAccessKey=hush;UseDevelopmentEmulator=true",
        "BlobEndpoint=http://127.0.0.1:10000/a;QueueEndpoint=https://a.queue.core.windows.net;AccountKey=hush",
        "DefaultEndpointsProtocol=https;AccountName=prod;AccountKey=hush;EndpointSuffix=core.windows.net",
        "UseDevelopmentStorage=false;AccountKey=hush",
        "Endpoint=sb://[bad;SharedAccessKey=hush;UseDevelopmentEmulator=true",
        "hush",
    ],
)
def test_any_other_connection_string_is_refused_unshown(text: str) -> None:
    """The error names the setting and the way out, and keeps the key to itself."""
    with pytest.raises(ConfigError, match=r"SETTING.*only an emulator's.*AZURE_CLIENT_ID") as caught:
        emulator("SETTING", text)
    assert "hush" not in str(caught.value)
