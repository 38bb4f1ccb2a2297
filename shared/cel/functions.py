"""Every operator and function: what kinds it takes, what it gives, which columns' function it is."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.cel import operators, texts
from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.kinds import Kind
from flockiq.shared.cel.parse import Call, CelError, Literal
from flockiq.shared.cel.terms import Look, Run, Term, term
from flockiq.shared.config.durations import parse_duration
from flockiq.shared.instants import instant_us, zone_info
from flockiq.shared.lanes import text_lane

Constant = bool | float | str | None

_UTC = zone_info("UTC")
_FEW = 16  # texts in a list that are compared with one by one, as a term
_NUMBERS = (Kind.INT, Kind.DOUBLE)
_DTYPES = {Kind.BOOL: np.bool_, Kind.INT: np.int64, Kind.DOUBLE: np.float64, Kind.STRING: object, Kind.NULL: np.bool_}
_TIMES: Mapping[tuple[Kind, str, Kind], Kind] = {
    (Kind.TIMESTAMP, "-", Kind.TIMESTAMP): Kind.DURATION,
    (Kind.TIMESTAMP, "-", Kind.DURATION): Kind.TIMESTAMP,
    (Kind.TIMESTAMP, "+", Kind.DURATION): Kind.TIMESTAMP,
    (Kind.DURATION, "+", Kind.TIMESTAMP): Kind.TIMESTAMP,
    (Kind.DURATION, "+", Kind.DURATION): Kind.DURATION,
    (Kind.DURATION, "-", Kind.DURATION): Kind.DURATION,
}
NAMES = ("has", "size", "matches", "abs", "double", "timestamp", "duration", *texts.CHANGING, *texts.ASKING)


class Typed(NamedTuple):
    """A lowered node: its kind, the function that gives its column, and the same as a term, unless it is a text.

    ``text``: of a variable's text, as it is or in another case: the variable, and the case or "".
    """

    kind: Kind
    run: Run
    term: Term | None
    text: tuple[str, str] | None = None


def constant(kind: Kind, value: Constant) -> Typed:
    """A constant; null is a column of nothing but."""
    values: npt.NDArray[Any] = np.empty((), _DTYPES.get(kind, np.int64))
    values[()] = False if value is None else value
    column = Column(values, np.asarray(value is None))
    said = text_lane(value) if isinstance(value, str) else value
    return Typed(kind, lambda _: column, Term("const", kind, value=said))


def suggest(name: str, known: Iterable[str]) -> str:
    """What there is, the likeliest first."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}there are: {', '.join(names)}" if names else "there are no variables"


def call(node: Call, arguments: Sequence[Typed]) -> Typed:
    """Lower a call. CelError if the function is unknown or its arguments don't fit."""
    name = node.function
    if name in ("&&", "||", "!"):
        return _logic(node, arguments)
    if name in operators.COMPARISONS:
        return _compare(node, arguments[0], arguments[1])
    if name == "?:":
        return _choose(node, arguments[0], arguments[1], arguments[2])
    if name in ("+", "-", "*", "/", "%"):
        return _negative(node, arguments[0]) if len(arguments) == 1 else _arithmetic(node, arguments[0], arguments[1])
    return _function(node, arguments)


def one_of(left: Typed, items: Sequence[Literal]) -> Typed:
    """``text in [texts]``, looked up in a set."""
    for item in items:
        if item.kind is not Kind.STRING:
            raise _mismatch(item.position, "in", [left.kind, item.kind])
    known = frozenset(str(item.value) for item in items)
    found = _unary(Kind.BOOL, texts.one_of(known), left)
    if left.term is None or not 0 < len(known) <= _FEW:
        return found
    terms = (
        Term("==", Kind.BOOL, (left.term, Term("const", Kind.STRING, value=text_lane(one)))) for one in sorted(known)
    )
    return found._replace(term=reduce(lambda one, other: Term("||", Kind.BOOL, (one, other)), terms))


def in_nothing(left: Typed) -> Typed:
    """``x in []``: false, and null where x is."""
    nothing = _unary(Kind.BOOL, lambda column: Column(np.zeros_like(column.null), column.null), left)
    if left.term is None:
        return nothing
    return nothing._replace(term=Term("!=", Kind.BOOL, (left.term, left.term)))


def _unary(kind: Kind, function: Callable[[Column], Column], of: Typed, op: str = "") -> Typed:
    read = of.run

    def run(columns: Mapping[str, Column]) -> Column:
        return function(read(columns))

    return Typed(kind, run, term(op, kind, run, of.term))


