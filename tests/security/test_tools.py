"""What auditors run: bandit over the code, zizmor and a schema over the workflows, ShellCheck over the scripts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CODE = [
    *("capture", "merge", "compare", "signal", "serve", "pipeline", "shared", "cli", "local"),
    *("flockiq.py", "function_app.py"),
]
EXPLAINED = {
    ("capture/http/guard.py", "B105"): "the name of a query parameter, empty to begin with",
    ("capture/seats.py", "B311"): "spreads instances over seats; nothing is to be guessed",
    ("local/backfill_test.py", "B105"): "the name of a secret, not its value",
}
"""What bandit finds and ruff does not, and why it does not hold."""

IMPORTS = {"B404", "B405"}  # that a module is imported says nothing; each use of it is looked at


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment at the root."""
    return subprocess.run(  # noqa: S603 - our own tools
        [str(BIN / tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def findings(*paths: str) -> list[str]:
    """What bandit finds, without lines that say why the same rule of ruff (S for B) does not hold there."""
    told: dict[str, Any] = json.loads(run("bandit", "-q", "-r", "-f", "json", *paths).stdout)
    assert told["errors"] == []
    left = []
    for each in told["results"]:
        lines = Path(ROOT / each["filename"]).read_text().splitlines()
        reach = lines[max(0, min(each["line_range"]) - 1) : max(each["line_range"]) + 1]
        excused = any(re.search(rf"# noqa: [^#]*\bS{each['test_id'][1:]}\b.* - \S", line) for line in reach)
        known = each["test_id"] in IMPORTS or (each["filename"], each["test_id"]) in EXPLAINED
        if not known and not excused:
            left.append(f"{each['filename']}:{each['line_number']}: {each['test_id']} {each['issue_text']}")
    return left


def test_bandit_finds_nothing_that_is_not_explained() -> None:
    """Each exception stands in the line, with its reason."""
    assert findings(*CODE) == []


def test_bandit_is_listened_to(tmp_path: Path) -> None:
    """The check above finds what it should."""
    (tmp_path / "bad.py").write_text("import subprocess\nsubprocess.run('ls ' + input(), shell=True)\n")
    assert any("B602" in each for each in findings(str(tmp_path)))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_as_github_wants_them_and_hard_to_abuse(workflow: Path) -> None:
    """Their schema, and what zizmor knows of attacks: template injection, broad permissions, unpinned actions."""
    schema = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow))
    assert schema.returncode == 0, schema.stdout
    audit = run("zizmor", "--offline", "--quiet", str(workflow))
    assert audit.returncode == 0, audit.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_no_secret_is_kept(workflow: Path) -> None:
    """A tag can be moved to other code; a federated identity needs no secret."""
    text = workflow.read_text()
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", each)] == []
    assert "secrets." not in text
    assert yaml.safe_load(text)["permissions"] == {}


def test_zizmor_is_listened_to(tmp_path: Path) -> None:
    """The check above finds an injection."""
    (tmp_path / "bad.yml").write_text(
        "on: issues\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - run: echo ${{ github.event.issue.title }}\n"
    )
    assert run("zizmor", "--offline", "--quiet", str(tmp_path / "bad.yml")).returncode != 0


def test_the_schema_is_listened_to(tmp_path: Path) -> None:
    """A step that is none, and a workflow without a trigger."""
    for name, text in {"step": "on: push\njobs: {a: {runs-on: x, steps: [{runs: ls}]}}", "on": "jobs: {}"}.items():
        (tmp_path / f"{name}.yml").write_text(text)
        schema = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(tmp_path / f"{name}.yml"))
        assert schema.returncode == 1, name


def test_shellcheck_is_listened_to(tmp_path: Path) -> None:
    """A name that is split where it has a space."""
    (tmp_path / "bad").write_text("#!/bin/sh\nrm $1\n")
    assert run("shellcheck", str(tmp_path / "bad")).returncode == 1


def test_shell_scripts_are_clean() -> None:
    """ShellCheck, over every script under version control."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout  # noqa: S607
    scripts = [
        name
        for name in listed.splitlines()
        if (ROOT / name).is_file() and re.match(rb"#!\S+[ /](?:ba)?sh\b", (ROOT / name).read_bytes()[:40])
    ]
    assert {".ci/run", ".ci/venv"} <= set(scripts)
    checked = run("shellcheck", *scripts)
    assert checked.returncode == 0, checked.stdout
