"""What a Bicep file would deploy with given parameters: every resource with its properties worked out.

Enough of Bicep for infra/, and strict: an unknown name, function, parameter or output is a ``BicepError``
that says where. Nothing is looked up in Azure; see ``functions.Runtime``.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.infra.bicep.functions import FUNCTIONS, Late, Runtime
from tests.infra.bicep.syntax import Node, every, parse, symbols

type Read = Callable[[Path], str]
type Scope = Mapping[str, Any]
type Make = Callable[[Node, Node, Scope], Any]

_META = ("parent", "scope", "dependsOn", "name")
_TYPES: Mapping[str, type] = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}
_OPERATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
    ">": operator.gt,
    "<": operator.lt,
}


class BicepError(Exception):
    """A file that Bicep would refuse, or that this reads no further."""


@dataclass(frozen=True, eq=False)
class Resource:
    """One resource as it would be deployed; ``path`` is its full name, from the outermost parent on."""

    file: str
    line: int
    symbol: str
    type: str
    version: str
    path: tuple[str, ...]
    body: Mapping[str, Any]  # without name, parent, scope
    scope: Resource | None = None
    parent: Resource | None = None
    existing: bool = False

    @property
    def name(self) -> str:
        """Its own name, without its parents'."""
        return self.path[-1]

    @property
    def id(self) -> str:
        """A stand-in for its id: the same for whoever refers to it."""
        return f"/rg/{self.type}/{'/'.join(self.path)}"

    @property
    def properties(self) -> Mapping[str, Any]:
        """Its properties."""
        found = self.body.get("properties", {})
        return found if isinstance(found, Mapping) else {}


@dataclass
class Deployment:
    """Everything that one set of parameters deploys."""

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    reads: set[tuple[str, str, tuple[str, ...]]] = field(default_factory=set)  # type, version, path below the resource

    def of(self, kind: str) -> list[Resource]:
        """The resources of a type that are made here."""
        return [each for each in self.resources if each.type == kind and not each.existing]


class _Property:
    """What is read of a resource, so far."""

    def __init__(self, resource: Resource, path: tuple[str, ...], into: Deployment) -> None:
        self.resource, self.path, self.into = resource, path, into

    def member(self, name: str) -> Any:
        """One step further down."""
        if not self.path and name in ("id", "name"):
            return getattr(self.resource, name)
        path = (*self.path, name)
        self.into.reads.add((self.resource.type, self.resource.version, path))
        return _Property(self.resource, path, self.into)

    def text(self) -> Runtime:
        """It as a value."""
        return Runtime("{" + ".".join((self.resource.symbol, *self.path)) + "}")


def deploy(main: Path, given: Mapping[str, Any], read: Read = Path.read_text) -> Deployment:
    """What ``main`` deploys with parameters ``given``; ``read`` gives the text of every file it names."""
    into = Deployment()
    into.outputs = _File(main, read, into).run(given)
    return into