def _binary(kind: Kind, function: operators.Binary, left: Typed, right: Typed, op: str = "") -> Typed:
    ours, theirs = left.run, right.run

    def run(columns: Mapping[str, Column]) -> Column:
        return function(ours(columns), theirs(columns))

    return Typed(kind, run, term(op, kind, run, left.term, right.term))


def _as_double(of: Typed) -> Typed:
    return _unary(Kind.DOUBLE, operators.to_double, of, "double") if of.kind is Kind.INT else of


def _plain(of: Typed) -> Typed:
    """Texts as objects; other kinds as they are."""
    return _unary(Kind.STRING, texts.plain, of) if of.kind is Kind.STRING else of


def _mismatch(position: int, operation: str, kinds: Sequence[Kind]) -> CelError:
    hint = "both sides must be of one kind"
    if Kind.STRING in kinds and set(kinds) & set(_NUMBERS):
        hint = "a text is no number: quote the number, or write double(text)"
    elif Kind.TIMESTAMP in kinds and Kind.STRING in kinds:
        hint = "write timestamp('2024-01-31')"
    elif Kind.NULL in kinds:
        hint = "null can only be asked for, with == and !="
    return CelError(position, f"{operation} does not go with {' and '.join(kinds)}", hint)


def _logic(node: Call, arguments: Sequence[Typed]) -> Typed:
    for operand, typed in zip(node.arguments, arguments, strict=True):
        if typed.kind is not Kind.BOOL:
            raise CelError(operand.position, f"{node.function} needs conditions, this is {typed.kind}", "compare it")
    if node.function == "!":
        return negation(arguments[0])
    function = operators.conjunction if node.function == "&&" else operators.disjunction
    return _binary(Kind.BOOL, function, arguments[0], arguments[1], node.function)


def negation(of: Typed) -> Typed:
    """``!of``."""
    return _unary(Kind.BOOL, operators.negation, of, "!")


def is_null(of: Typed) -> Typed:
    """``of == null``."""
    return _unary(Kind.BOOL, operators.is_null, of, "null")


def _compare(node: Call, left: Typed, right: Typed) -> Typed:
    operation = node.function
    kinds = (left.kind, right.kind)
    if Kind.NULL in kinds:
        if operation not in ("==", "!="):
            raise _mismatch(node.position, operation, kinds)
        asked = is_null(left if right.kind is Kind.NULL else right)
        return asked if operation == "==" else negation(asked)
    if left.kind is not right.kind:
        if not (left.kind in _NUMBERS and right.kind in _NUMBERS):
            raise _mismatch(node.position, operation, kinds)
        left, right = _as_double(left), _as_double(right)
    if left.kind is Kind.STRING:
        alike = texts.ALIKE.get(operation)
        if alike is not None:
            return _binary(Kind.BOOL, alike, left, right, operation)
        return _binary(Kind.BOOL, operators.COMPARISONS[operation], _plain(left), _plain(right))
    return _binary(Kind.BOOL, operators.COMPARISONS[operation], left, right, operation)


def _choose(node: Call, condition: Typed, yes: Typed, no: Typed) -> Typed:
    if condition.kind is not Kind.BOOL:
        raise CelError(node.position, f"? needs a condition before it, this is {condition.kind}", "compare it")
    if yes.kind is not no.kind:
        if yes.kind in _NUMBERS and no.kind in _NUMBERS:
            yes, no = _as_double(yes), _as_double(no)
        elif Kind.NULL not in (yes.kind, no.kind):
            raise _mismatch(node.position, "? :", (yes.kind, no.kind))
    kind = no.kind if yes.kind is Kind.NULL else yes.kind
    yes, no = (_plain(constant_like(one, kind)) for one in (yes, no))
    asked, first, second = condition.run, yes.run, no.run

    def run(columns: Mapping[str, Column]) -> Column:
        return operators.choice(asked(columns), first(columns), second(columns))

    return Typed(kind, run, term("?:", kind, run, condition.term, yes.term, no.term))


def constant_like(of: Typed, kind: Kind) -> Typed:
    """A null of ``kind`` if ``of`` is the literal null; else ``of``."""
    return constant(kind, None) if of.kind is Kind.NULL else of


def _negative(node: Call, of: Typed) -> Typed:
    if of.kind not in (*_NUMBERS, Kind.DURATION):
        raise CelError(node.position, f"- does not go with {of.kind}", "it is for numbers and durations")
    return _unary(of.kind, operators.minus, of, "minus")


