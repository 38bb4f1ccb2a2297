"""XXH64 of a stretch of bytes, compiled: the lanes of texts (shared.lanes.text_lane).

Imported only by merge/compiled.py.
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Whole, compiled

_MASK = np.uint64((1 << 61) - 1)
_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_P4, _P5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)


@compiled
def _turned(word: Whole, by: int) -> Whole:
    """A word's bits, turned to the left."""
    return (word << np.uint64(by)) | (word >> np.uint64(64 - by))


@compiled
def _word(text: Array, p: int) -> Whole:
    """Eight bytes, little end first: one access, as long as the index can't be negative."""
    at = np.uint64(p)
    word = np.uint64(0)
    for i in range(np.uint64(8)):
        word |= np.uint64(text[at + i]) << (np.uint64(8) * i)
    return word


@compiled
def _mixed(state: Whole, word: Whole) -> Whole:
    """One round of XXH64."""
    return _turned(state + word * _P2, 31) * _P1


@compiled
def lane_of_bytes(text: Array, p: int, end: int) -> Whole:
    """The lane of a text (shared.lanes.text_lane): XXH64 of its bytes, 61 bits of it."""
    size = np.uint64(end - p)
    if end - p >= 32:
        a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
        while p + 32 <= end:
            a, b = _mixed(a, _word(text, p)), _mixed(b, _word(text, p + 8))
            c, d = _mixed(c, _word(text, p + 16)), _mixed(d, _word(text, p + 24))
            p += 32
        state = _turned(a, 1) + _turned(b, 7) + _turned(c, 12) + _turned(d, 18)
        for part in (a, b, c, d):
            state = (state ^ _mixed(np.uint64(0), part)) * _P1 + _P4
    else:
        state = _P5
    state += size
    while p + 8 <= end:
        state = _turned(state ^ _mixed(np.uint64(0), _word(text, p)), 27) * _P1 + _P4
        p += 8
    if p + 4 <= end:
        half = (
            np.uint64(text[p])
            | np.uint64(text[p + 1]) << np.uint64(8)
            | np.uint64(text[p + 2]) << np.uint64(16)
            | np.uint64(text[p + 3]) << np.uint64(24)
        )
        state = _turned(state ^ (half * _P1), 23) * _P2 + _P3
        p += 4
    for at in range(np.uint64(p), np.uint64(end)):
        state = _turned(state ^ (np.uint64(text[at]) * _P5), 11) * _P1
    state = (state ^ (state >> np.uint64(33))) * _P2
    state = (state ^ (state >> np.uint64(29))) * _P3
    state ^= state >> np.uint64(32)
    return np.int64(state & _MASK)
