"""XXH3 of stretches of bytes in 128 bits, compiled: the ids that ``shared.positions.hash_id`` gives.

After XXH3_128bits of https://github.com/Cyan4973/xxHash (seed 0, its own secret). Stretches of less than SHORTEST
bytes have ways of their own there, which nothing here needs.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Whole, borrowing, inlined
from flockiq.shared.machine.memory import folded, word

SHORTEST = 17  # bytes that are hashed here; shorter texts are left to others

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_LAST = len(_SECRET) - 64
_KEYS = np.array([int.from_bytes(_SECRET[at : at + 8], "little") for at in range(len(_SECRET) - 7)], np.uint64)
"""The secret's words, by the byte that each begins with."""
_A1, _A2, _A3 = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77), np.uint64(0xC2B2AE3D)
_B1, _B2, _B3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_B4, _B5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)
_START = np.array([_A3, _B1, _B2, _B3, _B4, _A2, _B5, _A1])
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_STRIPE, _BLOCK = 64, 1024
_MIDDLE = 240  # bytes, from which on accumulators are worth their while


@inlined
def _avalanche(bits: Whole) -> Whole:
    bits = (bits ^ (bits >> np.uint64(37))) * np.uint64(0x165667919E3779F9)
    return bits ^ (bits >> _HALF)


@inlined
def _mixed(text: int, p: int, secret: int) -> Whole:
    """Sixteen bytes as one word."""
    return folded(word(text, p) ^ _KEYS[secret], word(text, p + 8) ^ _KEYS[secret + 8])


@inlined
def _both(low: Whole, high: Whole, text: int, p: int, q: int, secret: int) -> tuple[Whole, Whole]:
    """Take in sixteen bytes at ``p`` and sixteen at ``q``."""
    low = (low + _mixed(text, p, secret)) ^ (word(text, q) + word(text, q + 8))
    high = (high + _mixed(text, q, secret + 16)) ^ (word(text, p) + word(text, p + 8))
    return low, high


@borrowing
def _short(text: int, p: int, size: int) -> tuple[Whole, Whole]:
    """The hash of 17 to 240 bytes: high and low word."""
    end = p + size
    length = np.uint64(size)
    low, high = length * _B1, np.uint64(0)
    if size <= 128:
        for step in range((size - 1) // 32, -1, -1):
            low, high = _both(low, high, text, p + 16 * step, end - 16 * (step + 1), 32 * step)
    else:
        for step in range(4):
            low, high = _both(low, high, text, p + 32 * step, p + 32 * step + 16, 32 * step)
        low, high = _avalanche(low), _avalanche(high)
        for step in range(4, size // 32):
            low, high = _both(low, high, text, p + 32 * step, p + 32 * step + 16, 32 * (step - 4) + 3)
        low, high = _both(low, high, text, end - 16, end - 32, 103)
    first = _avalanche(low + high)
    second = _avalanche(low * _B1 + high * _B4 + length * _B2)
    return np.uint64(0) - second, first


@inlined
def _accumulate(state: Array, text: int, p: int, secret: int) -> None:
    """Take in a stripe."""
    for i in range(8):
        bits = word(text, p + 8 * i)
        key = bits ^ _KEYS[secret + 8 * i]
        state[i ^ 1] += bits
        state[i] += (key & _LOW) * (key >> _HALF)


@inlined
def _merged(state: Array, secret: int, start: Whole) -> Whole:
    for i in range(0, 8, 2):
        start += folded(state[i] ^ _KEYS[secret + 8 * i], state[i + 1] ^ _KEYS[secret + 8 * i + 8])
    return _avalanche(start)


@borrowing
def _long(text: int, p: int, size: int, state: Array) -> tuple[Whole, Whole]:
    """The hash of more than 240 bytes: high and low word."""
    length = np.uint64(size)
    for i in range(8):
        state[i] = _START[i]
    blocks = (size - 1) // _BLOCK
    for block in range(blocks):
        for stripe in range(_BLOCK // _STRIPE):
            _accumulate(state, text, p + block * _BLOCK + stripe * _STRIPE, 8 * stripe)
        for i in range(8):
            bits = state[i]
            state[i] = (bits ^ (bits >> np.uint64(47)) ^ _KEYS[_LAST + 8 * i]) * _A1
    begin = p + blocks * _BLOCK
    for stripe in range((size - 1 - blocks * _BLOCK) // _STRIPE):
        _accumulate(state, text, begin + stripe * _STRIPE, 8 * stripe)
    _accumulate(state, text, p + size - _STRIPE, _LAST - 7)
    high = _merged(state, _LAST - 11, ~(length * _B2))
    return high, _merged(state, 11, length * _B1)


@inlined
def hashed(text: int, p: int, size: int, state: Array) -> tuple[Whole, Whole]:
    """The halves of the id of at least SHORTEST bytes, uint64, the first first; ``state``: uint64 [8] to work with."""
    return _short(text, p, size) if size <= _MIDDLE else _long(text, p, size, state)