class _File:
    """One Bicep file being worked out."""

    def __init__(self, path: Path, read: Read, into: Deployment) -> None:
        self.path, self.read, self.into = path, read, into
        self.root = parse(read(path))
        self.symbols = symbols(self.root)
        self.known: dict[str, Any] = {}
        self.nested: dict[tuple[str, str], Any] = {}
        self.asked: list[str] = []

    def run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Take parameters, deploy everything, give the outputs."""
        self._take(given)
        for name in self.symbols:
            self._symbol(name)
        outputs = [node for node in self.root.parts if node.type == "output_declaration"]
        return {node.name: self._plain(node.parts[-1], {}) for node in outputs}

    def _wrong(self, node: Node, why: str) -> BicepError:
        return BicepError(f"{self.path.name}:{node.line}: {why}")

    def _take(self, given: Mapping[str, Any]) -> None:
        declared = {name: node for name, node in self.symbols.items() if node.type == "parameter_declaration"}
        if unknown := sorted(given.keys() - declared.keys()):
            raise BicepError(f"{self.path.name}: there is no parameter {', '.join(unknown)}")
        for name, node in declared.items():
            kind = node.parts[1].text
            if name not in given and len(node.parts) == 2:
                raise self._wrong(node, f"parameter {name} is not given")
            value = given[name] if name in given else self._plain(node.parts[2], {})
            if not isinstance(value, _TYPES[kind]) or (kind == "int" and isinstance(value, bool)):
                raise self._wrong(node, f"parameter {name} is {value!r}, which is no {kind}")
            self._bounded(node, value)
            self.known[name] = value

    def _bounded(self, node: Node, value: Any) -> None:
        size = value if isinstance(value, int) else len(value)
        for call in node.decorators:
            rule, limits = call.name, [self._plain(argument, {}) for argument in call.parts[1].parts]
            wrong = (
                (rule == "allowed" and value not in limits[0])
                or (rule in ("minValue", "minLength") and size < limits[0])
                or (rule in ("maxValue", "maxLength") and size > limits[0])
            )
            if wrong and not isinstance(value, Runtime):
                raise self._wrong(node, f"parameter {node.name} is {value!r}, against @{rule}({limits[0]})")

    def _symbol(self, name: str) -> Any:
        if name not in self.known:
            node = self.symbols[name]
            if name in self.asked:
                raise self._wrong(node, f"{name} leans on itself")
            self.asked.append(name)
            match node.type:
                case "variable_declaration":
                    self.known[name] = self._plain(node.parts[1], {})
                case "resource_declaration":
                    self.known[name] = self._looped(node, self._resource)
                case _:
                    self.known[name] = self._looped(node, self._module)
            self.asked.pop()
        return self.known[name]

    def _looped(self, node: Node, make: Make) -> Any:
        body = node.parts[-1]
        if body.type != "for_statement":
            return self._conditional(node, body, {}, make)
        return [self._conditional(node, body.parts[2], turn, make) for turn in self._turns(body, {})]

    def _turns(self, loop: Node, scope: Scope) -> Iterator[Scope]:
        for index, item in enumerate(self._plain(loop.parts[1], scope)):
            yield {**scope, **dict(zip(loop.names, (item, index), strict=False))}

    def _conditional(self, node: Node, body: Node, scope: Scope, make: Make) -> Any:
        if body.type == "if_statement":
            return make(node, body.parts[1], scope) if self._plain(body.parts[0], scope) else None
        return make(node, body, scope)

    def _resource(self, node: Node, body: Node, scope: Scope, within: Resource | None = None) -> Resource:
        kind, _, version = self._string(node.parts[1], {}).partition("@")
        if within is not None:
            kind, version = f"{within.type}/{kind}", version or within.version
        fields = self._object(body, scope)
        parent = within or self._target(fields.get("parent"))
        if not isinstance(fields.get("name"), str):
            raise self._wrong(node, f"{node.name} has no name")
        made = Resource(
            file=self.path.name,
            line=node.line,
            symbol=node.name,
            type=kind,
            version=version,
            path=(*(parent.path if parent else ()), fields["name"]),
            body={name: _settled(value) for name, value in fields.items() if name not in _META},
            scope=self._target(fields.get("scope")),
            parent=parent,
            existing="existing" in node.marks,
        )
        self.into.resources.append(made)
        for child in (part.parts[0] for part in body.parts if part.type == "object_property"):
            if child.type == "resource_declaration":
                below = self._conditional(child, child.parts[-1], scope, lambda n, b, s: self._resource(n, b, s, made))
                self.nested[made.symbol, child.name] = below
        return made

    def _target(self, value: Any) -> Resource | None:
        return value.resource if isinstance(value, _Property) else None

    def _module(self, node: Node, body: Node, scope: Scope) -> Mapping[str, Any]:
        file = self.path.parent / self._string(node.parts[1], {})
        given = _settled(self._object(body, scope).get("params", {}))
        return {"outputs": _File(file, self.read, self.into).run(given)}

    def _plain(self, node: Node, scope: Scope) -> Any:
        return _settled(self._value(node, scope))

    def _value(self, node: Node, scope: Scope) -> Any:  # noqa: C901, PLR0912 - one case a kind of expression
        """The value of an expression; a ``_Property`` where it is a resource's own."""
        parts = node.parts
        match node.type:
            case "string":
                return self._string(node, scope)
            case "number":
                return int(node.text)
            case "boolean":
                return node.text == "true"
            case "null":
                return None
            case "identifier":
                return self._name(node, scope)
            case "object":
                return self._object(node, scope)
            case "array":
                return [self._value(part, scope) for part in parts]
            case "for_statement":
                return [self._value(parts[2], turn) for turn in self._turns(node, scope)]
            case "parenthesized_expression":
                return self._value(parts[0], scope)
            case "lambda_expression":
                return lambda *given: self._plain(parts[1], {**scope, **dict(zip(node.names, given, strict=False))})
            case "ternary_expression":
                return self._value(parts[1] if self._plain(parts[0], scope) else parts[2], scope)
            case "unary_expression":
                value = self._plain(parts[0], scope)
                return not value if "!" in node.marks else -value
            case "binary_expression":
                return self._binary(node, scope)
            case "member_expression":
                return self._member(self._value(parts[0], scope), parts[1].text, node)
            case "subscript_expression":
                return self._wrapped(self._value(parts[0], scope)[self._plain(parts[1], scope)])
            case "resource_expression":
                self._symbol(parts[0].text)
                return self._wrapped(self.nested[parts[0].text, parts[1].text])
            case "call_expression":
                return self._call(node, scope)
        raise self._wrong(node, f"{node.type} is not read here: {node.text[:60]!r}")

    def _wrapped(self, value: Any) -> Any:
        return _Property(value, (), self.into) if isinstance(value, Resource) else value

    def _name(self, node: Node, scope: Scope) -> Any:
        if node.text in scope:
            return scope[node.text]
        if node.text not in self.symbols:
            raise self._wrong(node, f"there is no {node.text}")
        return self._wrapped(self._symbol(node.text))

    def _member(self, value: Any, name: str, node: Node) -> Any:
        if isinstance(value, _Property):
            return value.member(name)
        if isinstance(value, Late) or (isinstance(value, Mapping) and name in value):
            return value[name]
        raise self._wrong(node, f"{node.text}: there is no {name}")

    def _string(self, node: Node, scope: Scope) -> str:
        late, text = False, ""
        for part in node.parts:
            match part.type:
                case "interpolation":
                    value = self._plain(part.parts[0], scope)
                    late = late or isinstance(value, Runtime)
                    text += FUNCTIONS["string"](value)
                case "escape_sequence":
                    text += {"n": "\n", "r": "\r", "t": "\t"}.get(part.text[1], part.text[1])
                case _:
                    text += part.text
        return Runtime(text) if late else text

    def _object(self, node: Node, scope: Scope) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for pair in node.parts:
            key = pair.parts[0]
            if key.type == "resource_declaration":
                continue
            name = self._string(key, scope) if key.type == "string" else key.text
            if name in made:
                raise self._wrong(key, f"{name} stands here twice")
            made[name] = self._value(pair.parts[1], scope)
        return made

    def _binary(self, node: Node, scope: Scope) -> Any:
        (sign,) = node.marks
        first = self._plain(node.parts[0], scope)
        if sign in ("&&", "||"):
            return self._plain(node.parts[1], scope) if first is (sign == "&&") else first
        return _OPERATIONS[sign](first, self._plain(node.parts[1], scope))

    def _call(self, node: Node, scope: Scope) -> Any:
        name = node.name
        given = [self._plain(part, scope) for part in node.parts[1].parts]
        if name in self.symbols:
            raise self._wrong(node, f"{name} is a symbol of this file: the function is az.{name}()")
        if name in ("loadTextContent", "loadJsonContent"):
            text = self.read((self.path.parent / given[0]).resolve())
            return text if name == "loadTextContent" else json.loads(text)
        if name not in FUNCTIONS:
            raise self._wrong(node, f"there is no function {name}")
        return FUNCTIONS[name](*given)


def _settled(value: Any) -> Any:
    """Without what is read of resources: texts of a deployment in its place."""
    match value:
        case _Property():
            return value.text()
        case Late():
            return value
        case dict():
            return {key: _settled(item) for key, item in value.items()}
        case list():
            return [_settled(item) for item in value]
    return value


def unused(path: Path, text: str) -> list[str]:
    """Parameters, variables and existing resources that a file declares and does not use."""
    root = parse(text)
    named = [node.text for node in every(root) if node.type == "identifier"]
    idle = ("parameter_declaration", "variable_declaration")
    return [
        f"{path.name}:{node.line}: {name} is used nowhere"
        for name, node in symbols(root).items()
        if named.count(name) == 1 and (node.type in idle or "existing" in node.marks)
    ]
