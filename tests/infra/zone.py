"""A landing zone worked out, and the types that checks ask it for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.infra.bicep.evaluate import Deployment
from tests.infra.zones import ROOT

SITE, SETTINGS = "Microsoft.Web/sites", "Microsoft.Web/sites/config"
NAMESPACE, HUB = "Microsoft.EventHub/namespaces", "Microsoft.EventHub/namespaces/eventhubs"
STORAGE, VAULT, COSMOS = (
    "Microsoft.Storage/storageAccounts",
    "Microsoft.KeyVault/vaults",
    "Microsoft.DocumentDB/databaseAccounts",
)
KUSTO, INSIGHTS, WORKSPACE = (
    "Microsoft.Kusto/clusters",
    "Microsoft.Insights/components",
    "Microsoft.OperationalInsights/workspaces",
)
GATEWAY = "Microsoft.ApiManagement/service"
ROLE, DIAGNOSTICS = "Microsoft.Authorization/roleAssignments", "Microsoft.Insights/diagnosticSettings"


class Zone(NamedTuple):
    """A landing zone: what it was given and what it deploys."""

    name: str
    given: Mapping[str, Any]
    deployed: Deployment

    @property
    def settings(self) -> Mapping[str, Any]:
        """The app's settings."""
        (found,) = (each for each in self.deployed.of(SETTINGS) if each.name == "appsettings")
        return found.properties

    @property
    def config(self) -> Path:
        """The config folder it runs."""
        return ROOT / self.given.get("configFolder", "config")


def same(what: str, wanted: set[Any], given: set[Any]) -> Iterator[str]:
    """A complaint for each that is missing, and for each that nothing wants."""
    yield from (f"{what} {_said(each)} is missing" for each in sorted(wanted - given, key=str))
    yield from (f"{what} {_said(each)} is used by nothing" for each in sorted(given - wanted, key=str))


def _said(each: object) -> str:
    return " ".join(str(part) for part in each if part) if isinstance(each, tuple) else str(each)
