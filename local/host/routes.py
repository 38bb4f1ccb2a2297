"""Which function answers a path: ASP.NET Core's route templates, as Azure's host reads them.

``alerts``, ``alerts/{id}``, ``{id:int}``, ``{id?}``, ``{name}.{ext}``, ``{*path}``. Letters match in
any case. Where several templates match, each segment decides from the left: a literal before a
pattern, a constrained parameter before a free one, a catch-all last.

https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-templates
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from flockiq.local.host.errors import HostError
from flockiq.local.host.functions import Function, HttpTrigger

_CONSTRAINTS: Mapping[str, str] = {
    "int": r"[+-]?\d{1,10}",
    "long": r"[+-]?\d{1,19}",
    "bool": r"true|false",
    "alpha": r"[a-z]+",
    "guid": r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?",
    "decimal": r"[+-]?\d+(?:\.\d+)?",
    "double": r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?",
    "float": r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?",
}

_PARAMETER = re.compile(
    r"\{(?P<star>\*{0,2})(?P<name>[^{}:?=*]+)(?P<constraints>(?::[a-z]+)*)(?P<optional>\?)?\}", re.IGNORECASE
)

# How exactly a segment says what it wants; RoutePrecedence in ASP.NET Core.
_LITERAL, _PATTERN, _CONSTRAINED, _FREE, _CATCH_ALL = range(1, 6)


class Match(NamedTuple):
    """The function that answers, and the values of its route's parameters."""

    function: Function
    parameters: Mapping[str, str]


class MethodNotAllowed(Exception):
    """The path is known, for other methods only: ``allowed``."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = allowed
        super().__init__(", ".join(allowed))


class _Route(NamedTuple):
    precedence: tuple[int, ...]
    pattern: re.Pattern[str]
    names: Sequence[str]
    function: Function
    methods: frozenset[str]


class Router:
    """The routes of an app. HostError if a template can't be read, or two functions answer the same."""

    def __init__(self, functions: Sequence[Function], prefix: str) -> None:
        routes: list[_Route] = []
        for function in functions:
            if isinstance(function.trigger, HttpTrigger):
                template = "/".join(part for part in (prefix.strip("/"), function.trigger.route) if part)
                routes.append(_route(function, template, function.trigger.methods))
        self._routes = sorted(routes, key=lambda route: route.precedence)
        self._refuse_twins()

    def match(self, method: str, raw_path: str) -> Match | None:
        """Who answers; None if nobody knows the path. MethodNotAllowed if it is known for other methods."""
        # Split before decoding; an encoded slash stays encoded, so it never makes a segment.
        segments = [unquote(re.sub("%2f", "%252F", part, flags=re.IGNORECASE)) for part in raw_path.split("/") if part]
        path = "".join(f"/{segment}" for segment in segments)
        allowed: set[str] = set()
        for route in self._routes:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if route.methods and method not in route.methods:
                allowed |= route.methods
                continue
            values = zip(route.names, found.groups(), strict=True)
            return Match(route.function, {name: value.strip("/") for name, value in values if value})
        if allowed:
            raise MethodNotAllowed(sorted(allowed))
        return None

    def _refuse_twins(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        for route in self._routes:
            for method in route.methods or {"any method"}:
                other = seen.setdefault((route.pattern.pattern, method), route.function.name)
                if other != route.function.name:
                    raise HostError(
                        f"functions {other} and {route.function.name} answer the same route with {method}; rename one."
                    )


def _route(function: Function, template: str, methods: frozenset[str]) -> _Route:
    where = f"function {function.name}: its route {template!r}"
    precedence: list[int] = []
    names: list[str] = []
    pattern = ""
    for segment in filter(None, template.split("/")):
        rank, regex, found = _segment(segment, where)
        precedence.append(rank)
        names += found
        pattern += regex
    return _Route(tuple(precedence), re.compile(pattern, re.IGNORECASE), names, function, methods)


def _segment(segment: str, where: str) -> tuple[int, str, Sequence[str]]:
    """The rank of one segment, its regular expression with the slash before it, its parameters."""
    whole = _PARAMETER.fullmatch(segment)
    if whole is not None:
        names = [whole["name"]]
        if whole["star"]:
            return _CATCH_ALL, "((?:/[^/]+)*)", names
        kind = _constraint(whole["constraints"], where)
        rank = _CONSTRAINED if whole["constraints"] else _FREE
        return rank, f"(?:/({kind}))?" if whole["optional"] else f"/({kind})", names
    pieces, names, end = [], [], 0
    for match in _PARAMETER.finditer(segment):
        if match["star"] or match["optional"]:
            raise HostError(f"{where} has a catch-all or optional parameter inside a segment; give it one of its own.")
        pieces += [re.escape(segment[end : match.start()]), f"({_constraint(match['constraints'], where)})"]
        names.append(match["name"])
        end = match.end()
    rest = segment[end:]
    if "{" in rest or "}" in rest:
        raise HostError(
            f"{where} can't be read at {segment!r}; parameters are written {{name}}, {{name:int}}, {{*name}}."
        )
    return _PATTERN if names else _LITERAL, "/" + "".join(pieces) + re.escape(rest), names


def _constraint(constraints: str, where: str) -> str:
    kinds = [kind.lower() for kind in constraints.split(":") if kind]
    unknown = [kind for kind in kinds if kind not in _CONSTRAINTS]
    if unknown:
        raise HostError(f"{where} has the constraint {unknown[0]!r}; this host knows {', '.join(_CONSTRAINTS)}.")
    # Several constraints must all hold: lookaheads for all but the last, which consumes.
    return "".join(rf"(?=(?:{_CONSTRAINTS[kind]})(?:/|$))" for kind in kinds[:-1]) + (
        f"{_CONSTRAINTS[kinds[-1]]}" if kinds else "[^/]+"
    )
