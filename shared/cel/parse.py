"""CEL text into a small syntax tree.

The grammar is ``cel-python``'s, read by lark directly: importing ``celpy`` itself would also import
its evaluator and a calendar library. https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flockiq.shared.cel.kinds import Kind
from flockiq.shared.errors import FlockIQError

if TYPE_CHECKING:
    import lark

MAX_TEXT = 4_000  # characters
MAX_DEPTH = 150  # of the tree: a chain of && is as deep as it is long


class CelError(FlockIQError):
    """An expression is wrong: where (0-based character), what, and what is allowed."""

    def __init__(self, position: int, wrong: str, allowed: str = "") -> None:
        self.position = position
        self.wrong = wrong
        self.allowed = allowed
        super().__init__(f"at character {position + 1}: {wrong}" + (f" ({allowed})" if allowed else ""))


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. ``value`` is a bool, int, float, str or None."""

    position: int
    kind: Kind
    value: bool | float | str | None


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    position: int
    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, which stands only to the right of ``in``."""

    position: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator (``+``, ``&&``, ``?:``, …) on its arguments; a method's first is its object."""

    position: int
    function: str
    arguments: tuple[Node, ...]


Node = Literal | Name | ListOf | Call

_OPERATORS = {
    "relation_lt": "<", "relation_le": "<=", "relation_gt": ">", "relation_ge": ">=", "relation_eq": "==",
    "relation_ne": "!=", "relation_in": "in", "addition_add": "+", "addition_sub": "-", "multiplication_mul": "*",
    "multiplication_div": "/", "multiplication_mod": "%", "conditionalor": "||", "conditionaland": "&&",
    "unary_not": "!", "unary_neg": "-",
}  # fmt: skip

# The grammar's own string terminals can take exponential time on a string that does not end.
_STRING = r"[rR](?:\"[^\"\r\n]*\"|'[^'\r\n]*')|\"(?:[^\"\\\r\n]|\\.)*\"|'(?:[^'\\\r\n]|\\.)*'"
_LONG_STRING = r"[rR]?(?:\"\"\"(?:[^\"\\]|\\[\s\S]|\"(?!\"\"))*\"\"\"|'''(?:[^'\\]|\\[\s\S]|'(?!''))*''')"
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"`?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|)"
)
_SURROGATES = (0xD800, 0xDFFF)
_PLAIN_ESCAPES = dict(zip("abfnrtv\\'\"`?", "\a\b\f\n\r\t\v\\'\"`?", strict=True))


def parse(text: str) -> Node:
    """The syntax tree of ``text``. CelError if it is not CEL, or too long or deep."""
    if len(text) > MAX_TEXT:
        raise CelError(MAX_TEXT, f"the expression is longer than {MAX_TEXT:,} characters")
    from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken  # noqa: PLC0415 - 30 ms, only when config holds CEL

    try:
        tree = _parser().parse(text)
    except UnexpectedToken as error:
        if error.token.type == "$END":
            raise CelError(
                len(text), "the expression ends too soon", "is a bracket open, or an operand missing?"
            ) from error
        raise CelError(error.pos_in_stream or 0, f"{str(error.token)[:40]!r} is unexpected", _hint(text)) from error
    except UnexpectedCharacters as error:
        position = error.pos_in_stream or 0
        if text[position] in "'\"":
            raise CelError(position, "a text does not end", "end it with the quote it begins with") from error
        raise CelError(position, f"{text[position]!r} is unexpected", _hint(text)) from error
    except UnexpectedInput as error:
        raise CelError(0, "this is not CEL") from error
    return _node(tree, 0)


@cache
def _parser() -> lark.Lark:
    import lark  # noqa: PLC0415 - 30 ms, only when config holds CEL

    spec = importlib.util.find_spec("celpy")
    if spec is None or spec.origin is None:
        raise FlockIQError("the package cel-python is not installed: pip install -r requirements.txt")
    grammar = Path(spec.origin).with_name("cel.lark").read_text("utf-8")
    return lark.Lark(
        grammar, parser="lalr", start="expr", propagate_positions=True, maybe_placeholders=False, edit_terminals=_linear
    )


def _linear(terminal: lark.lexer.TerminalDef) -> None:
    """Give the terminals of strings a form that takes linear time."""
    from lark.lexer import PatternRE  # noqa: PLC0415 - see _parser

    patterns = {"STRING_LIT": (_STRING, 1), "MLSTRING_LIT": (_LONG_STRING, 2), "BYTES_LIT": (f"[bB](?:{_STRING})", 3)}
    if terminal.name in patterns:
        pattern, terminal.priority = patterns[terminal.name]
        terminal.pattern = PatternRE(pattern)


_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_HINTS = [
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (r"(\w+)\s+is\s+not\s+null\b", r"write \1 != null"),
        (r"(\w+)\s+is\s+null\b", r"write \1 == null"),
        (r"(\w+)\s+not\s+in\b", r"write !(\1 in [a, b])"),
        (r"\bnot\s+(\w+\([^()]*\))", r"write !\1"),
        (r"\bnot\b", "CEL writes ! for not: !(a == b)"),
        (r"\sand\s", "CEL writes && for and"),
        (r"\sor\s", "CEL writes || for or"),
        (r"!==", "CEL compares with !="),
        (r"<>", "CEL writes != for <>"),
        (r"===|(?<![=!<>])=(?!=)", "CEL compares with =="),
        (r"(?<!&)&(?!&)", "CEL writes && for and"),
        (r"(?<!\|)\|(?!\|)", "CEL writes || for or"),
        (r"(\w+)\s+like\b", r"write \1.startsWith('A') or \1.contains('A')"),
    )
]
"""What people write who think in another language, and what it is in CEL."""


