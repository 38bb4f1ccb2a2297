"""What the deployed code reads of the world, found in the code itself: settings, hubs, secrets of its config."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml

from tests.infra.zones import ROOT

_DEPLOYED = ("capture", "merge", "compare", "signal", "serve", "pipeline", "shared")
_EMBEDDED = ROOT / "shared" / "adapters" / "embedded"
_SETTING = re.compile(r"(?:FLOCKIQ|AZURE)_[A-Z_]+|[A-Z][A-Za-z]+__[a-z][A-Za-z]+")
_BINDING = re.compile(r"%(\w+)%")
_NAMED = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


def modules() -> Iterator[Path]:
    """Every module that is deployed."""
    yield ROOT / "function_app.py"
    for folder in _DEPLOYED:
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if not path.is_relative_to(_EMBEDDED))


@cache
def settings() -> frozenset[str]:
    """The names of settings that the code mentions; those put together from parts as far as the parts are constants."""
    found: set[str] = set()
    for path in modules():
        tree = ast.parse(path.read_text())
        texts = _constants(tree)
        for node in ast.walk(tree):
            text = _text(node, texts)
            if text and _SETTING.fullmatch(text):
                found.add(text)
            elif text and (bound := _BINDING.fullmatch(text)):
                found.add(bound[1])
    return frozenset(found)


@cache
def triggers() -> dict[str, tuple[str, str, str]]:
    """Of each function with an Event Hub trigger: hub, connection, consumer group, as the library indexed them."""
    from flockiq.function_app import app  # noqa: PLC0415 - indexing imports every stage

    bound: dict[str, tuple[str, str, str]] = {}
    for function in app.get_functions():
        for binding in function.get_bindings():
            told = binding.get_dict_repr()
            if told["type"] == "eventHubTrigger":
                group = told.get("consumerGroup") or "$Default"
                bound[function.get_function_name()] = (told["eventHubName"], told["connection"], group)
    return bound


@cache
def sources(folder: Path) -> list[Mapping[str, object]]:
    """The enabled sources of a config folder, as written."""
    written = [yaml.safe_load(path.read_text()) for path in sorted((folder / "sources").glob("*.yaml"))]
    return [each for each in written if each.get("enabled", True)]


def source_settings(folder: Path) -> set[str]:
    """The settings that enabled sources name as ``{NAME}``."""
    return {name for source in sources(folder) for text in _texts(source) for name in _NAMED.findall(text)}


def source_secrets(folder: Path) -> set[str]:
    """The secrets that enabled sources name."""
    return {name for source in sources(folder) for name in _secrets(source)}


def rotated_secrets(folder: Path) -> set[str]:
    """Those of them that the app writes: refresh tokens, which some systems renew with each use."""
    return {
        name
        for source in sources(folder)
        if isinstance(auth := source.get("auth"), dict)
        for name in _secrets({"refresh_token": auth.get("refresh_token")})
    }


def _constants(tree: ast.Module) -> dict[str, str]:
    texts: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            target, value = node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            target, value = node.target.id, node.value
        else:
            continue
        if (text := _text(value, texts)) is not None:
            texts[target] = text
    return texts


def _text(node: ast.AST, known: Mapping[str, str]) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return known.get(name)
        case ast.FormattedValue(value=value):
            return _text(value, known)
        case ast.JoinedStr(values=parts):
            texts = [_text(part, known) for part in parts]
            return None if None in texts else "".join(text for text in texts if text is not None)
    return None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"secret"} and isinstance(value["secret"], str):
            yield value["secret"]
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _secrets(item)
