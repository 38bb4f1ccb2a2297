"""XXH3 of stretches of bytes in 128 bits, compiled: the ids that ``shared.positions.hash_id`` gives.

After XXH3_128bits of https://github.com/Cyan4973/xxHash (seed 0, its own secret). Stretches of up to SHORTEST bytes
have ways of their own there, which nothing here needs.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.machine.code import Array, Whole, compiled

SHORTEST = 17  # bytes that are hashed here; shorter texts are left to others

_SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
        "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    np.uint8,
)
_A1, _A2, _A3 = np.uint64(0x9E3779B1), np.uint64(0x85EBCA77), np.uint64(0xC2B2AE3D)
_B1, _B2, _B3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_B4, _B5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)
_START = np.array([_A3, _B1, _B2, _B3, _B4, _A2, _B5, _A1])
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_STRIPE, _BLOCK = 64, 1024
_MIDDLE = 240  # bytes, from which on accumulators are worth their while
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


@compiled
def _word(text: Array, p: int) -> Whole:
    """Eight bytes, little end first."""
    at = np.uint64(p)
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(text[at + np.uint64(i)]) << np.uint64(8 * i)
    return word


@compiled
def _folded(one: Whole, other: Whole) -> Whole:
    """The halves of a product of 128 bits, each bit either one's or the other's."""
    low, high = one & _LOW, one >> _HALF
    less, more = other & _LOW, other >> _HALF
    whole, left, right = low * less, high * less, low * more
    middle = (whole >> _HALF) + (left & _LOW) + right
    above = (left >> _HALF) + (middle >> _HALF) + high * more
    return above ^ ((middle << _HALF) | (whole & _LOW))


@compiled
def _avalanche(word: Whole) -> Whole:
    word = (word ^ (word >> np.uint64(37))) * np.uint64(0x165667919E3779F9)
    return word ^ (word >> _HALF)


@compiled
def _mixed(text: Array, p: int, secret: int) -> Whole:
    """Sixteen bytes as one word."""
    return _folded(_word(text, p) ^ _word(_SECRET, secret), _word(text, p + 8) ^ _word(_SECRET, secret + 8))


@compiled
def _both(low: Whole, high: Whole, text: Array, p: int, q: int, secret: int) -> tuple[Whole, Whole]:
    """Take in sixteen bytes at ``p`` and sixteen at ``q``."""
    low = (low + _mixed(text, p, secret)) ^ (_word(text, q) + _word(text, q + 8))
    high = (high + _mixed(text, q, secret + 16)) ^ (_word(text, p) + _word(text, p + 8))
    return low, high


@compiled
def _short(text: Array, p: int, size: int) -> tuple[Whole, Whole]:
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


@compiled
def _accumulate(state: Array, text: Array, p: int, secret: int) -> None:
    """Take in a stripe."""
    for i in range(8):
        word = _word(text, p + 8 * i)
        key = word ^ _word(_SECRET, secret + 8 * i)
        state[i ^ 1] += word
        state[i] += (key & _LOW) * (key >> _HALF)


@compiled
def _merged(state: Array, secret: int, start: Whole) -> Whole:
    for i in range(0, 8, 2):
        start += _folded(state[i] ^ _word(_SECRET, secret + 8 * i), state[i + 1] ^ _word(_SECRET, secret + 8 * i + 8))
    return _avalanche(start)


@compiled
def _long(text: Array, p: int, size: int, state: Array) -> tuple[Whole, Whole]:
    """The hash of more than 240 bytes: high and low word."""
    length = np.uint64(size)
    last = len(_SECRET) - _STRIPE
    state[:] = _START
    blocks = (size - 1) // _BLOCK
    for block in range(blocks):
        for stripe in range(_BLOCK // _STRIPE):
            _accumulate(state, text, p + block * _BLOCK + stripe * _STRIPE, 8 * stripe)
        for i in range(8):
            word = state[i]
            state[i] = (word ^ (word >> np.uint64(47)) ^ _word(_SECRET, last + 8 * i)) * _A1
    begin = p + blocks * _BLOCK
    for stripe in range((size - 1 - blocks * _BLOCK) // _STRIPE):
        _accumulate(state, text, begin + stripe * _STRIPE, 8 * stripe)
    _accumulate(state, text, p + size - _STRIPE, last - 7)
    high = _merged(state, last - 11, ~(length * _B2))
    return high, _merged(state, 11, length * _B1)


@compiled
def _hexadecimal(word: Whole, out: Array, p: int) -> None:
    """Sixteen digits."""
    for i in range(16):
        out[p + i] = _DIGITS[(word >> np.uint64(60 - 4 * i)) & np.uint64(15)]


@compiled
def ids_of_bytes(text: Array, ends: Array, out: Array) -> bool:
    """The ids of texts that stand one after the other, 32 digits each; False if one of them is too short."""
    state = np.empty(8, np.uint64)
    begin = 0
    for i in range(len(ends)):
        size = ends[i] - begin
        if size < SHORTEST:
            return False
        high, low = _short(text, begin, size) if size <= _MIDDLE else _long(text, begin, size, state)
        _hexadecimal(high, out, 32 * i)
        _hexadecimal(low, out, 32 * i + 16)
        begin = ends[i]
    return True
