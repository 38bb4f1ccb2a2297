"""Bytes of text in compiled code: literals, texts, ids, digits, hashes, UTF-8.

A text is the address of its bytes (shared/machine/memory.py).

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Truth, Whole, inlined
from flockiq.shared.machine.memory import WIDE, byte, half, highs, lowest, stops, word

QUOTE = 34


def literal(text: str) -> Array:
    """A text for ``after``: its size, then words and the masks of what counts of them, int64."""
    body = text.encode()
    words = [body[at : at + 8] for at in range(0, len(body), 8)]
    parts = [len(body)]
    for part in words:
        parts += [int.from_bytes(part, "little"), (1 << 8 * len(part)) - 1]
    return np.array(parts, np.uint64)


@inlined
def after(text: int, p: int, said: Array) -> Whole:
    """Where a literal that stands at ``p`` ends, or -1."""
    for i in range(1, len(said), 2):
        if (word(text, p + 4 * (i - 1)) & said[i + 1]) != said[i]:
            return -1
    return p + np.int64(said[0])


@inlined
def closing(text: int, p: int) -> Whole:
    """Where the quote that ends a text without escapes stands; -1 if there is none such."""
    found = stops(text, p)
    while found == 0:
        p += WIDE
        found = stops(text, p)
    p += lowest(found)
    return p if byte(text, p) == QUOTE else np.int64(-1)


@inlined
def alike(text: int, p: int, other: int, q: int, size: int) -> Truth:
    """Whether two stretches of the same size say the same. Both have PADDING behind them."""
    while size >= 8:
        if word(text, p) != word(other, q):
            return False
        p, q, size = p + 8, q + 8, size - 8
    if size == 0:
        return True
    return (word(text, p) ^ word(other, q)) << np.uint64(64 - 8 * size) == np.uint64(0)


_MASK = np.uint64((1 << 61) - 1)
_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_P4, _P5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)


@inlined
def _turned(bits: Whole, by: int) -> Whole:
    """A word's bits, turned to the left."""
    return (bits << np.uint64(by)) | (bits >> np.uint64(64 - by))


@inlined
def _mixed(state: Whole, bits: Whole) -> Whole:
    """One round of XXH64."""
    return _turned(state + bits * _P2, 31) * _P1


@inlined
def lane_of_bytes(text: int, p: int, end: int) -> Whole:
    """The lane of a text (shared.lanes.text_lane): XXH64 of its bytes, 61 bits of it. Nothing behind it is read."""
    size = np.uint64(end - p)
    if end - p >= 32:
        a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
        while p + 32 <= end:
            a, b = _mixed(a, word(text, p)), _mixed(b, word(text, p + 8))
            c, d = _mixed(c, word(text, p + 16)), _mixed(d, word(text, p + 24))
            p += 32
        state = _turned(a, 1) + _turned(b, 7) + _turned(c, 12) + _turned(d, 18)
        for part in (a, b, c, d):
            state = (state ^ _mixed(np.uint64(0), part)) * _P1 + _P4
    else:
        state = _P5
    state += size
    while p + 8 <= end:
        state = _turned(state ^ _mixed(np.uint64(0), word(text, p)), 27) * _P1 + _P4
        p += 8
    if p + 4 <= end:
        state = _turned(state ^ (half(text, p) * _P1), 23) * _P2 + _P3
        p += 4
    while p < end:
        state = _turned(state ^ (np.uint64(byte(text, p)) * _P5), 11) * _P1
        p += 1
    state = (state ^ (state >> np.uint64(33))) * _P2
    state = (state ^ (state >> np.uint64(29))) * _P3
    state ^= state >> np.uint64(32)
    return np.int64(state & _MASK)


_SIGN = np.int64(np.iinfo(np.int64).min)
_ZEROS, _HIGH_NIBBLES = np.uint64(0x3030303030303030), np.uint64(0xF0F0F0F0F0F0F0F0)
_LETTER_BITS, _LOW_NIBBLES = np.uint64(0x4040404040404040), np.uint64(0x0F0F0F0F0F0F0F0F)
_ONES, _SIXES = np.uint64(0x0101010101010101), np.uint64(0x0606060606060606)


@inlined
def _eight_hex(bits: Whole) -> Whole:
    """Eight hexadecimal digits in lower case, the first lowest, as a number; beyond 32 bits where they are none."""
    nibbles = (bits & _LOW_NIBBLES) + ((bits & _LETTER_BITS) >> np.uint64(6)) * np.uint64(9)
    letters = ((nibbles + _SIXES) >> np.uint64(4)) & _ONES
    if (nibbles & _HIGH_NIBBLES) != 0 or nibbles + _ZEROS + letters * np.uint64(39) != bits:
        return np.uint64(1) << np.uint64(40)
    pairs = ((nibbles << np.uint64(4)) | (nibbles >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    return (
        (pairs & np.uint64(0xFF)) << np.uint64(24)
        | ((pairs >> np.uint64(16)) & np.uint64(0xFF)) << np.uint64(16)
        | ((pairs >> np.uint64(32)) & np.uint64(0xFF)) << np.uint64(8)
        | pairs >> np.uint64(48)
    )


@inlined
def id_at(text: int, p: int) -> tuple[bool, Whole, Whole]:
    """Read 32 hexadecimal digits that end at a quote: whether they are there, and both halves.

    The first so that it orders as the digits do.
    """
    a, b = _eight_hex(word(text, p)), _eight_hex(word(text, p + 8))
    c, d = _eight_hex(word(text, p + 16)), _eight_hex(word(text, p + 24))
    there = (a | b | c | d) >> np.uint64(32) == np.uint64(0) and byte(text, p + 32) == QUOTE
    return there, np.int64(a << np.uint64(32) | b) ^ _SIGN, np.int64(c << np.uint64(32) | d)


@inlined
def eight_digits(bits: Whole) -> Whole:
    """Eight decimal digits, the first lowest, as a number; -1 where they are none."""
    if ((bits & _HIGH_NIBBLES) | (((bits + _SIXES) & _HIGH_NIBBLES) >> np.uint64(4))) != np.uint64(0x3333333333333333):
        return np.int64(-1)
    bits = (bits & _LOW_NIBBLES) * np.uint64(2561) >> np.uint64(8)
    bits = (bits & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    return np.int64((bits & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32))


@inlined
def is_utf8(text: int, p: int, end: int) -> Truth:
    """Whether a stretch of text is UTF-8 as Python reads it strictly."""
    while p < end:
        high = highs(text, p)
        if high == 0:
            p += WIDE
            continue
        p += lowest(high)
        if p >= end:
            return True
        first = byte(text, p)
        if 0xC2 <= first <= 0xDF:
            more, low, top = 1, 0x80, 0xBF
        elif 0xE0 <= first <= 0xEF:
            more, low, top = 2, 0xA0 if first == 0xE0 else 0x80, 0x9F if first == 0xED else 0xBF
        elif 0xF0 <= first <= 0xF4:
            more, low, top = 3, 0x90 if first == 0xF0 else 0x80, 0x8F if first == 0xF4 else 0xBF
        else:
            return False
        if p + more >= end or not low <= byte(text, p + 1) <= top:
            return False
        for i in range(2, more + 1):
            if byte(text, p + i) & 0xC0 != 0x80:
                return False
        p += more + 1
    return True
