"""No keys, nothing open that was to be closed, nothing unwatched, nothing in one zone that was to be in three."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.infra.bicep.evaluate import Resource
from tests.infra.zone import (
    COSMOS,
    DIAGNOSTICS,
    GATEWAY,
    INSIGHTS,
    KUSTO,
    NAMESPACE,
    SETTINGS,
    SITE,
    STORAGE,
    VAULT,
    WORKSPACE,
    Zone,
    same,
)

ZONES = 3  # of a region that has any
PRIVATE: Mapping[str, set[str]] = {
    NAMESPACE: {"namespace"},
    VAULT: {"vault"},
    COSMOS: {"Sql"},
    KUSTO: {"cluster"},
}
"""The endpoints that make a store private, by the store's type; storage accounts see ``_endpoints``."""

DIAGNOSED = {
    NAMESPACE,
    VAULT,
    COSMOS,
    KUSTO,
    SITE,
    WORKSPACE,
    *(f"{STORAGE}/{kind}Services" for kind in ("blob", "queue", "table")),
    GATEWAY,
    "Microsoft.EventGrid/systemTopics",
    "Microsoft.Network/virtualNetworks",
    "Microsoft.Network/networkSecurityGroups",
}


def locked(zone: Zone) -> Iterator[str]:
    """No keys, no passwords, no anonymous reading, no old TLS."""
    must: Mapping[str, Mapping[str, Any]] = {
        STORAGE: {
            "allowSharedKeyAccess": False,
            "allowBlobPublicAccess": False,
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
        },
        f"{STORAGE}/blobServices/containers": {"publicAccess": "None"},
        NAMESPACE: {"disableLocalAuth": True, "minimumTlsVersion": "1.2"},
        COSMOS: {"disableLocalAuth": True, "minimalTlsVersion": "Tls12"},
        INSIGHTS: {"DisableLocalAuth": True},
        VAULT: {"enableRbacAuthorization": True, "enableSoftDelete": True, "enablePurgeProtection": True},
        f"{SITE}/basicPublishingCredentialsPolicies": {"allow": False},
        SITE: {"httpsOnly": True},
    }
    for kind, wanted in must.items():
        for each in zone.deployed.of(kind):
            for name, value in wanted.items():
                if each.properties.get(name) != value:
                    yield f"{kind} {each.name}: {name} is {each.properties.get(name)!r}, not {value!r}"
    policies = {each.name for each in zone.deployed.of(f"{SITE}/basicPublishingCredentialsPolicies")}
    yield from same("closed way of publishing", {"ftp", "scm"}, policies)
    yield from (
        f"setting {name} holds a key"
        for name, value in zone.settings.items()
        if re.search(r"(?i)key=|sig=", str(value))
    )
    signed = any(each.name == "authsettingsV2" for each in zone.deployed.of(SETTINGS))
    if zone.settings["FLOCKIQ_ACCESS"] != ("entra" if signed else "keys"):
        yield "the app would trust headers that nobody in front of it sets, or ask for keys of people who signed in"


def private(zone: Zone) -> Iterator[str]:
    """Where a private network is chosen, no store answers the internet, and each has its endpoints."""
    if not zone.given.get("vnetEnabled"):
        return
    endpoints: dict[str, set[str]] = {}
    for each in zone.deployed.of("Microsoft.Network/privateEndpoints"):
        for connection in each.properties["privateLinkServiceConnections"]:
            told = connection["properties"]
            endpoints.setdefault(told["privateLinkServiceId"], set()).update(told["groupIds"])
    for kind in (*PRIVATE, STORAGE):
        for store in zone.deployed.of(kind):
            if store.properties.get("publicNetworkAccess") != "Disabled":
                yield f"{kind} {store.name} answers the internet"
            missing = _endpoints(store) - endpoints.get(store.id, set())
            yield from (f"{kind} {store.name} has no private endpoint for {group}" for group in sorted(missing))
    named = {
        each.parent.name
        for each in zone.deployed.of("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
        if each.parent
    }
    made = {each.name for each in zone.deployed.of("Microsoft.Network/privateEndpoints")}
    yield from same("endpoint with a name", made, named)
    yield from _app_within(zone, endpoints)


def _app_within(zone: Zone, endpoints: Mapping[str, set[str]]) -> Iterator[str]:
    (site,) = zone.deployed.of(SITE)
    if not site.properties.get("virtualNetworkSubnetId"):
        yield "the app is not in the private network"
    if not zone.given.get("appPublic", True):
        if site.properties.get("publicNetworkAccess") != "Disabled":
            yield "the app answers the internet"
        if "sites" not in endpoints.get(site.id, set()):
            yield "the app has no private endpoint"
        yield from (f"gateway {each.name} can't reach the app" for each in zone.deployed.of(GATEWAY))


def _endpoints(store: Resource) -> set[str]:
    if store.type == STORAGE:
        return {"blob", "queue", "table"} if store.name.startswith("sthost") else {"blob"}
    return PRIVATE[store.type]


def watched(zone: Zone) -> Iterator[str]:
    """Everything that can tell what happens to it tells the workspace."""
    told = {each.scope.id for each in zone.deployed.of(DIAGNOSTICS) if each.scope}
    for kind in DIAGNOSED:
        yield from (f"{kind} {each.name} tells no workspace" for each in zone.deployed.of(kind) if each.id not in told)


def spread(zone: Zone) -> Iterator[str]:
    """Where zone redundancy is chosen, everything that can has it."""
    if not zone.given.get("zoneRedundant", True):
        return
    for each in zone.deployed.of(STORAGE):
        if not each.body["sku"]["name"].endswith("ZRS"):
            yield f"storage account {each.name} is in one zone"
    for kind, wanted in ((NAMESPACE, "zoneRedundant"), ("Microsoft.Web/serverfarms", "zoneRedundant")):
        yield from (
            f"{kind} {each.name} is in one zone"
            for each in zone.deployed.of(kind)
            if each.properties.get(wanted) is not True
        )
    for each in zone.deployed.of(COSMOS):
        if not all(place["isZoneRedundant"] for place in each.properties["locations"]):
            yield f"Cosmos DB account {each.name} is in one zone"
    zoned: Mapping[str, Callable[[str], bool]] = {
        KUSTO: lambda sku: not sku.startswith("Dev"),
        GATEWAY: lambda sku: sku == "Premium",
    }
    for kind, can in zoned.items():
        yield from (
            f"{kind} {each.name} is in one zone"
            for each in zone.deployed.of(kind)
            if can(each.body["sku"]["name"]) and len(each.body["zones"]) < ZONES
        )


def tagged(zone: Zone) -> Iterator[str]:
    """What can be billed says whose it is; the site says which service of azure.yaml it is."""
    wanted = {"azd-env-name": zone.given["environmentName"], **zone.given.get("tags", {})}
    for each in zone.deployed.resources:
        if not each.existing and "location" in each.body and f"{each.type}" != f"{KUSTO}/databases":
            missing = [name for name, value in wanted.items() if each.body.get("tags", {}).get(name) != value]
            yield from (f"{each.type} {each.name} has no tag {name}" for name in missing)
    (site,) = zone.deployed.of(SITE)
    if site.body["tags"].get("azd-service-name") != "api":
        yield "azd would not find the app: its tag azd-service-name is not api"
