"""The JSON Schemas that editors go by: they take what the models take, and see what is no part of the format."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import flockiq

ROOT = Path(flockiq.__path__[0])
FOLDERS = {"source": "sources", "entity": "entities", "rule": "rules"}
PAGES = {
    "source": ("README.md", "docs/sources.md", "docs/connectors.md"),
    "entity": ("docs/entities.md",),
    "rule": ("docs/rules.md",),
}


def refused(kind: str, files: Sequence[Path]) -> str:
    """What a validator of JSON Schema says of the files; "" if it takes them all."""
    schema = ROOT / "config" / "schemas" / f"{kind}.schema.json"
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), *map(str, files)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own words
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_schema_takes_every_file_and_every_example(kind: str, tmp_path: Path) -> None:
    """The project's own config, that of the tests and the bench, and what people copy from the docs."""
    files = [*ROOT.glob(f"config/{FOLDERS[kind]}/*.yaml"), *ROOT.glob(f"*/**/config/{FOLDERS[kind]}/*.yaml")]
    files = [file for file in files if ".venv" not in file.parts]
    for page in PAGES[kind]:
        examples = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
        assert examples, page
        for number, example in enumerate(examples):
            copied = tmp_path / f"{page.replace('/', '-')}-{number}.yaml"
            copied.write_text(example, "utf-8")
            files.append(copied)
    assert refused(kind, files) == ""


@pytest.mark.parametrize(
    ("kind", "mistake"),
    [
        (
            "source",
            "source: a\nconnector: rst\nstreams: {x: {path: x, primary_key: [id], entity: e, fields: {a: a}}}\n",
        ),
        (
            "source",
            "source: a\nconnector: rest\nstreams: {x: {pth: x, primary_key: [id], entity: e, fields: {a: a}}}\n",
        ),
        ("entity", "entity: a\nfields: {name: {type: strng}}\n"),
        ("rule", "entity: a\nrules: {x: {severty: critical, title: x}}\n"),
    ],
)
def test_the_schema_sees_a_typing_error(kind: str, mistake: str, tmp_path: Path) -> None:
    """A connector, a key, a type that there is none of: an editor underlines it."""
    file = tmp_path / "file.yaml"
    file.write_text(mistake, "utf-8")
    said = refused(kind, [file])
    assert any(word in said for word in ("rst", "pth", "strng", "severty")), said
