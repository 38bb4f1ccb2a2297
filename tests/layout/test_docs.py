"""What the docs say is there: links, settings, parameters, tests, runbooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from flockiq.serve import health, sources
from flockiq.shared.services import Services
from tests.infra.bicep.syntax import parse, symbols
from tests.infra.zones import AZD, MAIN

ROOT = Path(__file__).parents[2]
DOCS = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", *(ROOT / "tests" / "peers").glob("*.md")])


def anchors(text: str) -> set[str]:
    """The places in a page that a link may name, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that exist, and headings within them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


def test_every_environment_variable_of_azd_is_explained() -> None:
    """docs/deploy.md tells of each that main.parameters.json takes, and of none beside."""
    taken = set(re.findall(r"\$\{(\w+)", (MAIN.parent / "main.parameters.json").read_text()))
    section = (ROOT / "docs/deploy.md").read_text().partition("## With azd")[2].partition("## See")[0]
    told = {
        name for row in re.findall(r"^\| (`.+?) \|.*$", section, re.MULTILINE) for name in re.findall("`(.+?)`", row)
    }
    told |= set(re.findall(r"`(FABRIC_\w+)`", section))
    of_sources = {name for name in taken if name.startswith("FLOCKIQ_SAMPLE_")}
    assert told == taken - AZD.keys() - of_sources - {"AZURE_PRINCIPAL_TYPE"}


@pytest.mark.parametrize("page", ["deploy.md", "runbooks.md"])
def test_parameters_that_pages_name_exist(page: str) -> None:
    """A parameter in code type is one of infra/main.bicep."""
    declared = {name for name, node in symbols(parse(MAIN.read_text())).items() if node.type == "parameter_declaration"}
    elsewhere = {"enableAutoStop", "dataExplorer"}  # a cluster's property; a value of `analytics`
    named = set(re.findall(r"`([a-z]+[A-Z][A-Za-z]+)(?::[^`]*)?`", (ROOT / "docs" / page).read_text()))
    assert len(named) > 3
    assert named - declared - elsewhere == set()


def test_every_check_of_health_has_a_runbook() -> None:
    """Each dependency by name, each other kind by what turns it red."""
    pages = re.findall(r"^## (\w+): (.+)$", (ROOT / "docs/runbooks.md").read_text(), re.MULTILINE)
    source = Path(health.__file__).read_text()
    dependencies = set(re.findall(r'^\s+\("(\w+)", "the ', source, re.MULTILINE))
    ports = set(Services._fields) - {"settings", "families"}
    assert dependencies == ports
    assert {name for kind, name in pages if kind == "dependency"} == dependencies
    assert {kind for kind, _ in pages} == set(re.findall(r'Check\(\s*"(\w+)"', source))
    red = set(get_args(sources.State)) - set(re.findall(r'stream\.state in \("(\w+)", "(\w+)"\)', source)[0])
    assert len(red) >= 2
    assert {name for kind, name in pages if kind == "source"} == {*red, "left alone", "backfill"}


def test_what_holds_a_control_exists() -> None:
    """Each row of docs/security.md names tests that are there."""
    rows = re.findall(r"^\| \d \|.+\| ([^|]+) \|$", (ROOT / "docs/security.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    named = [re.split(r" \(", each)[0].strip() for row in rows for each in re.sub(r"\([^)]*\)", "", row).split(", ")]
    assert [name for name in named if not (ROOT / name).exists()] == []
    faults = (ROOT / "tests/infra/faults.yaml").read_text()
    quoted = re.findall(r'"([^"]+)"', " ".join(row for row in rows if "fault" in row))
    assert len(quoted) >= 3
    assert [fault for fault in quoted if f"\n  {fault}:\n" not in faults] == []
