"""The part of Cosmos DB's SQL that the peer understands, and the plan it gives for queries across partitions.

::

    SELECT [DISTINCT] [TOP n] (* | VALUE expression | expression [AS name], …) FROM c
    [WHERE condition] [ORDER BY c.path [ASC | DESC], …]

Conditions: AND, OR, NOT, = != < <= > >=, IN (…), STARTSWITH, IS_DEFINED; literals, @parameters, [arrays],
{objects}, c.path; COUNT(1) as the one aggregate. A comparison with what is undefined is undefined, and
so not true. Anything else is refused with 400, as what is not modelled.

https://learn.microsoft.com/cosmos-db/query/overview
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from lark import Lark, LarkError, Token, Tree

GRAMMAR = r"""
query: "SELECT"i [DISTINCT] [top] select "FROM"i "c" [where] [order]
top: "TOP"i value
select: "*" -> star
      | "VALUE"i value -> only
      | item ("," item)* -> items
item: value ["AS"i NAME]
where: "WHERE"i condition
order: "ORDER"i "BY"i key ("," key)*
key: path [ASC | DESC]
?condition: conjunction ("OR"i conjunction)* -> any
?conjunction: negation ("AND"i negation)* -> all
?negation: "NOT"i negation -> not
         | comparison
?comparison: value
           | value COMPARED value -> compare
           | value "IN"i "(" value ("," value)* ")" -> among
