"""A ruleset as arrays of numbers, for machine code (signal/rowjudge.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from flockiq.shared.cel.program import Given
from flockiq.shared.lanes import Floats, Int64s, text_lane
from flockiq.shared.layout import Layout
from flockiq.signal.programs import CHANGES, Part, drifts_on
from flockiq.signal.watch import KEY

if TYPE_CHECKING:
    from flockiq.signal.ruleset import Ruleset

DRIFT, NAMED, OLD, NEW, CONSTANT, TELLER, SCORE, NUMBER, EXPECTED, LOW, HIGH, GIVEN = range(12)
"""Columns that are not golden: of a row, a delta, or what a baseline says; the last is found by looking into texts."""

SIZE, CONTAINS, STARTS_WITH, ENDS_WITH, UNKNOWN = range(5)
"""How a text is looked into; UNKNOWN to machine code."""

PLAIN, LOWER, UPPER = range(3)
"""In which case."""

_HOW = {"size": SIZE, "contains": CONTAINS, "startsWith": STARTS_WITH, "endsWith": ENDS_WITH}
_CASES = {"": PLAIN, "lower": LOWER, "upper": UPPER}
_OF_A_DELTA = {"old": OLD, "new": NEW, "source": TELLER}
_OF_A_SCORE = {"score": SCORE, "new": NUMBER, "expected": EXPECTED, "low": LOW, "high": HIGH}


class Table(NamedTuple):
    """Q programs with all their instructions, one after the other; E columns, G of them given; K bits of events.

    code: int64 [P, 5]; wholes int64, reals float64: constants. program: int64 [Q, 8]: where it begins, where what is
    the same for all rows ends, and where it ends in ``code``; what it is asked of, of which field; where its columns
    begin and end in ``extra``, and its bits in ``keys``. extra: int64 [E, 2]: which column, and which of them.
    keys: int64 [K]: the place of an event's hit among those of a row. look: int64 [G, 7]: how, in which case, of which
    column, where the part begins and ends in ``parts`` (uint8), the conditions that need it, whether the part is ASCII.
    Of states: ``order_keys`` int64 [64], the place of a hit by number; reads, shows: int64 [F]; words: int64 [4]:
    asked_first, always, renamed, waiting (signal/ruleset.py). tellers: int64 [S], the lanes of their names.
    """

    code: Int64s
    wholes: Int64s
    reals: Floats
    program: Int64s
    extra: Int64s
    keys: Int64s
    look: Int64s
    parts: npt.NDArray[np.uint8]
    order_keys: Int64s
    reads: Int64s
    shows: Int64s
    words: Int64s
    tellers: Int64s


class Asked(NamedTuple):
    """A column that is given, and the program that it is given to."""

    given: Given
    part: Part


class Tabled(NamedTuple):
    """A table; what its G given columns are; the ``instructions`` and ``columns`` of its largest programs."""

    table: Table
    given: tuple[Asked, ...]
    instructions: int
    columns: int


def tabled(rules: Ruleset) -> Tabled:
    """A ruleset's table."""
    parts, layout = rules.parts, rules.layout
    programs = [part.program for part in parts]
    given = tuple(Asked(one, part) for part in parts for one in part.program.extra if isinstance(one, Given))
    needles = [(one.given.look.part if one.given.look else "").encode("utf-8", "surrogatepass") for one in given]
    ends = [0, *accumulate(map(len, needles))]
    number = {id(one.given): place for place, one in enumerate(given)}
    extra = [
        (GIVEN, number[id(one)]) if isinstance(one, Given) else _column(one, part, layout)
        for part in parts
        for one in part.program.extra
    ]
    keys = [order * rules.width + rank for part in parts for order, rank in zip(part.orders, part.ranks, strict=True)]
    table = Table(
        code=_code(parts),
        wholes=np.concatenate([one.wholes for one in programs]),
        reals=np.concatenate([one.reals for one in programs]),
        program=_programs(parts),
        extra=_whole(extra, 2),
        keys=np.array(keys, np.int64),
        look=_whole((_look(one.given, *ends[place : place + 2]) for place, one in enumerate(given)), 7),
        parts=np.frombuffer(bytearray(b"".join(needles) or b"-"), np.uint8),
        order_keys=rules.order_of * rules.width,
        reads=rules.reads,
        shows=rules.shows,
        words=np.array([rules.asked_first, rules.always, rules.renamed, rules.waiting], np.int64),
        tellers=np.array([text_lane(teller) for teller in layout.tellers], np.int64),
    )
    return Tabled(table, given, max(len(one.code) for one in programs), max(len(one.extra) for one in programs))


def _code(parts: Sequence[Part]) -> Int64s:
    """All instructions; their constants stand behind those of the programs before."""
    wholes = reals = 0
    found = []
    for part in parts:
        found.append(part.program.shifted(wholes, reals))
        wholes, reals = wholes + len(part.program.wholes), reals + len(part.program.reals)
    return np.concatenate(found)


def _programs(parts: Sequence[Part]) -> Int64s:
    rows, code, extra, bits = [], 0, 0, 0
    for part in parts:
        of, end = part.program, extra + len(part.program.extra)
        places = code, code + of.steady, code + len(of.code)
        rows.append((*places, part.asked_of, part.field, extra, end, bits))
        code, extra, bits = places[-1], end, bits + len(part.orders)
    return _whole(rows, 8)


def _column(name: str, part: Part, layout: Layout) -> tuple[int, int]:
    """Which column a name is to a program."""
    drifts = {drifts_on(number): number for number in range(len(layout.tolerances))}
    if name == KEY:
        return NAMED, 0
    if name in drifts:
        return DRIFT, drifts[name]
    if part.asked_of == CHANGES:
        return (CONSTANT, text_lane(layout.fields[part.field].name)) if name == "field" else (_OF_A_DELTA[name], 0)
    return _OF_A_SCORE[name], 0


def _look(given: Given, begin: int, end: int) -> tuple[int, ...]:
    look = given.look
    if look is None:
        return UNKNOWN, PLAIN, -1, begin, end, given.bits, True
    return _HOW[look.how], _CASES[look.case], given.of, begin, end, given.bits, look.part.isascii()


def _whole(rows: Iterable[Sequence[int]], width: int) -> Int64s:
    return np.array(list(rows), np.int64).reshape(-1, width)
