"""Lines that say what their record has said already, compiled: they are known before anything of them is read.

Imported only by pipeline/compiled.py, as pipeline/rowwise.py is. pipeline/prints.py says what a print is.
"""

from __future__ import annotations

import numpy as np

from flockiq.pipeline.parts import (
    END,
    ENTITY_HIGH,
    ENTITY_LOW,
    FIELDS,
    KEY_END,
    KNOWN,
    PRINT,
    SOURCE,
    SOURCE_END,
    SOURCE_OF,
    STREAM,
    TYPE,
    TYPE_END,
    TYPE_OF,
)
from flockiq.pipeline.prints import (
    COUNTS,
    FIELD_COUNT,
    HOMES,
    KEYS,
    LANES,
    MASK,
    MOST,
    NAME,
    NAME_SIZE,
    PLACES,
    PRINTS,
    READ,
    REST,
    SOURCE_BOUNDS,
    SOURCE_COUNT,
    SOURCES,
    STEP,
    TELLERS,
    VALUE,
)
from flockiq.pipeline.rowindex import ask_place, id_number, likely
from flockiq.shared.machine.code import Array, Truth, Whole, inlined
from flockiq.shared.machine.memory import ask_for, copy, folded, load, store, word
from flockiq.shared.machine.stretches import alike


@inlined
def _hashed(text: int, p: int, size: int, state: Whole, secret: Array) -> Whole:
    """A stretch of text into a hash, uint64: sixteen bytes at a time, multiplied with what came before."""
    state ^= np.uint64(size)
    while size >= 16:
        state = folded(word(text, p) ^ secret[1], word(text, p + 8) ^ state)
        p, size = p + 16, size - 16
    if size > 8:
        last = word(text, p + 8) << np.uint64(128 - 8 * size)
        state = folded(word(text, p) ^ secret[1], last ^ state)
    elif size > 0:
        state = folded(word(text, p) << np.uint64(64 - 8 * size) ^ secret[1], state)
    return state


@inlined
def with_lanes(state: Whole, lanes: int, count: int, key: int, secret: Array) -> Whole:
    """A record's print: the hash of a line's bytes, and lanes, given by their address, and that of its key."""
    state = folded(np.uint64(key) ^ secret[0], state ^ secret[1])
    for number in range(count):
        state = folded(np.uint64(load(lanes, number)) ^ secret[0], state ^ secret[1])
    return state | np.uint64(1)


@inlined
def _named(text: int, p: int, size: int, names: int, bounds: int, count: int) -> Whole:
    """The number of the name that a stretch of text is, or -1."""
    for number in range(count):
        begin = load(bounds, number)
        if load(bounds, number + 1) - begin == size and alike(text, p, names, begin, size):
            return np.int64(number)
    return np.int64(-1)


@inlined
def _home(line: int, homes: Array) -> Whole:
    """The address of the home of a line's type, which there is."""
    return homes.ctypes.data + load(line, TYPE_OF) * 8 * HOMES


@inlined
def place(text: int, line: int, homes: Array, secret: Array) -> None:
    """Say of which type and source the row of parts ``line`` is, and hash what it says; its record is not KNOWN yet."""
    store(line, TYPE_OF, -1)
    store(line, SOURCE_OF, -1)
    store(line, KNOWN, -1)
    begin = load(line, TYPE)
    size, number = load(line, TYPE_END) - begin, 0
    while number < len(homes) and not (
        homes[number, NAME_SIZE] == size and alike(text, begin, homes[number, NAME], 0, size)
    ):
        number += 1
    if number == len(homes):
        return
    store(line, TYPE_OF, number)
    home = _home(line, homes)
    begin = load(line, SOURCE)
    size = load(line, SOURCE_END) - begin
    source = _named(text, begin, size, load(home, SOURCES), load(home, SOURCE_BOUNDS), load(home, SOURCE_COUNT))
    store(line, SOURCE_OF, source)
    begin = load(line, STREAM)
    state = _hashed(text, begin, load(line, KEY_END) - begin, secret[0], secret)
    begin = load(line, FIELDS)
    state = _hashed(text, begin, load(line, END) - begin, state, secret)
    store(line, PRINT, np.int64(state))
    ask_place(load(home, PLACES), load(home, MASK), load(line, ENTITY_HIGH))


@inlined
def ask_id(line: int, homes: Array) -> None:
    """Ask for the id that a line's entity would have by its place."""
    if load(line, TYPE_OF) >= 0:
        home = _home(line, homes)
        number = likely(load(home, PLACES), load(home, MASK), load(line, ENTITY_HIGH))
        if number >= 0:
            ask_for(load(home, LANES), number)
            ask_for(load(home, REST), number)


@inlined
def find(line: int, homes: Array) -> None:
    """Say which record a line is of, as if it were KNOWN, and ask for what is kept of it."""
    if load(line, SOURCE_OF) < 0:
        return
    home = _home(line, homes)
    names = load(home, PLACES), load(home, LANES), load(home, COUNTS), load(home, REST), load(home, MASK)
    entity = id_number(names, load(line, ENTITY_HIGH), load(line, ENTITY_LOW), False)  # noqa: FBT003
    if 0 <= entity < load(home, MOST):
        source, fields = load(line, SOURCE_OF), load(home, FIELD_COUNT)
        record, step = entity * load(home, TELLERS) + source, entity * load(home, STEP)
        store(line, KNOWN, record)
        ask_for(load(home, PRINTS), record)
        ask_for(load(home, KEYS) + step, source)
        ask_for(load(home, VALUE) + step, source * fields)
        ask_for(load(home, VALUE) + step, source * fields + fields - 1)


@inlined
def know(line: int, row: int, homes: Array, secret: Array, key: int) -> Truth:
    """Whether the record that was found for a line has said just this; if not, it is not KNOWN.

    Then what was read of it is put in place number ``row`` of its type's values and of ``key``.
    """
    record = load(line, KNOWN)
    if record < 0:
        return False
    home = _home(line, homes)
    fields, source = load(home, FIELD_COUNT), load(line, SOURCE_OF)
    step = record // load(home, TELLERS) * load(home, STEP)
    lanes, its_key = load(home, VALUE) + step + source * 8 * fields, load(load(home, KEYS) + step, source)
    print_ = with_lanes(np.uint64(load(line, PRINT)), lanes, fields, its_key, secret)
    if load(load(home, PRINTS), record) != np.int64(print_):
        store(line, KNOWN, -1)
        return False
    store(key, row, its_key)
    copy(load(home, READ), row * 8 * fields, lanes, 0, 8 * fields)
    return True