?value: literal | path | PARAMETER -> parameter | call | array | object | "(" condition ")"
call: NAME "(" [value ("," value)*] ")"
array: "[" [value ("," value)*] "]"
object: "{" [pair ("," pair)*] "}"
pair: TEXT ":" value
path: "c" ("." NAME)*
literal: TEXT -> text | NUMBER -> number | "true"i -> true | "false"i -> false | "null"i -> null
DISTINCT.2: "DISTINCT"i
ASC.2: "ASC"i
DESC.2: "DESC"i
COMPARED: "=" | "!=" | "<=" | ">=" | "<" | ">"
PARAMETER: /@[A-Za-z_][A-Za-z_0-9]*/
NAME: /(?!(FROM|WHERE|ORDER|AND|OR|IN|AS|NOT|TRUE|FALSE|NULL|VALUE|TOP)\b)[A-Za-z_][A-Za-z_0-9]*/i
TEXT: /"[^"\\]*"/ | /'[^'\\]*'/
NUMBER: /-?\d+(\.\d+)?/
%ignore /\s+/
"""
COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
LITERALS: Final[Mapping[str, Callable[..., Any]]] = {
    "text": lambda text: str(text)[1:-1],
    "number": lambda text: float(text) if "." in text else int(text),
    "true": lambda: True,
    "false": lambda: False,
    "null": lambda: None,
}
FILTER = "{documentdb-formattableorderbyquery-filter}"

type Item = Mapping[str, Any]


class Undefined:
    """The value of a property that a document does not have."""


UNDEFINED: Final = Undefined()


class Refused(Exception):
    """The query is wrong, or not modelled."""


@dataclass(frozen=True)
class Query:
    """A query that can be asked of documents."""

    text: str
    parameters: Mapping[str, Any]
    select: Tree[Token]
    where: Tree[Token] | Token | None
    order: Sequence[tuple[tuple[str, ...], bool]]
    """The paths it is ordered by, and whether descending."""
    distinct: bool
    top: int | None

    @property
    def aggregates(self) -> bool:
        """Whether it counts."""
        return any(str(call.children[0]).upper() == "COUNT" for call in self.select.find_data("call"))

    @property
    def filtered(self) -> set[str]:
        """The paths it filters by, as indexing policies write them."""
        return set(_paths(self.where)) if self.where is not None else set()

    def matches(self, item: Item) -> bool:
        """Whether the condition is true of a document."""
        return self.where is None or self.value(self.where, item) is True

    def keys(self, item: Item) -> list[Any]:
        """What a document is ordered by; None where it is undefined."""
        found = [_at(item, path) for path, _ in self.order]
        return [None if value is UNDEFINED else value for value in found]

    def project(self, item: Item) -> Any:
        """What is given of a document; UNDEFINED if nothing is."""
        if self.select.data == "star":
            return item
        if self.select.data == "only":
            return self.value(self.select.children[0], item)
        made = {}
        for number, child in enumerate(self.select.children, 1):
            assert isinstance(child, Tree)
            value, name = child.children
            assert value is not None
            given = self.value(value, item)
            if given is not UNDEFINED:
                made[str(name) if name is not None else _name(value, number)] = given
        return made

    def value(self, node: Tree[Token] | Token, item: Item) -> Any:
        """The value of an expression over a document."""
        assert isinstance(node, Tree)
        children: Any = node.children
        values = (self.value(child, item) for child in children if isinstance(child, Tree))
        match str(node.data):
            case "parameter":
                return self._parameter(str(children[0]))
            case "path":
                return _at(item, tuple(map(str, children)))
            case "array":
                return list(values)
            case "object":
                pairs = ((str(pair.children[0])[1:-1], self.value(pair.children[1], item)) for pair in children if pair)
                return {name: value for name, value in pairs if value is not UNDEFINED}
            case "compare":
                return _compare(next(values), str(children[1]), next(values))
            case "among":
                return next(values) in list(values)
            case "call":
                return _call(str(children[0]).upper(), list(values))
            case "all" | "any" | "not" as junction:
                return _junction(junction, list(values))
            case literal:
                return LITERALS[literal](*children)

    def _parameter(self, name: str) -> Any:
        if name not in self.parameters:
            raise Refused(f"parameter {name} has no value")
        return self.parameters[name]


def parse(text: str, parameters: Sequence[Mapping[str, Any]] = ()) -> Query:
    """The query that ``text`` says. Refused if it is not one."""
    tree = _tree(text)
    distinct, top, select, where, order = tree.children
    assert isinstance(select, Tree)
    given = {str(parameter["name"]): parameter["value"] for parameter in parameters}
    keys: list[tuple[tuple[str, ...], bool]] = []
    for key in order.children if isinstance(order, Tree) else ():
        assert isinstance(key, Tree)
        path, ascending, descending = (*key.children, None, None)[:3]
        assert isinstance(path, Tree)
        keys.append((tuple(map(str, path.children)), "DESC" in (str(ascending).upper(), str(descending).upper())))
    query = Query(
        text, given, select, where.children[0] if isinstance(where, Tree) else None, keys, distinct is not None, None
    )
    if not isinstance(top, Tree):
        return query
    assert top.children[0] is not None
    return Query(text, given, select, query.where, keys, query.distinct, int(query.value(top.children[0], {})))


def plan(query: Query) -> Mapping[str, Any]:
    """How a client asks each partition, and merges: by ORDER BY, or one after another as they come."""
    if query.aggregates or query.distinct or query.top is not None or query.select.data != "star":
        raise Refused("across partitions only SELECT * is modelled, with or without ORDER BY")
    if not query.order:
        return _plan([], [], "")
    upper = query.text.upper()
    start, end = upper.find(" WHERE "), upper.index(" ORDER BY ")
    where = query.text[start + 7 : end] if start >= 0 else "true"
    paths = [".".join(("c", *path)) for path, _ in query.order]
    items = ", ".join(f'{{"item": {path}}}' for path in paths)
    ordered = ", ".join(
        f"{path} {'DESC' if down else 'ASC'}" for path, (_, down) in zip(paths, query.order, strict=True)
    )
    select = f"SELECT c._rid, [{items}] AS orderByItems, c AS payload FROM c"  # noqa: S608 - of a parsed query
    rewritten = f"{select} WHERE ({where}) AND ({FILTER}) ORDER BY {ordered}"
    return _plan(["Descending" if down else "Ascending" for _, down in query.order], paths, rewritten)


def _plan(orders: Sequence[str], paths: Sequence[str], rewritten: str) -> Mapping[str, Any]:
    return {
        "partitionedQueryExecutionInfoVersion": 2,
        "queryInfo": {
            "distinctType": "None",
            "top": None,
            "offset": None,
            "limit": None,
            "orderBy": orders,
            "orderByExpressions": paths,
            "groupByExpressions": [],
            "groupByAliases": [],
            "aggregates": [],
            "groupByAliasToAggregateType": {},
            "rewrittenQuery": rewritten,
            "hasSelectValue": False,
            "hasNonStreamingOrderBy": False,
        },
        "queryRanges": [{"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}],
    }


@lru_cache(maxsize=1000)
def _tree(text: str) -> Tree[Token]:
    try:
        return _parser().parse(text)
    except LarkError as error:
        raise Refused(f"syntax error, or not modelled: {error}") from error


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, start="query", parser="earley", maybe_placeholders=True)


def _at(item: Item, path: Sequence[str]) -> Any:
    value: Any = item
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return UNDEFINED
        value = value[name]
    return value


def _junction(kind: str, values: Sequence[Any]) -> Any:
    """AND, OR or NOT over true, false and undefined."""
    if kind == "not":
        return not values[0] if isinstance(values[0], bool) else UNDEFINED
    deciding = kind == "any"
    if any(value is deciding for value in values):
        return deciding
    return not deciding if all(value is not deciding and isinstance(value, bool) for value in values) else UNDEFINED


def _compare(left: Any, sign: str, right: Any) -> Any:
    if UNDEFINED in (left, right):
        return UNDEFINED
    if _kind(left) != _kind(right):
        return sign == "!=" if sign in ("=", "!=") else UNDEFINED
    return COMPARED[sign](left, right)


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(type(value))
    return "number" if isinstance(value, int | float) else str(type(value))


def _call(name: str, given: Sequence[Any]) -> Any:
    match name, given:
        case "STARTSWITH", [str(text), str(start)]:
            return text.startswith(start)
        case "STARTSWITH", [_, _]:
            return UNDEFINED
        case "IS_DEFINED", [value]:
            return value is not UNDEFINED
        case "COUNT", [_]:
            return UNDEFINED
        case _:
            raise Refused(f"{name} is not modelled")


def _paths(node: Any) -> Iterator[str]:
    if isinstance(node, Tree):
        if node.data == "path":
            yield "/" + "/".join(map(str, node.children))
        for child in node.children:
            yield from _paths(child)


def _name(value: Any, number: int) -> str:
    return str(value.children[-1]) if isinstance(value, Tree) and value.data == "path" else f"${number}"
