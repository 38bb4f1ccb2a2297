"""Who the app is to Azure: one credential for every client, and no keys.

In Azure it is a user-assigned managed identity, named by its client id; on a developer's machine,
without one, whoever ``az login`` says. Nothing else is tried: a chain of credentials makes a wrong
setting look like a slow start.

Connection strings carry keys, so they are for emulators only.
https://learn.microsoft.com/azure/developer/python/sdk/authentication/best-practices
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from azure import identity as blocking
from azure.core.credentials import TokenCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import AzureCliCredential, ManagedIdentityCredential

from flockiq.shared.errors import ConfigError, Problem

CLIENT_ID = "AZURE_CLIENT_ID"
"""The setting that names the user-assigned identity, as Microsoft's own tools call it."""

CLI_TIMEOUT_S = 30
_ENDPOINTS: Final = {
    "endpoint", "hostname", "accountendpoint", "blobendpoint", "queueendpoint", "tableendpoint", "data source"
}  # fmt: skip
_DEVELOPMENT: Final = {"usedevelopmentemulator", "usedevelopmentstorage"}


def credential(environment: Mapping[str, str]) -> AsyncTokenCredential:
    """The one credential: the managed identity ``AZURE_CLIENT_ID`` names, else the Azure CLI's login.

    It asks nobody before a client needs a token, and keeps tokens until shortly before they end.
    Whoever makes it closes it, after the clients that use it.
    """
    client_id = _client_id(environment)
    if client_id:
        return ManagedIdentityCredential(client_id=client_id)
    return AzureCliCredential(process_timeout=CLI_TIMEOUT_S)


def blocking_credential(environment: Mapping[str, str]) -> TokenCredential:
    """The same identity, for a client that has threads of its own and no loop."""
    client_id = _client_id(environment)
    if client_id:
        return blocking.ManagedIdentityCredential(client_id=client_id)
    return blocking.AzureCliCredential(process_timeout=CLI_TIMEOUT_S)


def emulator(setting: str, connection_string: str) -> str:
    """``connection_string`` as it is, if it can only be an emulator's; else ConfigError, which never shows it.

    It is one if every host it names is this machine, or if it says UseDevelopmentEmulator=true (Azurite:
    UseDevelopmentStorage=true) and every host is a bare name, as containers have.
    """
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (part.partition("=") for part in connection_string.split(";") if part.strip())
    }
    development = any(fields.get(name, "").lower() == "true" for name in _DEVELOPMENT)
    hosts = [_host(value) for name, value in fields.items() if name in _ENDPOINTS]
    if (hosts or development) and all(is_here(host) or (development and _bare(host)) for host in hosts):
        return connection_string
    raise ConfigError(
        [
            Problem(
                setting,
                0,
                "",
                "it holds a connection string, and only an emulator's is taken: keys are not kept in settings",
                f"in Azure, name the resource and let the identity of {CLIENT_ID} in; an emulator's says "
                "UseDevelopmentEmulator=true or names 127.0.0.1",
            )
        ]
    )


def is_here(host: str) -> bool:
    """Whether ``host`` is this machine: localhost, or an address of its loopback."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _client_id(environment: Mapping[str, str]) -> str:
    return environment.get(CLIENT_ID, "").strip()


def _host(endpoint: str) -> str:
    try:
        return urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or ""
    except ValueError:
        return ""


def _bare(host: str) -> bool:
    return bool(host) and "." not in host and ":" not in host
