"""What the code reads and what infra/ deploys are the same: each check yields what is missing and what is idle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from flockiq.capture.landed import CREATED, files_landed
from flockiq.serve.health import LAG_DOWN_S
from flockiq.shared.adapters.azure import cosmos
from flockiq.shared.adapters.azure.storage import account
from flockiq.shared.settings import HUBS, PORTS, READ_GROUP, Settings
from tests.infra import code
from tests.infra.bicep.evaluate import Resource
from tests.infra.zone import COSMOS, HUB, INSIGHTS, KUSTO, NAMESPACE, ROLE, SITE, STORAGE, VAULT, Zone, same
from tests.infra.zones import ROOT

ROLES: Mapping[str, str] = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "a638d3c7-ab3a-418d-83e6-5f17a39d4fde": "Event Hubs Data Receiver",
    "2b629674-e913-4c01-ae53-ef4638d8f975": "Event Hubs Data Sender",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}

OF_THE_HOST = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsDisableHomepage",
    "EventHub__fullyQualifiedNamespace",
    "EventHub__credential",
    "EventHub__clientId",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID",
}
"""Settings that the Functions host and App Service read, and the app need not."""

DEFAULTED = {
    "CosmosDB__database",  # infra/ gives the database the name that the code expects
    "Storage__containers",  # likewise
    "FLOCKIQ_ADAPTERS_",  # one port's family: for trying out
    "FLOCKIQ_PARTITIONS_",  # the beginning of the hubs' settings
    "FLOCKIQ_TELEMETRY",  # Azure Monitor where it is not set
}
"""Settings the code mentions and works well without."""


def hubs(zone: Zone) -> Iterator[str]:
    """Every hub the code reads or writes, with the groups that read it; none beside."""
    deployed = {each.name: each for each in zone.deployed.of(HUB)}
    yield from same("hub", set(HUBS), set(deployed))
    groups = {(each.path[-2], each.name) for each in zone.deployed.of(f"{HUB}/consumergroups")}
    wanted = {(hub, READ_GROUP) for hub in HUBS}
    wanted |= {(hub, group) for hub, _, group in code.triggers().values() if group != "$Default"}
    yield from same("consumer group", wanted, groups)
    for function, (hub, connection, _) in code.triggers().items():
        if hub not in deployed:
            yield f"function {function} reads hub {hub}, which is not deployed"
        if f"{connection}__fullyQualifiedNamespace" not in zone.settings:
            yield f"function {function} has the connection {connection}, which no setting names"
    for name, hub in deployed.items():
        kept = hub.properties["retentionDescription"]["retentionTimeInHours"]
        if kept * 1800 < LAG_DOWN_S:
            yield f"hub {name} keeps events for {kept} h; health warns too late for that"
        counted = zone.settings.get(f"FLOCKIQ_PARTITIONS_{name.upper()}")
        if counted != str(hub.properties["partitionCount"]):
            yield f"hub {name} has {hub.properties['partitionCount']} partitions, and the app is told {counted}"


def stores(zone: Zone) -> Iterator[str]:
    """Every container the code reads, as the code defines it; none beside."""
    made = {each.name: each.properties["resource"] for each in zone.deployed.of(f"{COSMOS}/sqlDatabases/containers")}
    if made != dict(cosmos.CONTAINERS):
        yield "Cosmos DB's containers are not those of shared/adapters/azure/cosmos.json"
    yield from same("database", {cosmos.DATABASE}, {each.name for each in zone.deployed.of(f"{COSMOS}/sqlDatabases")})
    containers = {each.name for each in zone.deployed.of(f"{STORAGE}/blobServices/containers")}
    ours = {f"flockiq-{each}" for each in (account.STATE, account.BLOBS)}
    yield from same("blob container", {*ours, "deployments"}, containers)
    (site,) = zone.deployed.of(SITE)
    if not site.properties["functionAppConfig"]["deployment"]["storage"]["value"].endswith("deployments"):
        yield "the app is not deployed from the container deployments"
    for event in zone.deployed.of("Microsoft.EventGrid/systemTopics/eventSubscriptions"):
        subject = event.properties["filter"]["subjectBeginsWith"] + "bureau/file.csv"
        told = json.dumps({"type": CREATED, "subject": subject}).encode()
        if [file.path for file in files_landed(told)] != ["inbox/bureau/file.csv"]:
            yield "files that land in inbox/ are told of under another name than the app reads them by"
    scripts = {each.properties["scriptContent"] for each in zone.deployed.of(f"{KUSTO}/databases/scripts")}
    wanted = {path.read_text() for path in (ROOT / "eventhouse").glob("*.kql")}
    if zone.deployed.of(KUSTO) and scripts != wanted:
        yield "the cluster does not run every script of eventhouse/"


def settings(zone: Zone) -> Iterator[str]:
    """Every setting the code reads is set, and nothing else is."""
    ports = {f"FLOCKIQ_ADAPTERS_{port.upper()}" for port in PORTS}
    fields = {f"FLOCKIQ_{name.upper()}" for name in Settings.__struct_fields__}
    partitions = {f"FLOCKIQ_PARTITIONS_{hub.upper()}" for hub in HUBS}
    read = code.settings() | partitions
    named = code.source_settings(zone.config)
    yield from (
        f"setting {name} is read and not set"
        for name in sorted(read - DEFAULTED - ports - fields - zone.settings.keys())
    )
    known = read | fields | named | OF_THE_HOST
    yield from (f"setting {name} is set and not read" for name in sorted(zone.settings.keys() - known))
    if zone.name != "everything":
        unset = sorted(named - zone.settings.keys())
        yield from (f"setting {name} is named by a source and not set" for name in unset)
    if zone.settings.get("FLOCKIQ_ADAPTERS") != "azure":
        yield "the app would not use the adapters of Azure"


def secrets(zone: Zone) -> Iterator[str]:
    """Every secret that a source names is announced; those the app renews it may write."""
    if zone.name != "everything":
        yield from same("secret", code.source_secrets(zone.config), set(zone.given.get("secretNames", [])))
        yield from same("rotated secret", code.rotated_secrets(zone.config), set(zone.given.get("rotatedSecrets", [])))
        if zone.given.get("secrets"):
            yield "the parameter file holds the value of a secret"


def roles(zone: Zone) -> Iterator[str]:
    """The identity may do what the app does, where it does it, and nothing else may."""
    app, topic, operator = (
        "{identity.properties.principalId}",
        "{topic.identity.principalId}",
        zone.given.get("principalId"),
    )
    wanted = {(app, "Event Hubs Data Receiver", NAMESPACE, "")}
    wanted |= {(app, "Event Hubs Data Sender", HUB, hub) for hub in HUBS if hub != "files"}
    wanted |= {(topic, "Event Hubs Data Sender", HUB, "files")}
    wanted |= {
        (app, f"Storage {each}", STORAGE, "sthost")
        for each in ("Blob Data Owner", "Queue Data Contributor", "Table Data Contributor")
    }
    wanted |= {(app, "Storage Blob Data Contributor", STORAGE, "stdata")}
    wanted |= {(app, "Key Vault Secrets User", VAULT, "")}
    wanted |= {(app, "Monitoring Metrics Publisher", INSIGHTS, "")}
    rotated = zone.given.get("rotatedSecrets", [])
    wanted |= {(app, "Key Vault Secrets Officer", f"{VAULT}/secrets", name) for name in rotated}
    wanted |= {(operator, "Key Vault Secrets Officer", VAULT, "")} if operator else set()
    yield from same("role", wanted, {_granted(each) for each in zone.deployed.of(ROLE)})
    cosmos_roles = {
        (each.properties["principalId"], each.properties["roleDefinitionId"].rpartition("/")[2])
        for each in zone.deployed.of(f"{COSMOS}/sqlRoleAssignments")
    }
    yield from same("role of Cosmos DB", {(app, "00000000-0000-0000-0000-000000000002")}, cosmos_roles)
    if zone.deployed.of(KUSTO):
        client = "{identity.properties.clientId}"
        ours = {(client, "Ingestor"), (client, "Viewer")} | ({(operator, "Admin")} if operator else set())
        given = zone.deployed.of(f"{KUSTO}/databases/principalAssignments")
        yield from same(
            "role of the cluster", ours, {(each.properties["principalId"], each.properties["role"]) for each in given}
        )


def _granted(role: Resource) -> tuple[Any, ...]:
    """Who may do what where; of storage accounts and children of others the place's own name."""
    definition = role.properties["roleDefinitionId"].rpartition("/")[2]
    place = role.scope
    if place is None:
        return (role.properties["principalId"], ROLES.get(definition, definition), "the whole group", "")
    name = place.name[:6] if place.type == STORAGE else place.name if "/" in place.type.partition("/")[2] else ""
    return (role.properties["principalId"], ROLES.get(definition, definition), place.type, name)


def runs(zone: Zone) -> Iterator[str]:
    """The plan, the language and the scaling are those the package is made for."""
    (site,) = zone.deployed.of(SITE)
    runtime = site.properties["functionAppConfig"]["runtime"]
    wanted = (ROOT / ".python-version").read_text().strip()
    if (runtime["name"], runtime["version"]) != ("python", wanted):
        yield f"the app would run on {runtime}, not on Python {wanted}"
    names = {"http", "blob", "durable"} | {f"function:{name}" for name in code.triggers()}
    for group in site.properties["functionAppConfig"]["scaleAndConcurrency"]["alwaysReady"]:
        if group["name"] not in names:
            yield f"there is no scale group {group['name']}"