def _arithmetic(node: Call, left: Typed, right: Typed) -> Typed:
    operation = node.function
    kinds = (left.kind, right.kind)
    if kinds == (Kind.INT, Kind.INT):
        return _binary(Kind.INT, operators.INTS[operation], left, right, operation)
    if kinds == (Kind.STRING, Kind.STRING) and operation == "+":
        return _binary(Kind.STRING, operators.join, _plain(left), _plain(right))
    times = _TIMES.get((left.kind, operation, right.kind))
    if times is not None:
        return _binary(times, operators.INTS[operation], left, right, operation)
    if left.kind in _NUMBERS and right.kind in _NUMBERS and operation in operators.DOUBLES:
        return _binary(Kind.DOUBLE, operators.DOUBLES[operation], _as_double(left), _as_double(right), operation)
    raise _mismatch(node.position, operation, kinds)


def _function(node: Call, arguments: Sequence[Typed]) -> Typed:
    name = node.function
    kinds = [argument.kind for argument in arguments]
    if name in ("timestamp", "duration", "matches"):
        return _of_literal(node, arguments)
    if name in texts.CHANGING and kinds == [Kind.STRING]:
        changing = texts.CHANGING[name]
        made = _unary(Kind.STRING, lambda column: texts.changed(changing, column), arguments[0])
        variable, case = arguments[0].text or ("", name)
        return made._replace(text=(variable, name)) if name in ("lower", "upper") and not case else made
    if name in texts.ASKING and kinds == [Kind.STRING, Kind.STRING]:
        asked = _binary(Kind.BOOL, lambda a, b: texts.asked(name, a, b), arguments[0], arguments[1])
        part = node.arguments[1]
        return _looking(asked, arguments[0], name, part.value) if isinstance(part, Literal) else asked
    if name == "size" and kinds == [Kind.STRING]:
        return _looking(_unary(Kind.INT, texts.size, arguments[0]), arguments[0], name)
    if name == "abs" and len(kinds) == 1 and kinds[0] in (*_NUMBERS, Kind.DURATION):
        return _unary(kinds[0], operators.absolute, arguments[0], "abs")
    if name == "double" and len(kinds) == 1 and kinds[0] in (*_NUMBERS, Kind.STRING):
        of = arguments[0]
        return _unary(Kind.DOUBLE, texts.to_double, of) if kinds == [Kind.STRING] else _as_double(of)
    if name not in NAMES:
        raise CelError(node.position, f"there is no function {name!r}", suggest(name, NAMES))
    given = ", ".join(kinds) or "nothing"
    raise CelError(node.position, f"{name} does not take {given}", _SIGNATURES.get(name, f"{name}(text)"))


def _looking(found: Typed, at: Typed, how: str, part: Constant = "") -> Typed:
    """What was found at a text, with a word on what it is."""
    if at.text is None or found.term is None:
        return found
    return found._replace(term=found.term._replace(look=Look(*at.text, how, str(part))))


_SIGNATURES = {
    "abs": "abs(number)",
    "double": "double(number or text)",
    "startsWith": "text.startsWith(text)",
    "endsWith": "text.endsWith(text)",
    "contains": "text.contains(text)",
    "has": "has(email)",
}


def _of_literal(node: Call, arguments: Sequence[Typed]) -> Typed:
    """Functions whose last argument is a text in quotes, read when the expression is compiled."""
    name = node.function
    wanted = 2 if name == "matches" else 1
    last = node.arguments[-1] if node.arguments else None
    example = {"matches": "name.matches('^A.*')", "timestamp": "timestamp('2024-01-31')", "duration": "duration('24h')"}
    if len(arguments) != wanted or not isinstance(last, Literal) or not isinstance(last.value, str):
        raise CelError(node.position, f"{name} takes a text in quotes", example[name])
    text = last.value
    try:
        if name == "timestamp":
            return constant(Kind.TIMESTAMP, instant_us(text, _UTC))
        if name == "duration":
            return constant(Kind.DURATION, parse_duration(text))
        found = texts.matcher(text)
    except ValueError as error:
        wrong = str(error) if name == "duration" else f"{text[:40]!r} {error}"  # which quotes it
        raise CelError(last.position, wrong, example[name]) from error
    if arguments[0].kind is not Kind.STRING:
        raise _mismatch(node.position, name, [arguments[0].kind, Kind.STRING])
    return _unary(Kind.BOOL, lambda column: texts.by_distinct(found, column, np.bool_), arguments[0])