def _hint(text: str) -> str:
    bare = _QUOTED.sub("''", text)
    for pattern, hint in _HINTS:
        if found := pattern.search(bare):
            return found.expand(hint)
    return "docs/rules.md lists what a condition may say"


def _node(tree: lark.Tree[lark.Token], depth: int) -> Node:
    """The node of a tree; levels of the grammar that add nothing are passed over."""
    while len(tree.children) == 1 and tree.data not in _LEAVES:
        tree = _tree(tree.children[0])
    position = tree.meta.start_pos
    if depth > MAX_DEPTH:
        raise CelError(position, f"the expression is nested over {MAX_DEPTH} deep", "x in [a, b, c] stands for many ||")
    children = tree.children
    match tree.data:
        case "literal":
            return _literal(children[0], position)  # type: ignore[arg-type] # the grammar has a token here
        case "ident":
            name = str(children[0])  # the grammar takes true for an identifier where it could be one
            return Literal(position, Kind.BOOL, name == "true") if name in ("true", "false") else Name(position, name)
        case "list_lit":
            return ListOf(position, _items(children, depth))
        case "ident_arg":
            return Call(position, str(children[0]), _items(children[1:], depth))
        case "member_dot_arg":
            receiver = _node(_tree(children[0]), depth + 1)
            return Call(position, str(children[1]), (receiver, *_items(children[2:], depth)))
        case "member_dot" | "member_index":
            raise CelError(position, "values have no parts to reach into", "map the part to a field of its own")
        case _:
            operator, operands = _operation(tree)
            return Call(position, operator, tuple(_node(operand, depth + 1) for operand in operands))


def _operation(tree: lark.Tree[lark.Token]) -> tuple[str, list[lark.Tree[lark.Token]]]:
    """An operator and its operands."""
    first, *rest = map(_tree, tree.children) if tree.data in _OPERATIONS else [tree]
    match tree.data:
        case "expr":
            return "?:", [first, *rest]
        case "unary":
            return _OPERATORS[first.data], rest
        case "conditionalor" | "conditionaland":
            return _OPERATORS[tree.data], [first, *rest]
        case "relation" | "addition" | "multiplication":  # the operator holds its left side
            return _OPERATORS[first.data], [_tree(first.children[0]), *rest]
        case _:
            raise CelError(tree.meta.start_pos, "this part of CEL is not supported", "docs/rules.md lists what is")


_OPERATIONS = frozenset({"expr", "unary", "conditionalor", "conditionaland", "relation", "addition", "multiplication"})
_LEAVES = frozenset({"literal", "ident", "list_lit", "map_lit", "ident_arg", "dot_ident", "dot_ident_arg"})


def _tree(child: lark.Tree[lark.Token] | lark.Token) -> lark.Tree[lark.Token]:
    return child  # type: ignore[return-value] # the grammar has no token in these places


def _items(children: list[lark.Tree[lark.Token] | lark.Token], depth: int) -> tuple[Node, ...]:
    return tuple(_node(_tree(item), depth + 1) for listed in children for item in _tree(listed).children)


def _literal(token: lark.Token, position: int) -> Literal:
    text = str(token)
    match token.type:
        case "BOOL_LIT":
            return Literal(position, Kind.BOOL, text == "true")
        case "NULL_LIT":
            return Literal(position, Kind.NULL, None)
        case "STRING_LIT" | "MLSTRING_LIT":
            return Literal(position, Kind.STRING, _unquoted(text, position))
        case "INT_LIT" | "UINT_LIT":
            digits = text.rstrip("uU")
            number = int(digits, 16 if "x" in digits else 10)
            if not -(1 << 63) <= number < 1 << 63:
                raise CelError(position, f"{text[:40]} does not fit 64 bits")
            return Literal(position, Kind.INT, number)
        case "FLOAT_LIT":
            value = float(text)
            if value in (float("inf"), float("-inf")):
                raise CelError(position, f"{text[:40]} is beyond any double")
            return Literal(position, Kind.DOUBLE, value)
        case _:
            raise CelError(position, "bytes are not supported", "text stands in quotes alone")


def _unquoted(text: str, position: int) -> str:
    raw = text[0] in "rR"
    body = text[1:] if raw else text
    width = 3 if body.startswith(('"""', "'''")) else 1
    body = body[width:-width]
    if raw:
        return body

    def character(found: re.Match[str]) -> str:
        plain, byte, short, long, octal = found.groups()
        if plain:
            return _PLAIN_ESCAPES[plain]
        code = int(octal, 8) if octal else int(byte or short or long or "110000", 16)
        if not (code < _SURROGATES[0] or _SURROGATES[1] < code <= sys.maxunicode):
            raise CelError(
                position, f"the escape {body[found.start() : found.start() + 6]!r} means nothing", "a backslash is \\\\"
            )
        return chr(code)

    return _ESCAPE.sub(character, body)
