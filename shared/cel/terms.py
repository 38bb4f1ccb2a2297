"""Terms: what an expression does as a tree of typed operations, for who runs it otherwise than column by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from flockiq.shared.cel.columns import Column
from flockiq.shared.cel.kinds import Kind

Run = Callable[[Mapping[str, Column]], Column]


class Look(NamedTuple):
    """A question to the text of a variable, in lower or upper ``case`` if that is said.

    ``how``: size, contains, startsWith or endsWith, the last three of ``part``.
    """

    name: str
    case: str
    how: str
    part: str = ""


class Term(NamedTuple):
    r"""One operation. Its nulls are three-valued, as ``shared.cel.operators`` has them.

    | op | gives |
    |---|---|
    | const | ``value``: bool, int (times in µs, a text's lane) or float; None is null |
    | name | the variable ``value``; a text as its lane |
    | given | what ``run`` gives for columns: what is no other operation; ``look`` says what that is of most texts |
    | null | whether its argument is null |
    | double | an int as a double |
    | ! && \|\| ?: == != < <= > >= + - * / % | as in CEL, of arguments of one kind |
    | minus, abs | of a number or a duration |
    """

    op: str
    kind: Kind
    arguments: tuple[Term, ...] = ()
    value: str | float | None = None
    run: Run | None = None
    look: Look | None = None


def term(op: str, kind: Kind, run: Run, *arguments: Term | None) -> Term | None:
    """An operation on what are terms; else, or without an ``op``, what ``run`` gives. None for texts that are made."""
    known = tuple(one for one in arguments if one is not None)
    if op and len(known) == len(arguments):
        return Term(op, kind, known)
    return None if kind in (Kind.STRING, Kind.NULL) else Term("given", kind, run=run)
