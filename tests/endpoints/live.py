"""A real resource group: what tests need is made there under a name of its own, through the Azure CLI, and removed.

Whoever is logged in needs the right to make it (Contributor of the group) and to use it: Event Hubs Data Owner,
Storage Blob Data Contributor, Cosmos DB Built-in Data Contributor, Key Vault Secrets Officer. Nothing is removed
whose name does not begin with the prefix of this very run.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from flockiq.shared.settings import READ_GROUP
from tests.endpoints.emptying import CONTAINERS, ROOT
from tests.endpoints.family import HUBS
from tests.endpoints.place import Place

ARM: Final = "https://management.azure.com"
MADE_S: Final = 900.0
TYPES: Final[Mapping[str, tuple[str, str, str]]] = {
    "events": ("Microsoft.EventHub/namespaces", "", "2024-01-01"),
    "alerts": ("Microsoft.DocumentDB/databaseAccounts", "", "2024-11-15"),
    "state": ("Microsoft.Storage/storageAccounts", "stdata", "2024-01-01"),
    "secrets": ("Microsoft.KeyVault/vaults", "", "2023-07-01"),
    "analytics": ("Microsoft.Kusto/clusters", "", "2024-04-13"),
}
"""Of each port: the resource that infra/ makes, how its name begins, and the version of ARM's interface to it."""


class Unready(Exception):
    """There is nothing to run over; says why, and what to do."""


class Az:
    """The Azure CLI."""

    def json(self, *arguments: str) -> Any:
        """What a command prints, from JSON; CalledProcessError if it fails."""
        done = subprocess.run(  # noqa: S603 - our own arguments
            ["az", *arguments, "--output", "json"],  # noqa: S607 - what the user has
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout) if done.stdout.strip() else None

    def put(self, path: str, version: str, body: Mapping[str, Any]) -> None:
        """Make a resource, and wait until it is made."""
        url = f"{ARM}{path}?api-version={version}"
        self.json("rest", "--method", "put", "--url", url, "--body", json.dumps(body))
        deadline = time.monotonic() + MADE_S
        while True:
            found = self.json("rest", "--method", "get", "--url", url) or {}
            state = found.get("properties", {}).get("provisioningState", "Succeeded")
            if state == "Succeeded":
                return
            if state == "Failed" or time.monotonic() > deadline:
                raise Unready(f"{path} was not made: {state}")
            time.sleep(5.0)

    def delete(self, path: str, version: str) -> None:
        """Remove a resource."""
        self.json("rest", "--method", "delete", "--url", f"{ARM}{path}?api-version={version}")


@contextmanager
def made(az: Az, group: str) -> Iterator[Place]:
    """What tests need, in a resource group, from entering to leaving. Unready if there is none."""
    account, group = _login(az), group or _of_azd()
    found = _resources(az, group)
    prefix = f"t{secrets.token_hex(4)}-"
    with ExitStack() as stack:
        run = _Run(az, prefix, stack)
        settings: dict[str, str] = {}
        for port, (resource, about) in found.items():
            settings |= _MAKING[port](run, resource, about, account)
        both = {"alerts": ("alerts", "registry"), "state": ("state", "blobs")}
        ports = [each for port in found for each in both.get(port, (port,))]
        yield Place(ports=ports, prefix=prefix, settings=settings)


class _Run:
    """Makes resources and sees that each is removed, in whatever way the run ends."""

    def __init__(self, az: Az, prefix: str, stack: ExitStack) -> None:
        self.az, self.prefix, self._stack = az, prefix, stack

    def put(self, parent: str, kind: str, name: str, version: str, body: Mapping[str, Any]) -> str:
        """Make ``name`` under ``parent``; its path. Only what has the prefix itself is removed: the rest goes along."""
        path = f"{parent}/{kind}/{name}"
        if name.startswith(self.prefix):
            self._stack.callback(self.remove, path, lambda: self.az.delete(path, version))
        self.az.put(path, version, body)
        return path

    def later(self, what: str, work: Callable[[], None]) -> None:
        """Have ``work`` done at the end."""
        self._stack.callback(self.remove, what, work)

    def remove(self, what: str, work: Callable[[], None]) -> None:
        """Remove one thing; the others are removed even if it can't be, and it is said."""
        if self.prefix not in what:
            raise AssertionError(f"{what} is not of this run")
        try:
            work()
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"{what} was not removed ({error.stderr.strip()[:300]}): remove it by hand\n")


def _login(az: Az) -> Mapping[str, Any]:
    if type(az) is Az and shutil.which("az") is None:
        raise Unready("the Azure CLI is not installed here.")
    try:
        account: Mapping[str, Any] = az.json("account", "show")
    except subprocess.CalledProcessError as error:
        raise Unready("nobody is logged in to Azure: az login.") from error
    return account


