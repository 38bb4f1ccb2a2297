"""YAML files with the line of every key, so that each problem can be shown where it stands.

What is read is YAML 1.2's core: ``NO`` is Norway, ``12:30`` is text, ``2024-01-31`` is text.
Anchors and merge keys work; tags, repeated keys and files beyond the limits are refused.
Keys are always text, as in JSON: ``1: net 30`` has the key "1".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flockiq.shared.errors import ConfigError, Problem

MAX_BYTES = 1_000_000
MAX_NODES = 100_000  # after anchors are expanded: nine lines of aliases can stand for a billion
MAX_DEPTH = 50

Place = tuple[str | int, ...]
"""Where something stands in a file: the keys and list indices that lead to it."""


@dataclass(frozen=True)
class Document:
    """A file's content and the line (1-based) of everything in it."""

    file: str
    data: Any
    lines: dict[Place, int] = field(repr=False)

    def line(self, place: Place) -> int:
        """The line of what stands at ``place``, or of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)

    def problem(self, place: Place, wrong: str, allowed: str = "") -> Problem:
        """Something wrong at ``place``."""
        return Problem(self.file, self.line(place), ".".join(str(part) for part in place), wrong, allowed)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader with the scalar types of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own registry, replaced


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?", "-+0123456789."),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def read(path: Path, shown: str = "") -> Document:
    """Read one file. ConfigError if it can't be read, is too large, is not YAML or repeats a key."""
    name = shown or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(name, 0, "", f"can't be read: {error.strerror}", "")]) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(name, 0, "", "is too large", f"at most {MAX_BYTES:,} bytes; split it")])
    return parse(raw, name)


def parse(raw: bytes, name: str) -> Document:
    """Read a file's bytes. ConfigError if they are not YAML, repeat a key or are beyond the limits."""
    try:
        text = raw.decode("utf-8-sig")
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            walk = _Walk(name, loader)
            data = walk.value(root, ()) if root is not None else {}
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(name, line, "", "is not UTF-8 text", "save it as UTF-8")]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        why = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([Problem(name, line, "", f"is not YAML: {why}", "check indentation and quotes")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Problem(name, 0, "", f"is not YAML: {str(error).splitlines()[0]}", "")]) from error
    except RecursionError as error:
        raise ConfigError([Problem(name, 0, "", "is nested too deeply", f"at most {MAX_DEPTH} levels")]) from error
    if walk.problems:
        raise ConfigError(walk.problems)
    return Document(name, data, walk.lines)


_MERGE = "tag:yaml.org,2002:merge"
_KINDS = ("map", "seq", "str", "bool", "int", "float", "null", "merge")
_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in _KINDS)


class _Walk:
    """Turns nodes into values, noting the line of each and what is wrong."""

    def __init__(self, name: str, loader: _Loader) -> None:
        self._name = name
        self._loader = loader
        self._nodes = 0
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, place: Place) -> Any:
        """The value of ``node``, which stands at ``place``."""
        self._nodes += 1
        if self._nodes > MAX_NODES or len(place) > MAX_DEPTH:
            limit = f"at most {MAX_NODES:,} values and {MAX_DEPTH} levels, anchors written out"
            raise ConfigError([Problem(self._name, _line(node), "", "holds too much", limit)])
        self.lines.setdefault(place, _line(node))
        if node.tag not in _TAGS:
            self._complain(node, place, f"{node.tag[:40]!r} is read as a tag", "quote text that begins with !")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node, deep=True)
        except (ValueError, LookupError, yaml.YAMLError):  # an explicit tag that the text doesn't fit
            self._complain(node, place, f"{str(node.value)[:40]!r} can't be read", "quote it if it is text")
            return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key, item in node.value:  # what is merged in comes first: a mapping's own keys win
            if key.tag == _MERGE:
                value.update(self._merged(item, place))
        own: set[str] = set()
        for key, item in node.value:
            if key.tag == _MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._complain(key, place, "a key must be a plain word", "")
            elif key.value in own:
                self._complain(key, (*place, key.value), "is written twice", "keep one of the two")
            else:
                own.add(key.value)
                self.lines[(*place, key.value)] = _line(key)
                value[key.value] = self.value(item, (*place, key.value))
        return value

    def _merged(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        """What ``<<`` brings: of several mappings, the first that has a key gives it."""
        value: dict[str, Any] = {}
        for item in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(item, yaml.MappingNode):
                value.update(self.value(item, place))
            else:
                self._complain(item, place, "<< must name a mapping", "an alias such as *defaults")
        return value

    def _complain(self, node: yaml.Node, place: Place, wrong: str, allowed: str) -> None:
        field_name = ".".join(str(part) for part in place)
        self.problems.append(Problem(self._name, _line(node), field_name, wrong, allowed))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
