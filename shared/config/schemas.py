"""JSON Schemas of the files people write, for editors to complete and check: ``config/schemas/``.

``python -m flockiq.shared.config.schemas`` writes them; with ``--check`` it only says whether they
are as the models would have them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

import flockiq
from flockiq.shared.config.entities import EntityFile
from flockiq.shared.config.rules import RuleFile
from flockiq.shared.config.sources import SourceFile

MODELS: Mapping[str, type[BaseModel]] = {"source": SourceFile, "entity": EntityFile, "rule": RuleFile}
FOLDER = Path(flockiq.__path__[0]) / "config" / "schemas"


def schema(name: str) -> str:
    """The JSON Schema of a kind of file, as text."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | MODELS[name].model_json_schema(by_alias=True)
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def stale(folder: Path) -> list[Path]:
    """The files in ``folder`` that are not as the models would have them."""
    files = {folder / f"{name}.schema.json": schema(name) for name in MODELS}
    return [file for file, text in files.items() if not file.is_file() or file.read_text("utf-8") != text]


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Write the schemas, or only check them; 1 if ``--check`` finds one stale."""
    if arguments == ["--check"]:
        for file in stale(folder):
            sys.stderr.write(f"{file} is stale: make schemas\n")
        return 1 if stale(folder) else 0
    if arguments:
        sys.stderr.write(f"unknown: {' '.join(arguments)}; there is only --check\n")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        (folder / f"{name}.schema.json").write_text(schema(name), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
