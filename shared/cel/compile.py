"""Expressions: CEL checked against a declared schema and lowered to functions over columns.

Nothing is evaluated from text: each node becomes a closure over numpy. What an expression can do
is bounded by its length, and by the rows it is given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np

from flockiq.shared.cel import functions, texts
from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.functions import Typed
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.cel.operators import COMPARISONS
from flockiq.shared.cel.parse import Call, CelError, ListOf, Literal, Name, Node, parse
from flockiq.shared.cel.terms import Term

__all__ = ["CelError", "Expression", "compile_cel"]


class Expression:
    """A compiled expression. ``names`` are the variables it reads, ``kind`` what it gives."""

    __slots__ = ("_typed", "kind", "names", "term", "text")

    def __init__(self, text: str, typed: Typed, names: frozenset[str]) -> None:
        self.text = text
        self.kind = typed.kind
        self.term = typed.term  # the same, for who runs it otherwise; None for texts that are made
        self.names = names
        self._typed = typed

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __call__(self, columns: Mapping[str, Column], n: int) -> Column:
        """Its value for each of ``n`` rows. ``columns`` holds at least ``names``, each of n values.

        KeyError if a column is missing.
        """
        with np.errstate(all="ignore"):  # overflow and division by zero are nulls here, not warnings
            found = texts.plain(self._typed.run(columns))
        return Column(np.broadcast_to(found.values, n), np.broadcast_to(found.null, n))


def compile_cel(text: str, schema: Mapping[str, Kind], *, expect: Kind = Kind.BOOL) -> Expression:
    """Compile ``text`` over variables of ``schema``'s kinds. CelError says where it is wrong, and how."""
    lowering = _Lowering(schema)
    node = parse(text)
    typed = lowering.lower(node)
    if typed.kind is not expect:
        hint = "a condition compares something: amount > 100" if expect is Kind.BOOL else f"it must be {expect}"
        raise CelError(node.position, f"the expression is {_article(typed.kind)}, not {_article(expect)}", hint)
    return Expression(text, typed, frozenset(lowering.names))


def _article(kind: Kind) -> str:
    return f"an {kind}" if kind is Kind.INT else f"a {kind}" if kind is not Kind.NULL else "null"


class _Lowering:
    """One pass over a tree; remembers the variables it met."""

    def __init__(self, schema: Mapping[str, Kind]) -> None:
        self._schema = schema
        self.names: set[str] = set()

    def lower(self, node: Node) -> Typed:
        """The node's kind and the function that gives its column."""
        match node:
            case Literal():
                return functions.constant(node.kind, node.value)
            case Name():
                return self._variable(node)
            case ListOf():
                raise CelError(node.position, "a list stands only to the right of in", "status in ['OPEN', 'LATE']")
            case Call(function="in"):
                return self._membership(node)
            case Call(function="has"):
                return self._has(node)
            case Call(function=function, arguments=(left, right)) if function in COMPARISONS:
                self._bare(left, right)
                first = self.lower(left)
                self._bare(right, left)
                return functions.call(node, [first, self.lower(right)])
            case Call():
                return functions.call(node, [self.lower(argument) for argument in node.arguments])

    def _variable(self, node: Name) -> Typed:
        name = node.name
        if name not in self._schema:
            raise CelError(node.position, f"there is no {name!r} here", functions.suggest(name, self._schema))
        self.names.add(name)
        kind = self._schema[name]
        term = Term("name", kind, value=name)
        if kind is Kind.STRING:  # what stands where a text is null may be None, which does not compare

            def said(columns: Mapping[str, Column]) -> Column:
                values, null, lanes = columns[name]
                return Column(np.where(null, "", values) if lanes is None and null.any() else values, null, lanes)

            return Typed(kind, said, term, (name, ""))
        return Typed(kind, lambda columns: columns[name], term)

    def _bare(self, word: Node, beside: Node) -> None:
        """Refuse a word that is no variable; beside a text it is most likely one that lacks its quotes."""
        if not isinstance(word, Name) or word.name in self._schema:
            return
        hint = functions.suggest(word.name, self._schema)
        with contextlib.suppress(CelError):  # one thing at a time
            if self.lower(beside).kind is Kind.STRING:
                hint = f"a text stands in quotes: '{word.name}'; {hint}"
        raise CelError(word.position, f"there is no {word.name!r} here", hint)

    def _has(self, node: Call) -> Typed:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], Name):
            raise CelError(node.position, "has asks about one name", "has(email)")
        return functions.negation(functions.is_null(self.lower(node.arguments[0])))

    def _membership(self, node: Call) -> Typed:
        item, where = node.arguments
        if not isinstance(where, ListOf):
            raise CelError(where.position, "in needs a list", "status in ['OPEN', 'LATE'], or text.contains('part')")
        left = self.lower(item)
        for one in where.items:
            self._bare(one, item)
        for one in (item, *where.items):
            if isinstance(one, Literal) and one.kind is Kind.NULL:
                raise CelError(one.position, "null is in no list", "x == null asks")
        if left.kind is Kind.STRING and all(isinstance(one, Literal) for one in where.items):
            return functions.one_of(left, [one for one in where.items if isinstance(one, Literal)])
        found = functions.in_nothing(left)
        for one in where.items:
            same = functions.call(Call(one.position, "==", (item, one)), [left, self.lower(one)])
            found = functions.call(Call(node.position, "||", (item, one)), [found, same])
        return found
