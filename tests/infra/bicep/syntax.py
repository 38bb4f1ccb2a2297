"""Bicep files as trees, by tree-sitter's grammar.

The grammar knows no ``...spread`` and no ``value!``; infra/ does without them. It binds ``.name``, ``[index]``
and ``(…)`` too loosely: ``a ? b : c.d`` is ``(a ? b : c).d`` to it. ``_bound`` sets that right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tree_sitter
import tree_sitter_bicep
from tree_sitter import Language, Parser

_parser = Parser(Language(tree_sitter_bicep.language()))

_CLOSE = {"member_expression", "call_expression", "subscript_expression"}
_LOOSE = {"ternary_expression", "binary_expression", "unary_expression", "lambda_expression"}
_NAMES = {"identifier", "loop_variable", "loop_enumerator"}
_DECLARATIONS = {"parameter_declaration", "variable_declaration", "resource_declaration", "module_declaration"}


@dataclass(frozen=True, eq=False)
class Node:
    """A piece of a file: what it is made of, without punctuation and comments."""

    type: str
    text: str
    line: int  # from 1
    parts: tuple[Node, ...]
    marks: frozenset[str]  # punctuation and keywords among its children
    decorators: tuple[Node, ...] = ()  # of a declaration: the calls above it

    @property
    def name(self) -> str:
        """The name that a declaration or property gives."""
        return self.parts[0].text

    @property
    def names(self) -> list[str]:
        """The names that a lambda or a loop takes."""
        head = self.parts[0]
        return [head.text] if head.type in _NAMES else [part.text for part in head.parts]


@cache
def parse(text: str) -> Node:
    """A file as a tree. See ``errors`` for what is no Bicep in it."""
    return _node(_parser.parse(text.encode()).root_node)


def errors(path: Path, text: str) -> list[str]:
    """Each place that is no Bicep, as ``file:line: what stands there``."""
    pending, found = [_parser.parse(text.encode()).root_node], []
    while pending:
        node = pending.pop()
        if node.type == "ERROR" or node.is_missing:
            found.append(f"{path.name}:{node.start_point[0] + 1}: is no Bicep: {(node.text or b'').decode()[:60]!r}")
        pending.extend(node.children)
    return found


def every(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for part in (*node.parts, *node.decorators):
        yield from every(part)


def symbols(root: Node) -> dict[str, Node]:
    """What a file declares for itself: {name: declaration}."""
    return {node.name: node for node in root.parts if node.type in _DECLARATIONS}


def _node(given: tree_sitter.Node) -> Node:
    parts: list[Node] = []
    above: tuple[Node, ...] = ()
    for child in given.named_children:
        if child.type == "decorators":
            above = tuple(call for decorator in child.named_children for call in _node(decorator).parts)
        elif child.type != "comment":
            parts.append(dataclasses.replace(_node(child), decorators=above))
            above = ()
    marks = frozenset(child.type for child in given.children if not child.is_named)
    return _bound(Node(given.type, (given.text or b"").decode(), given.start_point[0] + 1, tuple(parts), marks))


def _bound(node: Node) -> Node:
    """With what is written behind the last operand of a looser expression bound to that operand alone."""
    if node.type not in _CLOSE or node.parts[0].type not in _LOOSE:
        return node
    loose, *behind = node.parts
    last = dataclasses.replace(node, parts=(loose.parts[-1], *behind))
    return dataclasses.replace(loose, parts=(*loose.parts[:-1], _bound(last)))