def _of_azd() -> str:
    if shutil.which("azd") is not None:
        done = subprocess.run(["azd", "env", "get-values"], capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S607 - what the user has
        values = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        if named := values.get("AZURE_RESOURCE_GROUP", "").strip('"'):
            return named
    raise Unready("no resource group is named: azd env select NAME, or ARGS='--group NAME'.")


def _resources(az: Az, group: str) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """{port: the path and description of its resource}; a group without Data Explorer has no analytics here."""
    listed = az.json("resource", "list", "--resource-group", group)
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for port, (kind, begins, version) in TYPES.items():
        paths = [
            each["id"] for each in listed if each["type"].lower() == kind.lower() and each["name"].startswith(begins)
        ]
        if len(paths) == 1:
            found[port] = (
                paths[0],
                az.json("rest", "--method", "get", "--url", f"{ARM}{paths[0]}?api-version={version}"),
            )
        elif port != "analytics" or paths:
            raise Unready(
                f"resource group {group} has {len(paths)} of {kind}, and needs one: is it one that infra/ made?"
            )
    return found


def _hubs(run: _Run, path: str, about: Mapping[str, Any], _account: Mapping[str, Any]) -> Mapping[str, str]:
    version = TYPES["events"][2]
    for hub, count in HUBS.items():
        retention = {"cleanupPolicy": "Delete", "retentionTimeInHours": 1}
        body = {"properties": {"partitionCount": count, "retentionDescription": retention}}
        made_hub = run.put(path, "eventhubs", run.prefix + hub, version, body)
        run.put(made_hub, "consumergroups", READ_GROUP, version, {"properties": {}})
    host = about["properties"]["serviceBusEndpoint"].removeprefix("https://").partition(":")[0]
    return {"EventHub__fullyQualifiedNamespace": host}


def _cosmos(run: _Run, path: str, about: Mapping[str, Any], _account: Mapping[str, Any]) -> Mapping[str, str]:
    version, name = TYPES["alerts"][2], f"{run.prefix}flockiq"
    serverless = any(each["name"] == "EnableServerless" for each in about["properties"].get("capabilities", []))
    options = {} if serverless else {"autoscaleSettings": {"maxThroughput": 1000}}
    body = {"properties": {"resource": {"id": name}, "options": options}}
    database = run.put(path, "sqlDatabases", name, version, body)
    for container, defined in json.loads(CONTAINERS.read_text(encoding="utf-8")).items():
        run.put(database, "containers", container, version, {"properties": {"resource": defined}})
    return {"CosmosDB__accountEndpoint": about["properties"]["documentEndpoint"], "CosmosDB__database": name}


def _storage(run: _Run, path: str, about: Mapping[str, Any], _account: Mapping[str, Any]) -> Mapping[str, str]:
    for name in ("state", "blobs"):
        run.put(f"{path}/blobServices/default", "containers", run.prefix + name, TYPES["state"][2], {"properties": {}})
    uri = about["properties"]["primaryEndpoints"]["blob"].rstrip("/")
    return {"Storage__blobServiceUri": uri, "Storage__containers": run.prefix.rstrip("-")}


def _vault(run: _Run, _path: str, about: Mapping[str, Any], _account: Mapping[str, Any]) -> Mapping[str, str]:
    vault = about["name"]

    def forget() -> None:
        for each in run.az.json("keyvault", "secret", "list", "--vault-name", vault):
            if each["name"].startswith(run.prefix):
                run.az.json("keyvault", "secret", "delete", "--vault-name", vault, "--name", each["name"])

    run.later(f"secrets {run.prefix}* of {vault}", forget)
    return {"KeyVault__vaultUri": about["properties"]["vaultUri"]}


def _explorer(run: _Run, path: str, about: Mapping[str, Any], account: Mapping[str, Any]) -> Mapping[str, str]:
    version, name = TYPES["analytics"][2], f"{run.prefix}flockiq"
    body = {"location": about["location"], "kind": "ReadWrite", "properties": {}}
    database = run.put(path, "databases", name, version, body)
    for script in ("tables", "mappings", "policies"):
        text = (ROOT / "eventhouse" / f"{script}.kql").read_text(encoding="utf-8")
        run.put(database, "scripts", script, version, {"properties": {"scriptContent": text}})
    who = run.az.json("ad", "signed-in-user", "show")["id"]
    admin = {"principalId": who, "principalType": "User", "role": "Admin", "tenantId": account["tenantId"]}
    run.put(database, "principalAssignments", "tests", version, {"properties": admin})
    properties = about["properties"]
    return {
        "Kusto__queryUri": properties["uri"],
        "Kusto__ingestUri": properties["dataIngestionUri"],
        "Kusto__database": name,
    }


_MAKING: Final = {"events": _hubs, "alerts": _cosmos, "state": _storage, "secrets": _vault, "analytics": _explorer}
