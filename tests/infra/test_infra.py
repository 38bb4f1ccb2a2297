"""infra/ deploys what the app needs, as Azure defines it, and nothing else."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import pytest
import yaml

from tests.infra.bicep.evaluate import deploy
from tests.infra.bicep.functions import FUNCTIONS
from tests.infra.bicep.syntax import every, parse
from tests.infra.checks import complaints
from tests.infra.definitions import wrong_types
from tests.infra.zones import EVERYTHING, INFRA, MAIN, ROOT, values, zones

BICEP = sorted(INFRA.rglob("*.bicep"))


def test_infra_and_code_agree_in_every_zone() -> None:
    """Hubs, stores, settings, secrets, roles: what the code reads is there, private where chosen, and no more."""
    if found := complaints():
        pytest.fail("\n".join(found), pytrace=False)


def test_every_resource_is_as_azure_defines_it() -> None:
    """Type, API version, properties, required ones, values from lists: what the Bicep compiler checks."""
    wrong = wrong_types()
    given = {**{name: values(path.read_text()) for name, path in zones().items()}, "everything": EVERYTHING}
    assert [fault for each in given.values() for fault in wrong(deploy(MAIN, each))] == []


def test_every_resource_is_deployed_by_some_zone() -> None:
    """What no set of parameters reaches would be checked by nothing."""
    given = [values(path.read_text()) for path in zones().values()]
    reached = {(each.file, each.line) for one in (*given, EVERYTHING) for each in deploy(MAIN, one).resources}
    written = {
        (path.name, node.line)
        for path in BICEP
        for node in every(parse(path.read_text()))
        if node.type == "resource_declaration"
    }
    assert len(written) > 40
    assert written - reached == set()


def test_every_module_is_used_and_none_is_from_elsewhere() -> None:
    """Resource blocks only: a registry's modules would hide from every check here."""
    named = re.findall(r"^module \w+ '([^']+)'", MAIN.read_text(), re.MULTILINE)
    assert {(INFRA / each).name for each in named} == {path.name for path in BICEP} - {MAIN.name}
    assert not re.search(r"'(?:br|ts)[:/]", "".join(path.read_text() for path in BICEP))


def test_no_function_is_known_that_infra_does_not_call() -> None:
    """What the checker itself makes up of Bicep's functions is no more than needed."""
    called = {node.name for path in BICEP for node in every(parse(path.read_text())) if node.type == "call_expression"}
    assert set(FUNCTIONS) - called == set()


@pytest.mark.parametrize("policy", ["api.xml", "entra.xml"])
def test_gateway_policies_are_xml(policy: str) -> None:
    """API Management takes nothing else."""
    assert ET.fromstring((INFRA / "policies" / policy).read_text()).tag  # noqa: S314 - our own file


def test_the_gateway_asks_for_a_token_or_a_key_never_for_nothing() -> None:
    """With sign-in the token is validated for this app; without, a subscription is required; both are limited."""
    for client, key in (("00000000-0000-4000-8000-000000000002", False), ("", True)):
        deployed = deploy(MAIN, {**EVERYTHING, "authClientId": client})
        (api,) = deployed.of("Microsoft.ApiManagement/service/apis")
        (policy,) = deployed.of("Microsoft.ApiManagement/service/apis/policies")
        text = policy.properties["value"]
        assert api.properties["subscriptionRequired"] is key
        assert ("validate-azure-ad-token" in text) is not key
        assert ET.fromstring(text).find("inbound/rate-limit-by-key") is not None  # noqa: S314 - our own file
        assert "TENANT" not in text
        assert "CLIENT<" not in text


def test_azd_finds_the_app_and_the_parameters() -> None:
    """azure.yaml names the folder that has function_app.py, and infra/main with its parameters."""
    azd = yaml.safe_load((ROOT / "azure.yaml").read_text())
    assert azd["services"]["api"] == {"project": ".", "host": "function", "language": "python"}
    assert (ROOT / azd["services"]["api"]["project"] / "function_app.py").exists()
    assert (ROOT / azd["infra"]["path"] / f"{azd['infra']['module']}.bicep") == MAIN
    assert (ROOT / azd["infra"]["path"] / f"{azd['infra']['module']}.parameters.json").exists()


def test_zones_differ_in_tenant_tags_and_name() -> None:
    """Business units deploy apart: nothing of one is named like another's."""
    given = [values(path.read_text()) for name, path in zones().items() if name != "main.parameters"]
    for name in ("environmentName", "tenant", "tags"):
        told = [json.dumps(each[name]) for each in given]
        assert len(set(told)) == len(told) > 1
    groups = {deploy(MAIN, each).outputs["AZURE_RESOURCE_GROUP"] for each in given}
    assert len(groups) == len(given)
