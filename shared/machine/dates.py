"""Dates and times as ISO 8601 writes them, read by compiled code from a text at an address.

Imported only where machine code is loaded (shared/machine/loading.py).
"""

from __future__ import annotations

import numpy as np

from flockiq.shared.lanes import ABSENT
from flockiq.shared.machine.code import Whole, inlined
from flockiq.shared.machine.memory import byte

_DASH, _POINT, _ZERO, _COLON, _T, _Z = 45, 46, 48, 58, 84, 90
_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_TENS = np.array([10**power for power in range(7)], np.int64)


@inlined
def _two(text: int, p: int) -> Whole:
    """Two digits as a number, or -1."""
    tens, ones = byte(text, p) - _ZERO, byte(text, p + 1) - _ZERO
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else np.int64(-1)


@inlined
def date(text: int, p: int) -> Whole:
    """The days since 1970 of ten characters YYYY-MM-DD, or ABSENT."""
    century, years, month, day = _two(text, p), _two(text, p + 2), _two(text, p + 5), _two(text, p + 8)
    if century < 0 or years < 0 or byte(text, p + 4) != _DASH or byte(text, p + 7) != _DASH:
        return ABSENT
    year = century * 100 + years
    if year < 1 or month < 1 or month > 12 or day < 1:
        return ABSENT
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _DAYS[month - 1] + (leap and month == 2):
        return ABSENT
    # Days from the civil calendar: years that begin in March, so that the leap day comes last.
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (9 if month <= 2 else -3)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@inlined
def timestamp(text: int, p: int, end: int) -> Whole:
    """The µs since 1970 of YYYY-MM-DDTHH:MM:SS[.ffffff]Z, or ABSENT."""
    if end - p < 20 or byte(text, p + 10) != _T or byte(text, end - 1) != _Z:
        return ABSENT
    if byte(text, p + 13) != _COLON or byte(text, p + 16) != _COLON:
        return ABSENT
    days = date(text, p)
    hour, minute, second = _two(text, p + 11), _two(text, p + 14), _two(text, p + 17)
    if days == ABSENT or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return ABSENT
    us = ((days * 24 + hour) * 60 + minute) * 60 + second
    digits = end - 1 - (p + 20)
    if end - p == 20:
        return us * 1_000_000
    if byte(text, p + 19) != _POINT or digits < 1 or digits > 6:
        return ABSENT
    fraction = np.int64(0)
    for i in range(p + 20, end - 1):
        digit = byte(text, i) - _ZERO
        if not 0 <= digit <= 9:
            return ABSENT
        fraction = fraction * 10 + digit
    return us * 1_000_000 + fraction * _TENS[6 - digits]
