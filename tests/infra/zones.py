"""The landing zones: each parameter file as values, and one more set that turns everything on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
MAIN = INFRA / "main.bicep"

AZD: Mapping[str, str] = {
    "AZURE_ENV_NAME": "try",
    "AZURE_LOCATION": "westeurope",
    "AZURE_PRINCIPAL_ID": "00000000-0000-4000-8000-000000000001",
}
"""What azd itself puts into an environment."""

EVERYTHING: Mapping[str, Any] = {
    "environmentName": "everything",
    "location": "westeurope",
    "principalId": "00000000-0000-4000-8000-000000000001",
    "principalType": "Group",
    "vnetEnabled": True,
    "authClientId": "00000000-0000-4000-8000-000000000002",
    "gatewayEnabled": True,
    "gatewaySku": "Premium",
    "secretNames": ["some-token"],
    "secrets": {"some-token": "given at deployment"},
    "rotatedSecrets": ["some-token"],
}
"""Of whatever sources there are: their settings and secrets are held against the zones' own files alone."""

_VARIABLE = re.compile(r"\$\{(\w+)(?:=([^}]*))?\}")


def zones() -> dict[str, Path]:
    """Every parameter file by its name."""
    return {path.stem: path for path in (INFRA / "main.parameters.json", *sorted((INFRA / "zones").glob("*.json")))}


def values(text: str, environment: Mapping[str, str] = AZD) -> dict[str, Any]:
    """A parameter file's values, with ``${NAME=default}`` filled in as azd does.

    azd makes booleans of texts where the parameter is one. KeyError if a name without default is in no environment.
    """

    def filled(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        return environment[name] if default is None else environment.get(name, default)

    given = json.loads(_VARIABLE.sub(filled, text))["parameters"]
    texts = {"true": True, "false": False}
    return {
        name: texts.get(each["value"], each["value"]) if isinstance(each["value"], str) else each["value"]
        for name, each in given.items()
    }
