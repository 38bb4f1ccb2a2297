"""Conditions of all rules over all rows, deltas and scores in one pass: compiled, as by_columns.py does it with numpy.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.cel.rowprogram import run_block
from flockiq.shared.lanes import NULL
from flockiq.shared.machine.code import Array, Columns, Whole, borrowing
from flockiq.shared.machine.memory import bits_of, lowest
from flockiq.signal.hits import BEGINS, ENDS, GOES_ON, HAPPENS, PASSES
from flockiq.signal.programs import CHANGES, SCORES, STATES
from flockiq.signal.rowlook import LEFT, look
from flockiq.signal.table import (
    CONSTANT,
    DRIFT,
    EXPECTED,
    GIVEN,
    LOW,
    NAMED,
    NEW,
    NUMBER,
    OLD,
    SCORE,
    TELLER,
)


@borrowing
def judge(
    seen: Columns,
    before: Array,
    table: Columns,
    given: Array,
    made: Array,
    left: Array,
    texts: Columns,
    room: Columns,
    hits: Columns,
) -> Whole:
    """Judge the rows of ``seen`` (signal.by_program.SeenColumns) by a table; returns how many hits there are.

    ``before``: int64 [r], the words of the rows' entities before all of them; ``texts``: shared.stored_texts'
    columns. ``given``: int64 [G, n], those columns that are ``made``, bool [G]; where others are needed, they are
    ``left``, bool [G], to be made, and what is returned is -1. ``room``, ``hits``: see signal.by_program; hits for
    which there is no room are counted.
    """
    rows = len(seen.previous)
    _ask(seen, table, room.asked, room.shown)
    _sort_out(seen.delta_field, room.by_field, room.deltas_from)
    _sort_out(seen.score_field, room.by_score, room.scores_from)
    count: Whole = np.int64(0)
    complete = True
    for number in range(len(table.program)):
        asked_of, field = table.program[number, 3], table.program[number, 4]
        begin: Whole = np.int64(0)
        end: Whole = np.int64(rows)
        if asked_of == CHANGES:
            begin, end = room.deltas_from[field], room.deltas_from[field + 1]
        elif asked_of == SCORES:
            begin, end = room.scores_from[field], room.scores_from[field + 1]
        if begin < end:
            complete = _run(number, asked_of, begin, end, seen, table, given, made, left, texts, room) and complete
            if not complete:
                continue
        if asked_of == STATES:
            count = _turn(seen.previous, before, table, room, hits)
            continue
        count = _happen(number, asked_of, begin, end, count, seen, table, room, hits)
    if not complete:
        return -1
    if count <= len(hits.row):
        _in_order(count, rows, room.begins, hits)
    return count


@borrowing
def _ask(seen: Columns, table: Columns, asked: Array, shown: Array) -> None:
    """The words (signal/ruleset.py) of what is asked of each row, and of what shows something that is new there."""
    first, always, renamed = table.words[0], table.words[1], table.words[2]
    fresh, delta_row, delta_field, reads, shows = seen.fresh, seen.delta_row, seen.delta_field, table.reads, table.shows
    for row in range(len(fresh)):
        asked[row] = always | first if fresh[row] else always
        shown[row] = renamed
    for delta in range(len(delta_row)):
        row, field = delta_row[delta], delta_field[delta]
        asked[row] |= reads[field]
        shown[row] |= shows[field]


@borrowing
def _sort_out(field: Array, order: Array, begins: Array) -> None:
    """The numbers of items by their field, and where those of each field begin: int64 [F + 1]."""
    fields = len(begins) - 1
    for one in range(fields + 1):
        begins[one] = 0
    for item in range(len(field)):
        begins[field[item] + 1] += 1
    for one in range(fields):
        begins[one + 1] += begins[one]
    for item in range(len(field)):
        order[begins[field[item]]] = item
        begins[field[item]] += 1
    for one in range(fields, 0, -1):
        begins[one] = begins[one - 1]
    begins[0] = 0


@borrowing
def _run(
    number: int,
    asked_of: int,
    begin: int,
    end: int,
    seen: Columns,
    table: Columns,
    given: Array,
    made: Array,
    left: Array,
    texts: Columns,
    room: Columns,
) -> bool:
    """Run a program for its items from ``begin`` to ``end``, in ``held`` a word each; False if a column is left."""
    code, wholes, reals, golden = table.code, table.wholes, table.reals, seen.golden
    whole, real, truth, null, words = room.whole, room.real, room.truth, room.null, room.words
    first, steady, last = table.program[number, 0], table.program[number, 1], table.program[number, 2]
    held, items, rows, extra = room.held, room.items, room.rows, room.extra
    block, complete = whole.shape[1], True
    most = min(block, end - begin)
    run_block(code, first, steady, wholes, reals, golden, rows, extra, most, whole, real, truth, null, words)
    for at in range(begin, end, block):
        size = min(block, end - at)
        for j in range(size):
            words[j] = 0
            if asked_of == STATES:
                items[j] = rows[j] = at + j
            elif asked_of == CHANGES:
                items[j] = room.by_field[at + j]
                rows[j] = seen.delta_row[items[j]]
            else:
                items[j] = room.by_score[at + j]
                rows[j] = seen.score_row[items[j]]
        here = _columns(number, asked_of, at - begin, size, seen, table, given, made, left, texts, room)
        complete = complete and here
        if complete:
            run_block(code, steady, last, wholes, reals, golden, rows, extra, size, whole, real, truth, null, words)
            for j in range(size):
                held[at + j] = words[j]
    return complete


@borrowing
def _columns(
    number: int,
    asked_of: int,
    at: int,
    size: int,
    seen: Columns,
    table: Columns,
    given: Array,
    made: Array,
    left: Array,
    texts: Columns,
    room: Columns,
) -> bool:
    """A block's columns that are not golden; False if one is left. ``at``: the program's items before."""
    complete, fields = True, seen.golden.shape[1]
    items, rows, extra, asked = room.items, room.rows, room.extra, room.asked
    begin = table.program[number, 5]
    for column in range(table.program[number, 6] - begin):
        what, which = table.extra[begin + column, 0], table.extra[begin + column, 1]
        if what == GIVEN and not made[which]:
            of, bits = table.look[which, 2], table.look[which, 5]
            for j in range(size):
                found = np.int64(NULL)
                if asked_of != STATES or asked[rows[j]] & bits:
                    found = LEFT
                    if of >= 0:
                        lane = seen.golden[rows[j], of] if of < fields else extra[of - fields, j]
                        found = look(lane, which, table.look, table.parts, texts)
                    if found == LEFT:
                        left[which], complete = True, False
                extra[column, j] = found
            continue
        for j in range(size):
            item = items[j]
            if what == GIVEN:
                extra[column, j] = given[which, at + j]
            elif what == DRIFT:
                extra[column, j] = seen.drift[item, which]
            elif what == NAMED:
                extra[column, j] = seen.key[rows[j]]
            elif what == OLD:
                extra[column, j] = seen.delta_old[item]
            elif what == NEW:
                extra[column, j] = seen.delta_new[item]
            elif what == CONSTANT:
                extra[column, j] = which
            elif what == TELLER:
                extra[column, j] = table.tellers[seen.delta_source[item]]
            elif what == SCORE:
                extra[column, j] = bits_of(seen.score[item])
            elif what == NUMBER:
                extra[column, j] = bits_of(seen.number[item])
            elif what == EXPECTED:
                extra[column, j] = bits_of(seen.expected[item])
            elif what == LOW:
                extra[column, j] = bits_of(seen.low[item])
            else:
                extra[column, j] = bits_of(seen.high[item])
    return complete


@borrowing
def _turn(previous: Array, before: Array, table: Columns, room: Columns, hits: Columns) -> Whole:
    """The bits that hold ``after`` each row, and what of it is told; returns how many hits these are."""
    asked, shown, held, after, waiting = room.asked, room.shown, room.held, room.after, table.words[3]
    count, most = 0, len(hits.row)
    for row in range(len(previous)):
        was = after[previous[row]] if previous[row] >= 0 else before[row]
        now = (held[row] & asked[row]) | (was & ~asked[row])
        after[row] = now
        bits = (was ^ now) | (was & now & (shown[row] | waiting))
        while bits:
            number = lowest(bits)
            bits &= bits - 1
            if count < most:
                bit = np.int64(1) << number
                what = ENDS if was & bit else BEGINS
                if was & now & bit:
                    what = GOES_ON if shown[row] & bit else PASSES
                hits.found[count, 0], hits.found[count, 1] = row, table.order_keys[number]
                hits.found[count, 2], hits.found[count, 3] = what, -1
            count += 1
    return count


@borrowing
def _happen(
    number: int,
    asked_of: int,
    begin: int,
    end: int,
    count: Whole,
    seen: Columns,
    table: Columns,
    room: Columns,
    hits: Columns,
) -> Whole:
    """The hits of a program's events, behind ``count`` others; returns how many there are then."""
    keys, most = table.program[number, 7], len(hits.row)
    for at in range(begin, end):
        bits = room.held[at]
        if not bits:
            continue
        item = room.by_field[at] if asked_of == CHANGES else room.by_score[at]
        row = seen.delta_row[item] if asked_of == CHANGES else seen.score_row[item]
        while bits:
            key = table.keys[keys + lowest(bits)]
            bits &= bits - 1
            if count < most:
                hits.found[count, 0], hits.found[count, 1] = row, key
                hits.found[count, 2], hits.found[count, 3] = HAPPENS, item
            count += 1
    return count


@borrowing
def _in_order(count: Whole, rows: int, begins: Array, hits: Columns) -> None:
    """The hits by row, of a row by their keys."""
    found, row, key, what, item = hits.found, hits.row, hits.key, hits.what, hits.item
    for one in range(rows + 1):
        begins[one] = 0
    for hit in range(count):
        row[hit] = -1  # no hit is here yet
        begins[found[hit, 0] + 1] += 1
    for one in range(rows):
        begins[one + 1] += begins[one]
    for hit in range(count):
        of = found[hit, 0]
        at = begins[of]
        begins[of] += 1
        while at > 0 and row[at - 1] == of and key[at - 1] > found[hit, 1]:
            row[at], key[at], what[at], item[at] = row[at - 1], key[at - 1], what[at - 1], item[at - 1]
            at -= 1
        row[at], key[at], what[at], item[at] = of, found[hit, 1], found[hit, 2], found[hit, 3]
