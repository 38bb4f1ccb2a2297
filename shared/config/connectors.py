"""Connectors that are a YAML file over the engine: what every source of a kind has in common.

A file in ``connector_files/`` holds ``source:`` and ``stream:``, each the defaults of what people write there;
what they do write goes before it, key by key. A part of another ``kind`` replaces the default's whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).parent / "connector_files"

type Part = Mapping[str, Any]


@cache
def preset(connector: str) -> Part:
    """The defaults of a connector; empty if it has none."""
    path = FOLDER / f"{connector}.yaml"
    return yaml.safe_load(path.read_text("utf-8")) if connector in presets() else {}


@cache
def presets() -> frozenset[str]:
    """The connectors that are files."""
    return frozenset(path.stem for path in FOLDER.glob("*.yaml"))


def completed(given: object) -> object:
    """A source as written, with its connector's defaults where it says nothing."""
    if not isinstance(given, Mapping) or not isinstance(given.get("connector"), str):
        return given
    defaults = preset(given["connector"])
    if not defaults:
        return given
    whole = dict(_over(defaults.get("source", {}), given))
    if isinstance(streams := given.get("streams"), Mapping):
        common = defaults.get("stream", {})
        whole["streams"] = {
            name: _over(common, stream) if isinstance(stream, Mapping) else stream for name, stream in streams.items()
        }
    return whole


def _over(default: Part, given: Part) -> Part:
    """``given`` over ``default``, mappings inside likewise."""
    if "kind" in default and given.get("kind", default["kind"]) != default["kind"]:
        return given
    both = {
        name: _over(default[name], value)
        for name, value in given.items()
        if isinstance(value, Mapping) and isinstance(default.get(name), Mapping)
    }
    return {**default, **given, **both}
